"""The room in the real engine, against the toy that numpy tells and the planner called by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import DeadlineExceededError, DichroicError, QueueFullError, UnknownModelError, UnsupportedCapabilityError
from dichroic.honeycomb import surroundings
from services.transition.chain import Chain
from services.transition.inputs import Given
from services.transition.planning import plan
from services.transition.scenes import MOST_WORK, Options, Scene
from services.transition.table import tabulate
from services.transition.values import Risk
from services.transition.wishes import Wish
from tests.services.transition.graphene import nearest
from tests.services.transition.served import Served, served, soon
from tests.toy_bundle import write_toy
from tests.toy_transition import BOND, CURRENT, VOLTAGE, NDArray, ToyTransition, image, perfect, states, write_toy_transition

TOY = ToyTransition()
ATOMS, NUMBERS = image()
DOPANT = int(np.argmax(NUMBERS))
GOAL = nearest(ATOMS, np.array([6.0, 3.0]))
SCENE = Scene(ATOMS, NUMBERS, ATOMS[[GOAL]])
NAMES = ("rates", "rates", "first_hop", "first_hop", "occupancy", "occupancy")
FIELDS = ("rates_per_s", "rates_sd_per_s", "first_hop_probability", "first_hop_sd", "occupancy", "occupancy_sd")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, dune=TOY) as found:
        yield found


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


def silicon(*dopants: int) -> NDArray:
    found = np.full(len(ATOMS), 6, np.int64)
    found[list(dopants)] = 14
    return found


EDGE = int(np.argmax(ATOMS[:, 0] + ATOMS[:, 1]))
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


async def test_who_cannot_wait_for_the_way_to_be_found_is_told(lab: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.room.plan("dune", 0, SCENE, Options(), soon())
    go = threading.Event()
    monkeypatch.setattr("services.transition.room.plan", lambda *_, **__: go.wait(20))
    with pytest.raises(DeadlineExceededError):
        await lab.room.plan("dune", 0, SCENE, Options(), asyncio.get_running_loop().time() + 0.05)
    assert not go.is_set()
    go.set()


def by_hand(risk: float = 0.0, image_s: float = 2.0, deadline_s: float = 600.0) -> Any:
    def rates(beam: NDArray, neighbours: NDArray, context: NDArray) -> NDArray:
        inputs = {"beam_xy_angstrom": beam, "neighbours_xy_angstrom": neighbours, "current_na": context[:, 0]}
        return TOY.rates(inputs)["member_rates"]

    table = tabulate(Chain(rates, 4), (CURRENT, VOLTAGE), image_s=image_s, longest_dwell_s=5.0)
    return plan(ATOMS, NUMBERS, ATOMS[[GOAL]], table, Wish(deadline_s, risk=Risk(risk)))


@pytest.mark.parametrize("options", [{}, {"risk": 2.0}, {"image_s": 0.5}, {"deadline_s": 60.0}])
async def test_a_plan_is_the_planners_by_the_models_graph(lab: Served, options: dict[str, float]) -> None:
    expected = by_hand(**options)
    wished = Options(risk_aversion=options.get("risk", 0), image_s=options.get("image_s", 0), deadline_s=options.get("deadline_s", 0))
    found = await lab.room.plan("dune", 0, SCENE, wished, soon())
    assert (found.done, found.dopant_index, found.goal_index, found.outside) == (False, DOPANT, GOAL, False)
    np.testing.assert_allclose(found.beam_xy_angstrom, expected.beam_xy, atol=1e-9)
    np.testing.assert_allclose(found.beam_xy_angstrom - ATOMS[DOPANT], found.beam_from_dopant_angstrom, atol=1e-9)
    assert found.path_index.tolist() == expected.path.tolist()
    assert found.assignment_index.tolist() == [[DOPANT, GOAL]]
    told = ("dwell_s", "expected_s", "success_probability", "lost_probability", "value_s", "lost_s", "all_expected_s", "all_success_probability")
    np.testing.assert_allclose([getattr(found, name) for name in told], [getattr(expected, name) for name in told], rtol=1e-6)
    assert found.assumptions == expected.assumptions
    assert 0 < found.dwell_s <= 5


async def test_a_plan_far_from_what_was_trained_says_so(lab: Served) -> None:
    assert (await lab.room.plan("dune", 0, SCENE, Options(current_na=0.04), soon())).outside
    numbers = NUMBERS.copy()
    numbers[nearest(ATOMS, ATOMS[DOPANT] + np.array([9.0, 9.0]))] = 7
    assert not (await lab.room.plan("dune", 0, replace(SCENE, atomic_numbers=numbers), Options(), soon())).outside
    around = np.argsort(np.hypot(*(ATOMS - ATOMS[DOPANT]).T))[1]
    numbers[around] = 7
    assert (await lab.room.plan("dune", 0, replace(SCENE, atomic_numbers=numbers), Options(), soon())).outside


async def test_tables_are_made_once_for_each_current_and_image_time(lab: Served) -> None:
    for options in (Options(), Options(current_na=CURRENT), Options(deadline_s=60), Options(image_s=2.0), Options(risk_aversion=1.0)):
        await lab.room.plan("dune", 0, SCENE, options, soon())
        assert lab.room.tables == 1
    for count, options in enumerate((Options(image_s=1.0), Options(current_na=2 * CURRENT)), start=2):
        await lab.room.plan("dune", 0, SCENE, options, soon())
        assert lab.room.tables == count


async def test_what_has_arrived_has_nothing_left_to_do(lab: Served) -> None:
    found = await lab.room.plan("dune", 0, replace(SCENE, goals_xy_angstrom=ATOMS[[DOPANT]]), Options(), soon())
    assert (found.done, found.dwell_s, found.success_probability, found.path_index.tolist()) == (True, 0.0, 1.0, [DOPANT])


def goals(*places: tuple[float, float]) -> dict[str, Any]:
    return {"goals_xy_angstrom": np.array(places, np.float64)}


NEAR = tuple(ATOMS[GOAL])
# What is asked for, options, reason, field, row
REFUSED: dict[str, tuple[dict[str, Any], dict[str, float], str, str, int | None]] = {
    "a goal off the lattice": (goals((200.0, 0.0)), {}, "GOAL_OFF_LATTICE", "goals_xy_angstrom", 0),
    "goals in another shape": ({"goals_xy_angstrom": np.zeros(2)}, {}, "INVALID_TENSOR", "goals_xy_angstrom", None),
    "a goal that is NaN": (goals((np.nan, 0.0)), {}, "INVALID_TENSOR", "goals_xy_angstrom", 0),
    "two goals at one atom": (goals(NEAR, NEAR) | {"atomic_numbers": silicon(DOPANT, EDGE)}, {}, "INVALID_FIELD", "goals_xy_angstrom", None),
    "more goals than dopants": (goals(NEAR, tuple(ATOMS[DOPANT])), {}, "INVALID_FIELD", "goals_xy_angstrom", None),
    "thirteen goals": ({"goals_xy_angstrom": ATOMS[:13]}, {}, "INVALID_TENSOR", "goals_xy_angstrom", None),
    "no dopant": ({"atomic_numbers": silicon()}, {}, "NO_DOPANT", "atomic_numbers", None),
    "two dopants": ({"atomic_numbers": silicon(DOPANT, EDGE)}, {}, "SEVERAL_DOPANTS", "dopant_index", None),
    "carbon meant": ({"dopant_index": np.array([GOAL])}, {}, "INVALID_FIELD", "dopant_index", None),
    "a dopant named for two goals": (
        goals(NEAR, tuple(ATOMS[DOPANT])) | {"atomic_numbers": silicon(DOPANT, EDGE), "dopant_index": np.array([DOPANT])},
        {},
        "INVALID_FIELD",
        "dopant_index",
        None,
    ),
    "a dopant at the edge": ({"atomic_numbers": silicon(EDGE)}, {}, "EDGE_SITE", "", None),
    "a forbidden goal": ({"forbidden_index": np.array([GOAL])}, {}, "FORBIDDEN_SITE", "goals_xy_angstrom", GOAL),
    "all ways forbidden": (
        {"forbidden_index": np.argsort(np.hypot(*(ATOMS - ATOMS[DOPANT]).T))[1:4]},
        {},
        "GOAL_UNREACHABLE",
        "goals_xy_angstrom",
        None,
    ),
    "a forbidden atom that is not there": ({"forbidden_index": np.array([0, 10**6])}, {}, "INVALID_TENSOR", "forbidden_index", 1),
    "forbidden in float": ({"forbidden_index": np.array([0.0])}, {}, "INVALID_TENSOR", "forbidden_index", None),
    "atoms in bond lengths": ({"atoms_xy_angstrom": ATOMS / BOND}, {}, "BOND_LENGTH", "atoms_xy_angstrom", None),
    "atoms in float32": ({"atoms_xy_angstrom": ATOMS.astype(np.float32)}, {}, "INVALID_TENSOR", "atoms_xy_angstrom", None),
    "too many atoms": (
        {"atoms_xy_angstrom": np.zeros((10_001, 2)), "atomic_numbers": np.full(10_001, 6)},
        {},
        "INVALID_TENSOR",
        "atoms_xy_angstrom",
        None,
    ),
    "a negative deadline": ({}, {"deadline_s": -1.0}, "INVALID_FIELD", "deadline_s", None),
    "a deadline of years": ({}, {"deadline_s": 1e9}, "INVALID_FIELD", "deadline_s", None),
    "a day for two goals": (
        goals(NEAR, tuple(ATOMS[DOPANT])) | {"atomic_numbers": silicon(DOPANT, EDGE)},
        {"deadline_s": 86400.0},
        "INVALID_FIELD",
        "deadline_s",
        None,
    ),
    "NaN aversion": ({}, {"risk_aversion": np.nan}, "INVALID_FIELD", "risk_aversion", None),
    "infinite aversion": ({}, {"risk_aversion": np.inf}, "INVALID_FIELD", "risk_aversion", None),
    "an image of hours": ({}, {"image_s": 7200.0}, "INVALID_FIELD", "image_s", None),
    "a negative current": ({}, {"current_na": -0.02}, "INVALID_FIELD", "current_na", None),
    "NaN volts": ({}, {"voltage_kv": np.nan}, "INVALID_FIELD", "voltage_kv", None),
}
# These need the way to be looked for, and a table for it.
LATE = {"a dopant at the edge", "a forbidden goal", "all ways forbidden"}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_plan_that_cannot_be_is_refused_by_name_before_anything_is_prepared(lab: Served, case: str) -> None:
    change, options, reason, field, row = REFUSED[case]
    with pytest.raises(DichroicError) as caught:
        await lab.room.plan("dune", 0, replace(SCENE, **change), Options(**options), soon())
    assert (caught.value.reason, caught.value.field, caught.value.row) == (reason, field, row)
    assert lab.room.tables == (1 if case in LATE else 0)


async def test_a_day_is_no_trouble_for_one_goal_and_an_hour_for_two(lab: Served) -> None:
    assert (await lab.room.plan("dune", 0, SCENE, Options(deadline_s=86400.0), soon())).success_probability > 0.5
    inner = np.argsort(np.hypot(*ATOMS.T))
    two = Scene(ATOMS, silicon(inner[0], inner[20]), ATOMS[inner[[5, 25]]])
    found = await lab.room.plan("dune", 0, two, Options(deadline_s=3600.0), soon())
    assert len(found.assignment_index) == 2
    assert found.all_success_probability <= found.success_probability


async def test_a_plan_that_would_hold_a_thread_for_minutes_is_refused(lab: Served) -> None:
    atoms, _ = image(60.0)
    numbers = np.full(len(atoms), 6, np.int64)
    inner = np.argsort(np.hypot(*atoms.T))
    dopants, aims = inner[0:120:10], inner[5:125:10]
    numbers[dopants] = 14
    assert len(atoms) * 144 > MOST_WORK
    with pytest.raises(DichroicError, match="too much for one plan") as caught:
        await lab.room.plan("dune", 0, Scene(atoms, numbers, atoms[aims]), Options(), soon())
    assert (caught.value.reason, caught.value.field) == ("INVALID_FIELD", "goals_xy_angstrom")
