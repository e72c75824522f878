"""Plans of the room in the real engine, against the planner called by hand."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import DeadlineExceededError, DichroicError
from services.transition.chain import Chain
from services.transition.planning import plan
from services.transition.scenes import MOST_WORK, Options, Scene
from services.transition.table import tabulate
from services.transition.values import Risk
from services.transition.wishes import Wish
from tests.services.transition.graphene import nearest
from tests.services.transition.served import ATOMS, DOPANT, EDGE, GOAL, NUMBERS, SCENE, TOY, Served, served, silicon, soon
from tests.toy_transition import BOND, CURRENT, VOLTAGE, NDArray, ToyTransition, image


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


async def test_which_atoms_are_foreign_is_said_by_the_bundle(tmp_path: Path) -> None:
    async with served(tmp_path, nitride=ToyTransition(host=7)) as lab:
        numbers = np.where(NUMBERS == 6, 7, NUMBERS)
        assert not (await lab.room.plan("nitride", 0, replace(SCENE, atomic_numbers=numbers), Options(), soon())).outside
        numbers[GOAL] = 6
        with pytest.raises(DichroicError) as caught:
            await lab.room.plan("nitride", 0, replace(SCENE, atomic_numbers=numbers), Options(), soon())
        assert caught.value.metadata["cause"] == "foreign"


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
    "a forbidden goal": ({"forbidden_index": np.array([GOAL])}, {}, "FORBIDDEN_SITE", "goals_xy_angstrom", 0),
    "a forbidden dopant": ({"forbidden_index": np.array([DOPANT])}, {}, "FORBIDDEN_SITE", "atoms_xy_angstrom", DOPANT),
    "a goal on a foreign atom": (
        {"atomic_numbers": np.where(np.arange(len(ATOMS)) == GOAL, 7, NUMBERS)},
        {},
        "FORBIDDEN_SITE",
        "goals_xy_angstrom",
        0,
    ),
    "all ways forbidden": (
        {"forbidden_index": np.argsort(np.hypot(*(ATOMS - ATOMS[DOPANT]).T))[1:4]},
        {},
        "GOAL_UNREACHABLE",
        "goals_xy_angstrom",
        0,
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
LATE = {"a dopant at the edge", "a forbidden goal", "a forbidden dopant", "a goal on a foreign atom", "all ways forbidden"}


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
