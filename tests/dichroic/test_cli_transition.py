"""The command's calls of the transition room: states and atoms in, rates and the next step out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dichroic.errors import EdgeSiteError, GoalUnreachableError, QueueFullError
from dichroic.wire import from_array
from tests.dichroic.conftest import saved
from tests.dichroic.fake_server import FakeServer

BEAM = np.array([[0.5, -1.0], [2.0, 0.25]])
NEIGHBOURS = np.arange(12.0).reshape(2, 3, 2) / 7
ATOMS, NUMBERS = np.arange(8.0).reshape(4, 2), np.array([6, 14, 6, 6])


@pytest.fixture
def lab(dichroic: Callable[..., int]) -> Callable[..., int]:
    """The command, in a folder that holds states.npz and atoms.npz."""
    np.savez("states.npz", beam_xy_angstrom=BEAM, neighbours_xy_angstrom=NEIGHBOURS, dwell_s=np.array([1.0, 2.0]), notes=np.zeros(3))
    np.savez("atoms.npz", atoms_xy_angstrom=ATOMS, atomic_numbers=NUMBERS)
    return dichroic


def test_transitions_sends_the_states_of_the_file_and_writes_every_attribute(lab: Callable[..., int], server: FakeServer) -> None:
    assert lab("transitions", "dune", "states.npz", "--current-na", "0.03", "--out", "a.npz") == 0
    found = saved("a.npz")
    assert (found["rates_per_s"].shape, found["occupancy"].shape, found["outside"].dtype) == ((2, 3), (2, 5), np.bool_)
    assert (str(found["model_name"]), int(found["model_version"]), "dopant_index" in found) == ("dune", 2, False)
    request = server.asked("PredictTransitions")[0]
    assert from_array(request.dwell_s, field="").tolist() == [1.0, 2.0]
    assert from_array(request.current_na, field="").tolist() == [0.03, 0.03]
    assert lab("transitions", "dune", "states.npz", "--dwell-s", "4", "--out", "a.npz") == 0
    assert from_array(server.asked("PredictTransitions")[1].dwell_s, field="").tolist() == [4.0, 4.0]


def test_transitions_beside_a_dopant_among_atoms(lab: Callable[..., int], server: FakeServer) -> None:
    np.savez("seen.npz", beam_xy_angstrom=BEAM, atoms_xy_angstrom=ATOMS, atomic_numbers=NUMBERS)
    assert lab("transitions", "dune", "seen.npz", "--dwell-s", "1", "--dopant", "1", "--out", "a.npz") == 0
    assert (int(saved("a.npz")["dopant_index"]), saved("a.npz")["neighbour_index"].tolist()) == (1, [2, 0, 3])
    assert from_array(server.asked("PredictTransitions")[0].dopant_index, field="").tolist() == [1]


def test_plan_prints_the_next_step_for_people_and_for_programs(
    lab: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--forbidden", "2", "0", "--image-s", "1", "--deadline-s", "300", "--risk-aversion", "0.5", "--voltage-kv", "60")
    assert lab("plan", "dune", "atoms.npz", "--goal", "6", "7", "--dopant", "1", *options, "--out", "plan.npz") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "beam at (6.000, 7.000) Å, (+4.000, +4.000) Å from atom 1, for 2.5 s",
        "path 1 3",
        "within the deadline: at the goal 90.0% after 31 s in the mean, lost 5.0%",
    ]
    assert saved("plan.npz")["assumptions"].tolist() == ["the beam stands still", "images move no atom"]
    request = server.asked("Plan")[0]
    assert from_array(request.forbidden_index, field="").tolist() == [2, 0]
    assert (request.image_s, request.deadline_s, request.risk_aversion, request.current_na, request.voltage_kv) == (1, 300, 0.5, 0, 60)
    assert lab("plan", "dune", "atoms.npz", "--goal", "6", "7", "--goal", "0", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["beam_xy_angstrom"], told["dwell_s"], told["done"]) == ([6.0, 7.0], 2.5, False)
    assert lab("plan", "dune", "atoms.npz", "--goal", "6", "7", "--goal", "0", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all of them (1 to 3, 2 to 2): 90.0% after 31 s in the mean"
    assert from_array(server.asked("Plan")[1].goals_xy_angstrom, field="").tolist() == [[6, 7], [0, 1]]


def test_plan_says_when_nothing_is_left_when_nothing_succeeds_and_when_it_is_far_out(
    lab: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("both.npz", atoms_xy_angstrom=ATOMS, atomic_numbers=NUMBERS, goals_xy_angstrom=ATOMS[:1])
    assert lab("plan", "dune", "both.npz") == 0
    assert capsys.readouterr().out.strip() == "atom 1 is where it is to be; nothing is left to do"
    assert lab("plan", "dune", "atoms.npz", "--goal", "6", "7", "--deadline-s", "1", "--current-na", "5") == 0
    said = capsys.readouterr().out
    assert "at the goal 90.0%, lost 5.0%" in said
    assert "beyond what the model was trained on" in said


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["transitions", "dune", "atoms.npz", "--dwell-s", "1", "--out", "a.npz"], id="no beam in the file"),
        pytest.param(["transitions", "dune", "beam.npz", "--out", "a.npz"], id="no dwell"),
        pytest.param(["transitions", "dune", "states.npz", "--out", "a.txt"], id="no .npz"),
        pytest.param(["plan", "dune", "atoms.npz"], id="no goal"),
        pytest.param(["plan", "dune", "states.npz", "--goal", "0", "0"], id="no atoms"),
        pytest.param(["plan", "dune", "atoms.npz", "--goal", "0", "0", "--deadline-s", "-1"], id="a deadline that is over"),
    ],
)
def test_what_cannot_be_used_exits_2(lab: Callable[..., int], server: FakeServer, arguments: list[str]) -> None:
    np.savez("beam.npz", beam_xy_angstrom=BEAM)
    assert lab(*arguments) == 2
    assert not Path("a.npz").exists()
    assert server.asked("Plan") + server.asked("PredictTransitions") == []


@pytest.mark.parametrize(("error", "code"), [(EdgeSiteError("edge"), 2), (GoalUnreachableError("no way"), 2), (QueueFullError("full"), 3)])
def test_what_the_caller_can_mend_exits_2(lab: Callable[..., int], server: FakeServer, error: Exception, code: int) -> None:
    server.failures["Plan"] = [error]  # type: ignore[list-item]
    assert lab("plan", "dune", "atoms.npz", "--goal", "6", "7") == code
