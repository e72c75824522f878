"""Conditions, targets and outputs of files: split with their images, and refused with a reason where they cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.latent.recipes import CARDS, FILES, MODEL, random_images, write_images, write_recipe
from training.errors import InputError
from training.latent.pipeline import Request, prepare, specify
from training.latent.prepared import Prepared
from training.recipe import Recipe, read_recipe

CONDITIONS = """
[[data.conditions]]
name = "voltage"
unit = "V"
meaning = "at the tip"

[[data.conditions]]
name = "phase"
meaning = "of the film"
categories = ["a", "b"]
"""
TARGETS = """
[[data.targets]]
name = "strain"
unit = "%"
meaning = "of the lattice"
"""
TO_SPECTRA = MODEL.replace('invariances = ["rotation"]', 'output_kind = "spectra"')
OF_SPECTRA = MODEL.replace('invariances = ["rotation"]', 'invariances = ["translation"]\ninput_kind = "spectra"\noutput_kind = "spectra"')


def request(recipe: Recipe, *data: Path) -> Request:
    return Request(recipe, data, None, Path("out"), "cpu", resume=False)


def prepared(recipe: Path, *data: Path) -> Prepared:
    return prepare(request(read_recipe(recipe), *data))


def reason(recipe: Path, *data: Path) -> str:
    with pytest.raises(InputError) as caught:
        specify(read_recipe(recipe), prepared(recipe, *data))
    assert len(caught.value.message) > 20
    return caught.value.reason


def numbered(count: int = 60) -> dict[str, Any]:
    """Images that know their number, and what stands beside them."""
    images = random_images(count)
    images[:, 0, 0] = np.arange(count)
    number = np.arange(count, dtype=np.float64)
    targets = np.where(number % 3 == 0, 10 * number, np.nan)[:, None]
    spectra = number[:, None] + np.random.default_rng(1).random((count, 16))
    return {"images": images, "conditions": np.stack([2 * number, number % 2], axis=1), "targets": targets, "spectra": spectra}


@pytest.mark.parametrize("unit", ["images", "groups", "frames"])
def test_what_stands_beside_an_image_is_split_as_the_image_is(tmp_path: Path, unit: str) -> None:
    arrays = numbered()
    if unit == "groups":
        arrays["group"] = np.arange(60) // 5
    if unit == "frames":
        arrays["frames"] = arrays.pop("images")
    np.savez(tmp_path / "a.npz", **arrays)
    recipe = write_recipe(tmp_path, FILES, TO_SPECTRA.replace("threads = 1", "threads = 1\nrestarts = 2"), CONDITIONS + TARGETS)
    made = prepared(recipe, tmp_path / "a.npz")
    parts = ((made.train, made.beside), (made.validation, made.validation_beside), (made.held_out.images, made.held_out.beside))
    for images, beside in parts:
        number = images[:, 0, 0, 0]
        assert len(number)
        assert beside.conditions is not None
        assert beside.targets is not None
        assert beside.outputs is not None
        np.testing.assert_array_equal(beside.conditions[:, 0], 2 * number)
        np.testing.assert_array_equal(beside.targets[:, 0], np.where(number % 3 == 0, 10 * number, np.nan))
        np.testing.assert_array_equal(np.floor(beside.outputs[:, 0, 0, 0]), number)
    specification = specify(read_recipe(recipe), made)
    assert specification.drawn_shape == (1, 16, 1)
    assert [column.width for column in specification.conditions] == [1, 2]
    assert specification.conditions[0].mean == pytest.approx(made.beside.conditions[:, 0].mean(), rel=1e-5)  # type: ignore[index]
    assert specification.targets[0].sd == pytest.approx(np.nanstd(made.beside.targets), rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("grouped", [True, False])
def test_every_patch_has_the_conditions_of_its_image(tmp_path: Path, grouped: bool) -> None:
    images = np.arange(8, dtype=np.float32)[:, None, None] + np.random.default_rng(0).random((8, 32, 32), dtype=np.float32) / 2
    conditions = np.stack([np.arange(8), np.arange(8) % 2], axis=1)
    more = {"group": np.arange(8) // 2} if grouped else {}
    path = write_images(tmp_path / "a.npz", images, conditions=conditions, **more)
    made = prepared(write_recipe(tmp_path, extra="window_px = 8\nstride_px = 4\n" + CONDITIONS), path)
    for part, beside in ((made.train, made.beside), (made.held_out.images, made.held_out.beside)):
        assert beside.conditions is not None
        np.testing.assert_array_equal(np.floor(part[:, 0, 0, 0]), beside.conditions[:, 0])


def test_spectra_of_places_are_held_out_by_blocks_of_places(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 2, 20))
    place = np.stack([x.ravel(), y.ravel()], axis=1)
    spectra = np.random.default_rng(0).random((400, 16)) + place.sum(axis=1)[:, None]
    np.savez(tmp_path / "a.npz", spectra=spectra, position_um=place)
    made = prepared(write_recipe(tmp_path, model=OF_SPECTRA), tmp_path / "a.npz")
    assert made.held_out.name == "held-out position blocks of a.npz"
    held = {tuple(place[row]) for row in range(400) if np.isin(np.float32(spectra[row, 0]), made.held_out.images[:, 0, 0, 0])}
    blocks = {(min(4, int(px * 5)), min(4, int(py * 2.5))) for px, py in held}
    inside = sum((min(4, int(px * 5)), min(4, int(py * 2.5))) in blocks for px, py in map(tuple, place))
    assert len(held) == inside == len(made.held_out.images)


def changed(**changes: Any) -> dict[str, Any]:
    arrays = numbered() | changes
    return {name: value for name, value in arrays.items() if value is not None}


def spoiled(name: str, index: tuple[int, int], value: float) -> np.ndarray:
    array: np.ndarray = numbered()[name].copy()
    array[index] = value
    return array


RANDOM = np.random.default_rng(5).random((60, 16))
BAD: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "conditions missing": (MODEL, CONDITIONS, changed(conditions=None), "CONDITIONS_REQUIRED"),
    "conditions of one column": (MODEL, CONDITIONS, changed(conditions=np.zeros((60, 1))), "CONDITIONS_SHAPE"),
    "a condition NaN": (MODEL, CONDITIONS, changed(conditions=spoiled("conditions", (7, 0), np.nan)), "NON_FINITE_CONDITIONS"),
    "a condition beyond float32": (MODEL, CONDITIONS, changed(conditions=spoiled("conditions", (7, 0), 1e39)), "NON_FINITE_CONDITIONS"),
    "category too high": (MODEL, CONDITIONS, changed(conditions=spoiled("conditions", (7, 1), 2)), "CATEGORY_OUT_OF_RANGE"),
    "category below 0": (MODEL, CONDITIONS, changed(conditions=spoiled("conditions", (7, 1), -1)), "CATEGORY_OUT_OF_RANGE"),
    "category between": (MODEL, CONDITIONS, changed(conditions=spoiled("conditions", (7, 1), 0.5)), "CATEGORY_OUT_OF_RANGE"),
    "a category of no image": (MODEL, CONDITIONS, changed(conditions=numbered()["conditions"] * [1, 0]), "CATEGORY_WITHOUT_IMAGES"),
    "a constant condition": (MODEL, CONDITIONS, changed(conditions=numbered()["conditions"] * [0, 1]), "CONSTANT_CONDITION"),
    "targets missing": (MODEL, TARGETS, changed(targets=None), "TARGETS_REQUIRED"),
    "targets of two columns": (MODEL, TARGETS, changed(targets=np.zeros((60, 2))), "TARGETS_SHAPE"),
    "targets all NaN": (MODEL, TARGETS, changed(targets=np.full((60, 1), np.nan)), "TARGET_WITHOUT_VALUES"),
    "an infinite target": (MODEL, TARGETS, changed(targets=spoiled("targets", (1, 0), np.inf)), "INFINITE_TARGETS"),
    "a constant target": (MODEL, TARGETS, changed(targets=np.ones((60, 1))), "CONSTANT_TARGET"),
    "no spectra": (TO_SPECTRA, "", changed(spectra=None), "NO_SPECTRA"),
    "constant spectra": (TO_SPECTRA, "", changed(spectra=np.ones((60, 16))), "CONSTANT_SPECTRA"),
    "short spectra": (TO_SPECTRA, "", changed(spectra=RANDOM[:, :5]), "SPECTRA_TOO_SHORT"),
    "constant spectra in": (OF_SPECTRA, "", {"spectra": np.ones((60, 16))}, "CONSTANT_SPECTRA"),
    "one spectrum": (OF_SPECTRA, "", {"spectra": RANDOM[:1]}, "TOO_FEW_IMAGES"),
    "few spectra": (OF_SPECTRA, "", {"spectra": RANDOM[:12]}, "TOO_FEW_IMAGES"),
    "images alone": (OF_SPECTRA, "", changed(spectra=None), "NO_SPECTRA"),
    "constant images": (TO_SPECTRA, "", changed(images=np.ones((60, 12, 12))), "CONSTANT_IMAGES"),
    "one image": (MODEL, "", {"images": random_images(1)}, "TOO_FEW_IMAGES"),
    "other rows": (TO_SPECTRA, "", changed(spectra=RANDOM[:59]), "ROW_COUNT"),
    "an output range that is empty": (
        TO_SPECTRA,
        "[output_normalisation]\ninput_low = [1.0]\ninput_high = [1.0]\n",
        numbered(),
        "INVALID_NORMALISATION",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    model, extra, arrays, expected = BAD[case]
    np.savez(tmp_path / "a.npz", **arrays)
    assert reason(write_recipe(tmp_path, model=model, extra=extra), tmp_path / "a.npz") == expected


def test_a_class_without_labels_is_refused(tmp_path: Path) -> None:
    semi = MODEL.replace("content_size = 1", 'content_size = 1\nclass_source = "semi_supervised"\nclasses = 3')
    path = write_images(tmp_path / "a.npz", random_images(), labels=np.arange(60) % 2)
    assert reason(write_recipe(tmp_path, model=semi), path) == "CLASS_WITHOUT_LABELS"
    none = write_images(tmp_path / "b.npz", random_images(), labels=np.full(60, -1))
    assert reason(write_recipe(tmp_path, model=semi), none) == "CLASS_WITHOUT_LABELS"


CLASSES = 'content_size = 1\nclass_source = "joint"\nclasses = 2'
ROTATING_SPECTRA = MODEL.replace("content_size = 1", 'content_size = 1\noutput_kind = "spectra"')
IMPOSSIBLE: dict[str, tuple[str, str, str, str]] = {
    "a rotation of spectra": (FILES, "", ROTATING_SPECTRA, "impossible for the dimension of the data"),
    "K = 1": (FILES, "", MODEL.replace("content_size = 1", CLASSES.replace("2", "1")), "classes = 1 says nothing"),
    "bins of spectra that go in": (
        FILES,
        "",
        MODEL.replace("content_size = 1", 'input_kind = "spectra"\nangle_bins = 8'),
        "turn the images that go in",
    ),
    "patches of spectra": (FILES, "window_px = 8\n", OF_SPECTRA, "leave out window_px"),
    "targets of patches": (FILES, "window_px = 8\n" + TARGETS, MODEL, "leave out window_px"),
    "classes and targets": (FILES, TARGETS, MODEL.replace("content_size = 1", CLASSES), "not both"),
    "a teacher of spectra": (FILES, "", OF_SPECTRA + "[training.equivariance]\nepochs = 1\n", "move images"),
    "regression without targets": (FILES, "", MODEL + "[training.regression]\nlabel_weight = 3.0\n", "is for models with"),
    "a range of no output": (FILES, "[output_normalisation]\nlow_percentile = 1.0\n", MODEL, "output_normalisation"),
    "one category": (FILES, CONDITIONS.replace('["a", "b"]', '["a"]'), MODEL, "two or more"),
    "a condition twice": (FILES, CONDITIONS.replace("phase", "voltage"), MODEL, "named twice"),
    "spectra of cards": (CARDS, "", OF_SPECTRA, "the cards are images"),
    "classes of told suits": (CARDS, "condition_on_suit = true\n", MODEL.replace("content_size = 1", CLASSES), "condition_on_suit"),
    "two weights of content": (
        FILES,
        "",
        MODEL.replace("threads = 1", "threads = 1\ncontent_beta_start = 2.0") + "[training.content_capacity]\n",
        "give one of them",
    ),
    "a capacity of no classes": (FILES, "", MODEL + "[training.class_capacity]\n", "class_capacity is for"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_recipes_are_refused_before_any_data_is_read(tmp_path: Path, case: str) -> None:
    data, extra, model, words = IMPOSSIBLE[case]
    with pytest.raises(InputError, match="cannot be used") as caught:
        read_recipe(write_recipe(tmp_path, data, model, extra))
    assert caught.value.reason == "RECIPE_INVALID"
    assert words in caught.value.message


def test_cards_tell_their_suit_where_the_recipe_says_so(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, CARDS, extra="condition_on_suit = true\n")
    made = prepared(recipe)
    assert made.held_out.beside.conditions is not None
    assert made.held_out.labels is not None
    np.testing.assert_array_equal(made.held_out.beside.conditions[:, 0], made.held_out.labels)
    (suit,) = specify(read_recipe(recipe), made).conditions
    assert suit.categories == ("spade", "heart", "diamond", "club")
