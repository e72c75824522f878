"""The command's calls of the mechanism room: files by mechanism in, predictions, picks and sessions out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dichroic.errors import SessionConflictError, UnitMismatchError
from dichroic.wire import from_array
from tests.dichroic.client.test_client_mechanism import FIELD, GIVEN, TOTAL
from tests.dichroic.conftest import saved
from tests.dichroic.fake_server import FakeServer


@pytest.fixture
def scan(dichroic: Callable[..., int]) -> Callable[..., int]:
    """The command, in a folder that holds scan.npz: mechanisms, y, and what is for nobody."""
    arrays = {name: np.asarray(values) for name, values in GIVEN.items()}
    np.savez("scan.npz", **arrays, y=np.array([1.0, 2.0, 30.0]), position_um=np.zeros((3, 2)))
    return dichroic


def test_predict_sends_the_mechanisms_of_the_file_and_writes_every_attribute(scan: Callable[..., int], server: FakeServer) -> None:
    assert scan("predict", "hysteresis", "scan.npz", "--unit", "field=V", "--unit", "dwell=s", "--noise", "--covariance", "--out", "a.npz") == 0
    found = saved("a.npz")
    np.testing.assert_allclose(found["total_mean"], TOTAL)
    assert (found["part_names"].tolist()[0], str(found["unit"]), bool(found["noise_included"])) == ("constant", "pm", True)
    assert (found["part_covariance"].shape, str(found["model_name"]), int(found["model_version"])) == ((3, 3, 3), "hysteresis", 2)
    request = server.asked("Predict")[0]
    assert {each.name: each.unit for each in request.inputs} == {"patch": "", "field": "V", "dwell": "s", "phase": ""}


def test_suggest_prints_its_picks_for_people_and_for_programs(
    scan: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan("suggest", "hysteresis", "scan.npz", "--count", "2", "--strategy", "part_sd", "--part", "field", "--out", "picks.npz") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["candidate", "score", "mean", "sd", "part", "sd"]
    assert (first.split(), second.split()) == (["9", "9.5", "9", "10", "9.25"], ["8", "8.5", "8", "9", "8.25"])
    assert saved("picks.npz")["candidate_index"].tolist() == [9, 8]
    assert scan("suggest", "hysteresis", "scan.npz", "--strategy", "ei", "--incumbent", "-2.5", "--goal", "minimise", "--json") == 0
    assert json.loads(capsys.readouterr().out)["candidate_index"] == [9]
    first_asked, second_asked = server.asked("Suggest")
    assert (first_asked.strategy, first_asked.part, first_asked.count) == ("part_sd", "field", 2)
    assert (second_asked.goal, from_array(second_asked.incumbent, field="").tolist()) == ("minimise", [-2.5])


def test_a_session_is_made_fed_asked_and_ended(scan: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan("session", "create", "hysteresis", "scan.npz", "--seed", "5", "--expires-after-s", "60") == 0
    session_id = capsys.readouterr().out.strip()
    assert session_id == "session-1"
    assert scan("session", "observe", "hysteresis", session_id, "scan.npz", "--y-unit", "pm", "--expected-revision", "1") == 0
    assert capsys.readouterr().out.strip() == "revision 2, 23 points; weights 1 1 0.25"
    np.savez("picked.npz", y=[5.0], candidate_index=[2])
    for said in ("revision 3, 24 points; weights 1", "revision 3, 24 points, as answered before; weights 1"):
        assert scan("session", "observe", "hysteresis", session_id, "picked.npz", "--request-id", "point 4") == 0
        assert capsys.readouterr().out.strip() == said
    assert scan("predict", "hysteresis", "scan.npz", "--session", session_id, "--out", "a.npz") == 0
    assert int(saved("a.npz")["revision"]) == 3
    assert scan("suggest", "hysteresis", "--session", session_id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 3
    assert scan("session", "delete", session_id) == 0
    assert capsys.readouterr().out.strip() == "session-1 ended at revision 3"
    assert (server.mechanism.observed, server.mechanism.revisions) == ([1.0, 2.0, 30.0, 5.0], {})
    assert {each.name for each in server.asked("Observe")[0].inputs} == set(GIVEN)


def test_sessions_are_told_to_programs_as_json(scan: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert scan("session", "create", "hysteresis", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["session_id"], made["model"]["name"], made["candidates"]) == ("session-1", "hysteresis", 0)
    assert scan("session", "observe", "hysteresis", "session-1", "scan.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["weight"] == [1.0, 1.0, 0.25]
    assert scan("session", "delete", "session-1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["predict", "hysteresis", "empty.npz", "--out", "a.npz"], id="no mechanism in the file"),
        pytest.param(["session", "observe", "hysteresis", "session-1", "empty.npz"], id="no y in the file"),
        pytest.param(["predict", "hysteresis", "scan.npz", "--out", "a.txt"], id="no .npz"),
        pytest.param(["session", "delete", "nobody"], id="no such session"),
        pytest.param(["suggest", "hysteresis", "scan.npz", "--count", "0"], id="no picks"),
    ],
)
def test_what_cannot_be_used_exits_2(scan: Callable[..., int], arguments: list[str]) -> None:
    np.savez("empty.npz", position_um=np.zeros((3, 2)))
    assert scan(*arguments) == 2
    assert not Path("a.npz").exists()


@pytest.mark.parametrize(
    "arguments", [["predict"], ["session"], ["session", "make"], ["predict", "hysteresis", "a.npz", "--unit", "V", "--out", "b.npz"]]
)
def test_a_wrong_command_line_exits_2(scan: Callable[..., int], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        scan(*arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("error", [UnitMismatchError("kV, not V"), SessionConflictError("at revision 9")])
def test_what_the_caller_can_mend_exits_2(scan: Callable[..., int], server: FakeServer, error: Exception) -> None:
    server.failures["Predict"] = [error]  # type: ignore[list-item]
    assert scan("predict", "hysteresis", "scan.npz", "--out", "a.npz") == 2


def test_a_file_of_one_array_is_not_taken_for_one_of_many_mechanisms(scan: Callable[..., int], server: FakeServer) -> None:
    np.save("field.npy", FIELD)
    assert scan("predict", "hysteresis", "field.npy", "--out", "a.npz") == 2
    assert server.asked("Predict") == []
