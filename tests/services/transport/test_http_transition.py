"""The transition room's routes: the same requests, answers and errors as over gRPC, in JSON."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from dichroic.errors import EdgeSiteError, InternalError
from services.transition.scenes import Options
from services.transport.errors import http_status
from services.transport.metrics import ACTION_TABLES, show_tables
from tests.services.conftest import Running
from tests.services.transport import told_transition
from tests.services.transport.test_grpc_transition import ERRORS, NEEDED, OPTIONS, SCENE, STATES
from tests.services.transport.test_http_mechanism import packed, same_json
from tests.services.transport.told_transition import PLANNED, PREDICTED, ToldTransitions, same_arrays

ECHOED = ("frame_id", "acquisition_time_unix_ns")
MORE = {"version": 3, "frame_id": "f", "acquisition_time_unix_ns": 7}


def bodies(arrays: dict[str, Any], form: str) -> dict[str, Any]:
    return {name: packed(values) if form == "base64" else values.tolist() for name, values in arrays.items()}


async def ask(running: Running, route: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = await running.http.post(f"/v1/models/toy/{route}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("form", ["base64", "lists"])
async def test_both_routes_carry_everything_there_and_back(running: Running, transitions: ToldTransitions, form: str) -> None:
    found = await ask(running, "transitions", bodies(STATES, form) | MORE | {"arrays": form})
    same_json(found, PREDICTED, echoed=ECHOED)
    assert (found["frame_id"], found["acquisition_time_unix_ns"]) == ("f", 7)
    asked = transitions.last("predict_transitions")
    same_arrays(asked.pop("given"), STATES)
    assert asked == {"model_name": "toy", "model_version": 3}
    found = await ask(running, "plan", bodies(SCENE, form) | OPTIONS | MORE | {"arrays": form})
    same_json(found, PLANNED, echoed=ECHOED)
    assert (found["frame_id"], found["acquisition_time_unix_ns"]) == ("f", 7)
    asked = transitions.last("plan")
    same_arrays(asked.pop("scene"), SCENE)
    assert asked == {"model_name": "toy", "model_version": 3, "options": Options(**OPTIONS)}


async def test_what_is_not_sent_is_none_and_numbers_are_0(running: Running, transitions: ToldTransitions) -> None:
    least = {name: STATES[name] for name in NEEDED["predict"]}
    await ask(running, "transitions", bodies(least, "lists"))
    same_arrays(transitions.last("predict_transitions")["given"], least)
    least = {name: SCENE[name] for name in NEEDED["plan"]}
    await ask(running, "plan", bodies(least, "lists"))
    same_arrays(transitions.last("plan")["scene"], least)
    assert transitions.last("plan")["options"] == Options()


CALLS = {"transitions": ("PredictTransitions", bodies(STATES, "lists")), "plan": ("Plan", bodies(SCENE, "lists"))}


@pytest.mark.parametrize("route", CALLS)
async def test_every_error_of_the_room_reaches_the_caller_as_it_is(running: Running, transitions: ToldTransitions, route: str) -> None:
    for error in ERRORS:
        transitions.error = error
        answer = await running.http.post(f"/v1/models/toy/{route}", json=CALLS[route][1])
        assert answer.status_code == http_status(error)
        facts = {"reason": error.reason, "status": error.status, "message": error.message, "row": error.row, "field": error.field}
        assert answer.json()["error"] == facts | {"retry_delay_s": error.retry_delay_s, "metadata": error.metadata}
    transitions.error = None
    await ask(running, route, CALLS[route][1])


BAD: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "ragged": ("transitions", {"beam_xy_angstrom": [[0, 1], [2]]}, "INVALID_TENSOR", "beam_xy_angstrom"),
    "null": ("transitions", {"dwell_s": [None]}, "INVALID_TENSOR", "dwell_s"),
    "text": ("plan", {"goals_xy_angstrom": [["there", "here"]]}, "INVALID_TENSOR", "goals_xy_angstrom"),
    "a number for a list": ("transitions", {"dwell_s": 1.5}, "INVALID_FIELD", "dwell_s"),
    "an atom between two": ("plan", {"forbidden_index": [0.5]}, "INVALID_TENSOR", "forbidden_index"),
    "half an element": ("plan", {"atomic_numbers": [6, 14.5, 6, 6]}, "INVALID_TENSOR", "atomic_numbers"),
    "an unknown field": ("transitions", {"dwel_s": [1]}, "INVALID_FIELD", "dwel_s"),
    "an option of the other": ("transitions", {"image_s": 1.0}, "INVALID_FIELD", "image_s"),
    "a list for a number": ("plan", {"current_na": [0.02]}, "INVALID_FIELD", "current_na"),
    "a deadline below 0": ("plan", {"deadline_s": -1}, "INVALID_FIELD", "deadline_s"),
    "a version below 0": ("plan", {"version": -1}, "INVALID_FIELD", "version"),
    "not base64": ("plan", {"atoms_xy_angstrom": {"dtype": "float64", "shape": [1, 2], "data_base64": "???"}}, "INVALID_TENSOR", "atoms_xy_angstrom"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_body_that_cannot_be_read_is_named_and_the_room_not_asked(running: Running, transitions: ToldTransitions, case: str) -> None:
    route, change, reason, field = BAD[case]
    problem = (await ask(running, route, CALLS[route][1] | change, status=400))["error"]
    assert (problem["reason"], problem["field"]) == (reason, field)
    assert transitions.asked == []


async def test_what_is_required_and_missing_is_named(running: Running, transitions: ToldTransitions) -> None:
    for route, names in (("transitions", NEEDED["predict"]), ("plan", NEEDED["plan"])):
        for name in names:
            rest = {key: values for key, values in CALLS[route][1].items() if key != name}
            problem = (await ask(running, route, rest, status=400))["error"]
            assert (problem["reason"], problem["field"]) == ("INVALID_FIELD", name)
    assert transitions.asked == []


async def test_what_json_has_no_number_for_is_null(running: Running, transitions: ToldTransitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_transition, "PLANNED", replace(PLANNED, expected_s=float("nan"), beam_xy_angstrom=np.array([np.nan, 1.0])))
    found = await ask(running, "plan", CALLS["plan"][1])
    assert (found["expected_s"], found["beam_xy_angstrom"], found["all_expected_s"]) == (None, [None, 1.0], 70.5)


async def test_a_deadline_goes_to_the_room_and_an_unforeseen_error_leaves_only_an_id(running: Running, transitions: ToldTransitions) -> None:
    transitions.error = ZeroDivisionError("secret detail")
    for route, (_, body) in CALLS.items():
        answer = await running.http.post(f"/v1/models/toy/{route}", json=body | {"timeout_s": 3600})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (500, InternalError.reason)
        assert "secret" not in answer.text
        assert transitions.asked[-1][1]["deadline"] > asyncio.get_running_loop().time() + 3000


@pytest.mark.parametrize("route", CALLS)
async def test_calls_are_counted_by_method_model_and_status(running: Running, transitions: ToldTransitions, route: str) -> None:
    method, body = CALLS[route]

    def counted(status: str, model: str) -> float:
        labels = {"protocol": "http", "method": method, "model": model, "status": status}
        return REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0.0

    before = counted("OK", "toy"), counted("FAILED_PRECONDITION", "toy")
    await ask(running, route, body)
    transitions.error = EdgeSiteError("at an edge")
    await ask(running, route, body, status=412)
    assert (counted("OK", "toy"), counted("FAILED_PRECONDITION", "toy")) == (before[0] + 1, before[1] + 1)


async def test_the_metrics_page_tells_how_many_tables_are_kept(running: Running) -> None:
    show_tables(running.server.transition)
    assert "dichroic_action_tables 0.0" in (await running.http.get("/metrics")).text
    ACTION_TABLES.set_function(lambda: 0)


async def test_openapi_describes_both_routes_their_bodies_and_their_answers(running: Running) -> None:
    paths = (await running.http.get("/openapi.json")).json()["paths"]
    for route, arrays in (("transitions", STATES), ("plan", SCENE)):
        described = paths[f"/v1/models/{{name}}/{route}"]["post"]
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        assert arrays.keys() <= schema["properties"].keys()
        assert [name for name in arrays if "description" not in schema["properties"][name]] == []
        assert "$ref" in described["responses"]["200"]["content"]["application/json"]["schema"]
        assert "default" in described["responses"]
