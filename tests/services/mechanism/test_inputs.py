"""What is not what the model takes is refused: the field, what was wrong, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dichroic.errors import (
    DichroicError,
    InvalidFieldError,
    InvalidTensorError,
    MissingMechanismError,
    UnitMismatchError,
    UnknownCategoryError,
    UnknownMechanismError,
)
from services.mechanism import Given
from services.mechanism.inputs import checked, checked_index, checked_y, outside
from tests.services.mechanism.world import FULL, Lab, World, places

QUANTITY = World().section.quantity
Change = Callable[[dict[str, Any]], Given]


def given(count: int = 3, patch: str = "image") -> dict[str, Any]:
    world, latents = World(patch=patch), places(count, 5)
    if patch == "category":
        return {"patch": np.arange(count) % 3, "position": latents[:, 2:4].copy(), "age": latents[:, 4:].copy()}
    return world.given(latents).values


def put(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda values: Given(values | {name: change(values[name])})


def spoil(name: str, place: Any, value: float) -> Change:
    def change(values: dict[str, Any]) -> Given:
        array = values[name].copy()
        array[place] = value
        return Given(values | {name: array})

    return change


BAD: dict[str, tuple[type[DichroicError], str, int | None, str, Change]] = {
    "missing": (
        MissingMechanismError,
        "age",
        None,
        r"age is missing.*patch \(image \[nm\]\), position \(coordinates \[um\]\), age \(parameters \[h\]\)",
        lambda values: Given({name: values[name] for name in ("patch", "position")}),
    ),
    "unknown": (UnknownMechanismError, "strain", None, r"'strain' is none.*patch \(image", lambda v: Given(v | {"strain": v["age"]})),
    "unit of an unknown": (UnknownMechanismError, "strain", None, "'strain' is none", lambda values: Given(values, {"strain": "1"})),
    "other unit": (UnitMismatchError, "position", None, "declared in 'nm'; this model takes 'um'", lambda v: Given(v, {"position": "nm"})),
    "float32": (InvalidTensorError, "position", None, r"float32 .*takes float64 of shape \(n, 2\), columns x, y", put("position", np.float32)),
    "columns": (InvalidTensorError, "age", None, r"shape \(3, 2\); this model takes float64 of shape \(n, 1\)", put("age", lambda a: np.tile(a, 2))),
    "one row alone": (InvalidTensorError, "age", None, "of shape", put("age", lambda array: array[0])),
    "scalar": (InvalidTensorError, "patch", None, "of shape", put("patch", lambda array: array[0, 0, 0])),
    "other image": (InvalidTensorError, "patch", None, "of shape", put("patch", lambda array: array[:, :, :1])),
    "float64 image": (InvalidTensorError, "patch", None, "send uint8, uint16 or float32", put("patch", lambda array: array.astype(float))),
    "rows": (InvalidTensorError, "age", None, "2 rows, the mechanisms before it 3", put("age", lambda array: array[:2])),
    "no rows": (InvalidTensorError, "patch", None, "no rows; send at least one", put("patch", lambda array: array[:0])),
    "NaN": (InvalidTensorError, "position", 1, "row 1 holds NaN or infinity.*leave it out", spoil("position", (1, 0), np.nan)),
    "infinity": (InvalidTensorError, "patch", 2, "row 2 holds NaN or infinity", spoil("patch", 2, np.inf)),
}


@pytest.mark.parametrize("what", BAD)
async def test_bad_inputs_are_refused(what: str, lab: Lab) -> None:
    kind, field, row, words, change = BAD[what]
    model = lab.repository.find("divide", 0)
    with pytest.raises(kind, match=words) as refused:
        checked(model, World().section, change(given()))
    assert (refused.value.field, refused.value.row) == (field, row)
    with pytest.raises(kind) as among:
        checked(model, World().section, change(given()), "candidates.")
    assert among.value.field == f"candidates.{field}"


@pytest.mark.parametrize("dtype", FULL)
async def test_images_come_in_any_dtype_and_units_may_be_declared(dtype: str, lab: Lab) -> None:
    model = lab.repository.find("divide", 0)
    values = given() | {"patch": np.ones((3, 1, 2), dtype)}
    found = checked(model, World().section, Given(values, {"position": "um", "patch": ""}))
    assert (found.dtype, found.rows, list(found.inputs)) == (dtype, 3, ["patch", "position", "age"])


@pytest.mark.parametrize("wrong", [-1, 3])
async def test_an_unseen_category_is_named_with_those_that_are_known(wrong: int, tmp_path: Any) -> None:
    lab = await Lab.open(tmp_path, divide=World(patch="category"))
    model, section = lab.repository.find("divide", 0), World(patch="category").section
    values = given(3, "category")
    assert checked(model, section, Given(values)).dtype == "float32"
    values["patch"][1] = wrong
    with pytest.raises(UnknownCategoryError, match=rf"row 1 is {wrong}, a category.*0 hearts, 1 spades, 2 clubs") as refused:
        checked(model, section, Given(values))
    assert (refused.value.field, refused.value.row, refused.value.metadata["known"]) == ("patch", 1, "3")
    await lab.room.close()


def test_what_is_beyond_the_trained_range_is_said_so_and_no_error() -> None:
    values = given()
    values["position"][1, 1] = -3.01
    values["age"][2, 0] = 1e6
    assert outside(World().section, values, 3).tolist() == [[False, False, False], [False, True, False], [False, False, True]]


@pytest.mark.parametrize(
    ("y", "unit", "kind", "words", "row"),
    [
        (np.zeros(0), "", InvalidTensorError, "empty", None),
        (np.zeros(3, np.float32), "", InvalidTensorError, "float32.*send float64", None),
        (np.zeros((2, 1)), "", InvalidTensorError, r"shape \(2, 1\)", None),
        (np.zeros(3), "", InvalidTensorError, "3 values for 2 points", None),
        (np.array([1, np.nan]), "", InvalidTensorError, "row 1 is nan.*Leave the row out", 1),
        (np.array([np.inf, 0]), "", InvalidTensorError, "row 0", 0),
        (np.zeros(2), "nm", UnitMismatchError, "'nm'.*'pm/V'", None),
    ],
)
def test_bad_y_is_refused(y: Any, unit: str, kind: type[DichroicError], words: str, row: int | None) -> None:
    with pytest.raises(kind, match=words) as refused:
        checked_y(y, 2, unit, QUANTITY, 0.4)
    assert (refused.value.field, refused.value.row) == ("y_unit" if unit else "y", row)
    assert checked_y(np.ones(2), 2, "pm/V", QUANTITY, 0.4).tolist() == [1, 1]


@pytest.mark.parametrize("far", [1.1e6, -1.1e6, 1e200, np.finfo(np.float64).max, -np.finfo(np.float64).max])
def test_a_y_that_nothing_measures_is_refused_with_what_would_be_expected(far: float) -> None:
    quantity = QUANTITY.model_copy(update={"sd": 1e-12})
    for each, scale in ((QUANTITY, 1.0), (quantity, 1e-12)):
        y = np.array([0.4, 0.4 + far if far > 1e100 else 0.4 + far * scale])
        with pytest.raises(InvalidTensorError, match=r"row 1 .*response in pm/V, 0.4 ± 1.*another unit or a fault") as refused:
            checked_y(y, 2, "", each, 0.4)
        assert (refused.value.field, refused.value.row) == ("y", 1)
        y[1] = 0.4 + 0.9e6 * scale
        assert checked_y(y, 2, "", each, 0.4) is y


@pytest.mark.parametrize(
    ("index", "candidates", "kind", "words", "row"),
    [
        (np.array([0]), 0, InvalidFieldError, "no candidates", None),
        (np.array([0.0]), 4, InvalidTensorError, "send int64", None),
        (np.array([[0]]), 4, InvalidTensorError, "send int64", None),
        (np.zeros(0, np.int64), 4, InvalidTensorError, "one row at least", None),
        (np.array([0, 4]), 4, InvalidTensorError, "row 1 is 4; .*0 to 3", 1),
        (np.array([-1, 0]), 4, InvalidTensorError, "row 0 is -1", 0),
    ],
)
def test_a_bad_candidate_index_is_refused(index: Any, candidates: int, kind: type[DichroicError], words: str, row: int | None) -> None:
    with pytest.raises(kind, match=words) as refused:
        checked_index(index, candidates)
    assert (refused.value.field, refused.value.row) == ("candidate_index", row)
