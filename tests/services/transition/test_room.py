"""Predictions of the room in the real engine, against the toy that numpy tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import DeadlineExceededError, DichroicError, QueueFullError, UnknownModelError, UnsupportedCapabilityError
from dichroic.honeycomb import surroundings
from services.transition.inputs import Given
from services.transition.scenes import Options
from tests.services.transition.served import ATOMS, DOPANT, EDGE, GOAL, NUMBERS, SCENE, TOY, Served, served, silicon, soon
from tests.toy_bundle import write_toy
from tests.toy_transition import BOND, CURRENT, NDArray, ToyTransition, perfect, states, write_toy_transition

NAMES = ("rates", "rates", "first_hop", "first_hop", "occupancy", "occupancy")
FIELDS = ("rates_per_s", "rates_sd_per_s", "first_hop_probability", "first_hop_sd", "occupancy", "occupancy_sd")


def given(count: int = 7, **changes: Any) -> Given:
    told = states(count)
    return replace(Given(**told), **changes)


async def test_every_answer_is_the_graphs_in_the_order_of_the_request(lab: Served) -> None:
    for count in (1, 7, 1500):
        told = states(count)
        found = await lab.room.predict_transitions("dune", 0, Given(**told), soon())
        expected = TOY.predict(told)
        for field, name, what in zip(FIELDS, NAMES, ("mean", "sd") * 3, strict=True):
            np.testing.assert_allclose(getattr(found, field), expected[f"{name}_{what}"], atol=1e-12)
        np.testing.assert_allclose(found.sites_xy_angstrom, surroundings(2).positions(told["neighbours_xy_angstrom"]))
        np.testing.assert_array_equal(found.sites_xy_angstrom[:, 1:4], told["neighbours_xy_angstrom"])
        assert (found.model.name, found.model.version, len(found.model.digest)) == ("dune", 1, 64)
        assert (found.dopant_index, found.neighbour_index) == (None, None)
        assert not found.outside.any()


async def test_one_row_stands_for_all_and_what_is_not_sent_is_what_the_model_was_trained_at(lab: Served) -> None:
    told = states(6)
    told["neighbours_xy_angstrom"][:] = told["neighbours_xy_angstrom"][0]
    told["dwell_s"][:] = 1.5
    whole = await lab.room.predict_transitions("dune", 0, Given(**told), soon())
    short = Given(told["beam_xy_angstrom"], np.array([1.5]), told["neighbours_xy_angstrom"][:1])
    np.testing.assert_array_equal((await lab.room.predict_transitions("dune", 1, short, soon())).occupancy, whole.occupancy)


async def test_a_dopant_among_atoms_is_found_and_its_neighbours_are_named(lab: Served) -> None:
    beam = ATOMS[DOPANT] + np.array([[0.3, 0.9], [-1.0, 0.2]])
    seen = Given(beam, np.array([2.0]), atoms_xy_angstrom=ATOMS, atomic_numbers=NUMBERS)
    found = await lab.room.predict_transitions("dune", 0, seen, soon())
    assert (found.dopant_index is not None and found.dopant_index.tolist()) == [DOPANT]
    assert found.neighbour_index is not None
    neighbours = ATOMS[found.neighbour_index] - ATOMS[DOPANT]
    np.testing.assert_allclose(np.hypot(*neighbours.T), BOND)
    told = await lab.room.predict_transitions("dune", 0, Given(beam - ATOMS[DOPANT], np.array([2.0]), neighbours[None]), soon())
    np.testing.assert_array_equal(found.rates_per_s, told.rates_per_s)
    np.testing.assert_array_equal(found.sites_xy_angstrom, told.sites_xy_angstrom)
    assert not found.outside.any()
    # Another dopant in the image is no hindrance to one that is named, and as a neighbour it is none that the rates are known of.
    numbers = NUMBERS.copy()
    numbers[found.neighbour_index[0]] = 14
    two = replace(seen, atomic_numbers=numbers, dopant_index=np.array([DOPANT]))
    assert (await lab.room.predict_transitions("dune", 0, two, soon())).outside.tolist() == [True, True]


OUTSIDE: dict[str, tuple[dict[str, Any], bool]] = {
    "beam": ({"beam_xy_angstrom": np.array([[0.0, 3.01]])}, True),
    "beam at the edge": ({"beam_xy_angstrom": np.array([[0.0, 3.0]])}, False),
    "dwell": ({"dwell_s": np.array([5.1])}, True),
    "current below": ({"current_na": np.array([0.019])}, True),
    "current above": ({"current_na": np.array([0.021])}, True),
    "current in single precision": ({"current_na": np.array([np.float64(np.float32(CURRENT))])}, False),
    "voltage": ({"voltage_kv": np.array([80.0])}, True),
}


@pytest.mark.parametrize("case", OUTSIDE)
async def test_what_was_not_trained_is_flagged_not_refused(lab: Served, case: str) -> None:
    change, outside = OUTSIDE[case]
    found = await lab.room.predict_transitions("dune", 0, given(1, **change), soon())
    assert found.outside.tolist() == [outside]


def bad(field: str, at: Any, value: float) -> Callable[[], dict[str, Any]]:
    def change() -> dict[str, Any]:
        array = states(7)[field].copy()
        array[at] = value
        return {field: array}

    return change


def seen(numbers: NDArray = NUMBERS, atoms: NDArray = ATOMS, dopant: Any = None) -> dict[str, Any]:
    index = None if dopant is None else np.asarray(dopant)
    at = ATOMS[[DOPANT]] if atoms is ATOMS else atoms[:1]
    return {
        "beam_xy_angstrom": at,
        "neighbours_xy_angstrom": None,
        "dwell_s": np.ones(1),
        "current_na": None,
        "voltage_kv": None,
        "atoms_xy_angstrom": atoms,
        "atomic_numbers": numbers,
        "dopant_index": index,
    }


CROWDED = np.append(ATOMS, ATOMS[[DOPANT]] + 0.8 * perfect(1.3)[:1] * 1.4, axis=0)
ONE_SIDE = BOND * np.array([[[1.0, 0], [0.6, 0.8], [0.6, -0.8]]])
BAD: dict[str, tuple[Any, str, str, int | None]] = {
    "NaN beam": (bad("beam_xy_angstrom", (2, 1), np.nan), "INVALID_TENSOR", "beam_xy_angstrom", 2),
    "infinite neighbour": (bad("neighbours_xy_angstrom", (3, 0, 0), np.inf), "INVALID_TENSOR", "neighbours_xy_angstrom", 3),
    "no dwell": (bad("dwell_s", 4, 0.0), "INVALID_TENSOR", "dwell_s", 4),
    "a dwell backwards": (bad("dwell_s", 1, -1.0), "INVALID_TENSOR", "dwell_s", 1),
    "a dwell of hours": (bad("dwell_s", 1, 7200.0), "INVALID_TENSOR", "dwell_s", 1),
    "NaN current": (bad("current_na", 5, np.nan), "INVALID_TENSOR", "current_na", 5),
    "no current": (bad("current_na", 0, 0.0), "INVALID_TENSOR", "current_na", 0),
    "infinite voltage": (bad("voltage_kv", 6, np.inf), "INVALID_TENSOR", "voltage_kv", 6),
    "a beam kilometres away": (bad("beam_xy_angstrom", (3, 0), 1e13), "BEAM_OUT_OF_RANGE", "beam_xy_angstrom", 3),
    "neighbours in bond lengths": (
        lambda: {"neighbours_xy_angstrom": states(7)["neighbours_xy_angstrom"] / BOND},
        "BOND_LENGTH",
        "neighbours_xy_angstrom",
        0,
    ),
    "neighbours on one side": (lambda: {"neighbours_xy_angstrom": ONE_SIDE}, "EDGE_SITE", "neighbours_xy_angstrom", 0),
    "float32": (lambda: {"beam_xy_angstrom": np.zeros((7, 2), np.float32)}, "INVALID_TENSOR", "beam_xy_angstrom", None),
    "no rows": (lambda: {"beam_xy_angstrom": np.zeros((0, 2))}, "INVALID_TENSOR", "beam_xy_angstrom", None),
    "three coordinates": (lambda: {"beam_xy_angstrom": np.zeros((7, 3))}, "INVALID_TENSOR", "beam_xy_angstrom", None),
    "another number of dwells": (lambda: {"dwell_s": np.ones(6)}, "INVALID_TENSOR", "dwell_s", None),
    "another number of neighbours": (lambda: {"neighbours_xy_angstrom": np.zeros((7, 4, 2))}, "INVALID_TENSOR", "neighbours_xy_angstrom", None),
    "neither neighbours nor atoms": (lambda: {"neighbours_xy_angstrom": None}, "INVALID_FIELD", "neighbours_xy_angstrom", None),
    "both": (lambda: {"atoms_xy_angstrom": ATOMS, "atomic_numbers": NUMBERS}, "INVALID_FIELD", "neighbours_xy_angstrom", None),
    "numbers without atoms": (lambda: {"atomic_numbers": NUMBERS}, "INVALID_FIELD", "atomic_numbers", None),
    "a dopant without atoms": (lambda: {"dopant_index": np.array([1])}, "INVALID_FIELD", "dopant_index", None),
    "atoms without numbers": (lambda: seen(numbers=None), "INVALID_FIELD", "atomic_numbers", None),  # type: ignore[arg-type]
    "numbers of other atoms": (lambda: seen(NUMBERS[:-1]), "INVALID_TENSOR", "atomic_numbers", None),
    "no dopant": (lambda: seen(silicon()), "NO_DOPANT", "atomic_numbers", None),
    "two dopants": (lambda: seen(silicon(DOPANT, GOAL)), "SEVERAL_DOPANTS", "atomic_numbers", None),
    "carbon meant": (lambda: seen(dopant=[GOAL]), "INVALID_FIELD", "dopant_index", None),
    "an index too high": (lambda: seen(dopant=[10**6]), "INVALID_FIELD", "dopant_index", None),
    "two indices": (lambda: seen(dopant=[1, 2]), "INVALID_TENSOR", "dopant_index", None),
    "an index in float": (lambda: seen(dopant=[1.0]), "INVALID_TENSOR", "dopant_index", None),
    "a dopant at the edge": (lambda: seen(silicon(EDGE)) | {"beam_xy_angstrom": ATOMS[[EDGE]]}, "EDGE_SITE", "", None),
    "four neighbours": (lambda: seen(np.append(NUMBERS, 6), CROWDED), "NOT_THREE_FOLD", "", None),
    "atoms in bond lengths": (lambda: seen(atoms=ATOMS / BOND), "BOND_LENGTH", "atoms_xy_angstrom", None),
    "atoms in nm": (lambda: seen(atoms=ATOMS / 10), "BOND_LENGTH", "atoms_xy_angstrom", None),
    "a beam relative to the dopant with atoms far from the origin": (
        lambda: seen(atoms=ATOMS + 500) | {"beam_xy_angstrom": np.zeros((1, 2))},
        "BEAM_OUT_OF_RANGE",
        "beam_xy_angstrom",
        0,
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_be_meant_is_refused_by_name(lab: Served, case: str) -> None:
    change, reason, field, row = BAD[case]
    with pytest.raises(DichroicError) as caught:
        await lab.room.predict_transitions("dune", 0, replace(given(), **change()), soon())
    assert (caught.value.reason, caught.value.field, caught.value.row) == (reason, field, row)


@pytest.mark.parametrize(("factor", "says"), [(1 / BOND, "bond lengths; multiply by 1.42"), (0.1, "nm; multiply by 10"), (100, "pm; divide by 100")])
async def test_lengths_in_another_unit_are_told_how_to_become_angstrom(lab: Served, factor: float, says: str) -> None:
    for change in ({"neighbours_xy_angstrom": factor * states(7)["neighbours_xy_angstrom"]}, seen(atoms=factor * ATOMS)):
        with pytest.raises(DichroicError, match=says):
            await lab.room.predict_transitions("dune", 0, given(**change), soon())
    with pytest.raises(DichroicError, match=says):
        await lab.room.plan("dune", 0, replace(SCENE, atoms_xy_angstrom=factor * ATOMS), Options(), soon())


async def test_a_model_trained_over_a_range_asks_for_the_current(lab: Served) -> None:
    write_toy_transition(lab.folder, ToyTransition(currents=(0.01, 0.05)), name="wide")
    await lab.repository.load("wide", 1)
    with pytest.raises(DichroicError, match=r"current_na is missing; this model was trained from 0.01 to 0.05") as caught:
        await lab.room.predict_transitions("wide", 0, given(current_na=None), soon())
    assert (caught.value.reason, caught.value.field) == ("INVALID_FIELD", "current_na")
    assert not (await lab.room.predict_transitions("wide", 0, given(voltage_kv=None), soon())).outside.any()
    with pytest.raises(DichroicError, match="current_na is missing"):
        await lab.room.plan("wide", 0, SCENE, Options(), soon())


async def test_other_models_and_other_kinds_are_refused(lab: Served) -> None:
    write_toy(lab.folder, name="image")
    await lab.repository.load("image", 1)
    for name, kind in (("image", UnsupportedCapabilityError), ("none", UnknownModelError)):
        with pytest.raises(kind):
            await lab.room.predict_transitions(name, 0, given(), soon())
        with pytest.raises(kind):
            await lab.room.plan(name, 0, SCENE, Options(), soon())


async def test_more_rows_than_could_ever_be_held_are_refused_before_they_are_made(tmp_path: Path) -> None:
    async with served(tmp_path, max_bytes=100_000, dune=TOY) as lab:
        # Of all these rows there is one; what is repeated for them would be real.
        many = Given(np.broadcast_to(np.zeros((1, 2)), (10**12, 2)), np.ones(1), perfect()[None])
        with pytest.raises(QueueFullError):
            await lab.room.predict_transitions("dune", 0, many, soon())


async def test_a_deadline_that_has_passed_is_told(lab: Served) -> None:
    with pytest.raises(DeadlineExceededError):
        await lab.room.predict_transitions("dune", 0, given(), asyncio.get_running_loop().time() - 1)
    with pytest.raises(DeadlineExceededError):
        await lab.room.plan("dune", 0, SCENE, Options(), asyncio.get_running_loop().time() - 1)
    # A table takes longer than this; it is made all the same, and the next call finds it.
    with pytest.raises(DeadlineExceededError):
        await lab.room.plan("dune", 0, SCENE, Options(), asyncio.get_running_loop().time() + 0.02)
    assert lab.room.tables == 0
    await lab.room.plan("dune", 0, SCENE, Options(), soon())
    assert lab.room.tables == 1
