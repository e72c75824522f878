"""The mechanism room's routes: the same requests, answers and errors as over gRPC, in JSON."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from dichroic.errors import InternalError, UnknownSessionError
from services.transport.errors import http_status
from tests.services.conftest import Running
from tests.services.transport import told_room
from tests.services.transport.test_grpc_mechanism import ERRORS, FIELD, PATCH, PHASE, same_given
from tests.services.transport.told_room import DELETED, MADE, OBSERVED, PREDICTED, SUGGESTED, ToldRoom
from tests.toy_bundle import NDArray

UNITS = {"field": "V"}
IN_SESSIONS = ("sessions/{session_id}/predict", "sessions/{session_id}/suggest", "sessions/{session_id}/observe")


def packed(values: NDArray) -> dict[str, Any]:
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data_base64": base64.b64encode(values.tobytes()).decode()}


def unpacked(given: dict[str, Any]) -> NDArray:
    return np.frombuffer(base64.b64decode(given["data_base64"]), dtype=given["dtype"]).reshape(given["shape"])


INPUTS = {"patch": packed(PATCH), "field": {"dtype": "float64", "values": FIELD.tolist()}, "phase": PHASE.tolist()}


async def ask(running: Running, path: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = await running.http.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def same_json(found: dict[str, Any], answer: Any, *, echoed: tuple[str, ...] = ()) -> None:
    """Every field of the room's answer and nothing else is in the JSON; packed arrays to the bit."""
    assert set(found) == {*vars(answer), *echoed}
    for name, value in vars(answer).items():
        if isinstance(value, np.ndarray):
            array = unpacked(found[name]) if isinstance(found[name], dict) else np.array(found[name])
            assert array.dtype == value.dtype
            np.testing.assert_array_equal(array, value)
        elif name == "model":
            assert found[name] == {"name": value.name, "version": value.version, "digest": value.digest}
        else:
            assert found[name] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("arrays", ["base64", "lists"])
async def test_predict_carries_everything_there_and_back(running: Running, room: ToldRoom, arrays: str) -> None:
    body = {"inputs": INPUTS, "units": UNITS, "include_noise": True, "include_covariance": True, "arrays": arrays}
    found = await ask(running, "models/toy/predict", body | {"version": 1, "frame_id": "f", "acquisition_time_unix_ns": 7})
    same_json(found, PREDICTED, echoed=("frame_id", "acquisition_time_unix_ns"))
    assert (found["frame_id"], found["acquisition_time_unix_ns"]) == ("f", 7)
    asked = room.last("predict")
    same_given(asked.pop("given"), **UNITS)
    assert asked == {"model_name": "toy", "model_version": 1, "session_id": "", "include_noise": True, "include_covariance": True}
    found = await ask(running, "sessions/s1/predict", body)
    same_json(found, PREDICTED, echoed=("frame_id", "acquisition_time_unix_ns"))
    asked = room.last("predict")
    same_given(asked.pop("given"), **UNITS)
    assert asked == {"model_name": "", "model_version": 0, "session_id": "s1", "include_noise": True, "include_covariance": True}


async def test_suggest_carries_everything_there_and_back(running: Running, room: ToldRoom) -> None:
    options = {"strategy": "ei", "part": "patch", "count": 3, "kappa": 1.5, "goal": "minimise"}
    same_json(
        await ask(running, "models/toy/suggest", {"candidates": INPUTS, "units": UNITS, "version": 1, "incumbent": -0.25, **options}), SUGGESTED
    )
    asked = room.last("suggest")
    same_given(asked.pop("candidates"), **UNITS)
    assert asked.pop("incumbent").tolist() == [-0.25]
    assert asked == {"model_name": "toy", "model_version": 1, "session_id": "", **options}
    same_json(await ask(running, "sessions/s1/suggest", {"strategy": "total_sd", "arrays": "base64"}), SUGGESTED)
    defaults = {"candidates": None, "incumbent": None, "count": 1, "kappa": 0.0, "goal": "", "part": ""}
    assert room.last("suggest") == {"model_name": "", "model_version": 0, "session_id": "s1", "strategy": "total_sd", **defaults}


async def test_a_session_is_made_observes_and_ends(running: Running, room: ToldRoom) -> None:
    body = {"candidates": INPUTS, "units": UNITS, "expires_after_s": 60, "seed": 5, "request_id": "a", "version": 1}
    same_json(await ask(running, "models/toy/sessions", body), MADE)
    asked = room.last("create_session")
    same_given(asked.pop("candidates"), **UNITS)
    assert asked == {"model_name": "toy", "model_version": 1, "expires_after_s": 60, "seed": 5, "request_id": "a"}
    body = {"inputs": INPUTS, "units": UNITS, "y": [1.5, -2], "y_unit": "pm", "request_id": "b", "expected_revision": 4}
    same_json(await ask(running, "sessions/s1/observe", body), OBSERVED)
    asked = room.last("observe")
    same_given(asked.pop("given"), **UNITS)
    y = asked.pop("y")
    assert (y.dtype, y.tolist()) == (np.float64, [1.5, -2.0])
    assert asked == {"session_id": "s1", "candidate_index": None, "y_unit": "pm", "request_id": "b", "expected_revision": 4}
    await ask(running, "sessions/s1/observe", {"candidate_index": [3, 1], "y": packed(np.array([1.5, -2.0]))})
    asked = room.last("observe")
    assert (asked["given"], asked["candidate_index"].dtype, asked["candidate_index"].tolist()) == (None, np.int64, [3, 1])
    answer = await running.http.delete("/v1/sessions/s1")
    same_json(answer.json(), DELETED)
    assert room.last("delete_session") == {"session_id": "s1"}


CALLS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "predict": ("POST", "models/toy/predict", {"inputs": INPUTS}),
    "predict in a session": ("POST", "sessions/s1/predict", {"inputs": INPUTS}),
    "suggest": ("POST", "models/toy/suggest", {"candidates": INPUTS, "strategy": "total_sd"}),
    "suggest in a session": ("POST", "sessions/s1/suggest", {"strategy": "total_sd"}),
    "create": ("POST", "models/toy/sessions", {}),
    "observe": ("POST", "sessions/s1/observe", {"inputs": INPUTS, "y": [1, 2]}),
    "delete": ("DELETE", "sessions/s1", None),
}


@pytest.mark.parametrize("call", CALLS)
async def test_every_error_of_the_room_reaches_the_caller_as_it_is(running: Running, room: ToldRoom, call: str) -> None:
    method, path, body = CALLS[call]
    for room.error in ERRORS:
        answer = await running.http.request(method, f"/v1/{path}", json=body)
        assert answer.status_code == http_status(room.error)
        problem = answer.json()["error"]
        facts = {"reason": room.error.reason, "status": room.error.status, "message": room.error.message, "row": room.error.row}
        assert problem == facts | {"field": room.error.field, "retry_delay_s": room.error.retry_delay_s, "metadata": room.error.metadata}
        assert ("retry-after" in answer.headers) == (room.error.retry_delay_s is not None)
    room.error = None
    assert (await running.http.request(method, f"/v1/{path}", json=body)).status_code == 200


async def test_lists_are_what_the_mechanisms_kind_takes(running: Running, room: ToldRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"patch": "image", "loop": "spectrum", "field": "coordinates", "dwell": "parameters", "phase": "category"}
    monkeypatch.setattr("services.transport.http_mechanism.kinds_of", lambda *_: kinds)
    listed = {"patch": [[[0, 1]]], "loop": [[1, 2, 3]], "field": [[1, 2]], "dwell": [[1]], "phase": [2]}
    await ask(running, "models/toy/predict", {"inputs": listed})
    found = {name: values.dtype.name for name, values in room.last("predict")["given"].values.items()}
    assert found == {"patch": "float32", "loop": "float32", "field": "float64", "dwell": "float64", "phase": "int64"}
    room.kinds = kinds
    for method, field, options in (("observe", "inputs", {"y": [1]}), ("predict", "inputs", {}), ("suggest", "candidates", {"strategy": "ei"})):
        await ask(running, f"sessions/s1/{method}", {field: listed} | options)
        given = room.last(method)["candidates" if method == "suggest" else "given"]
        assert {name: values.dtype.name for name, values in given.values.items()} == found


@pytest.mark.parametrize("method", ["predict", "observe", "suggest"])
async def test_of_a_session_that_is_none_no_list_is_read(running: Running, room: ToldRoom, method: str) -> None:
    room.error = UnknownSessionError("gone")
    body = {"predict": {"inputs": INPUTS}, "observe": {"inputs": INPUTS, "y": [1, 2]}, "suggest": {"candidates": INPUTS, "strategy": "ei"}}[method]
    assert (await ask(running, f"sessions/s1/{method}", body, status=404))["error"]["reason"] == "SESSION_UNKNOWN"
    assert room.asked == []


BAD: dict[str, tuple[str, Any, str, str]] = {
    "no inputs": ("models/toy/predict", {}, "INVALID_FIELD", "inputs"),
    "inputs that are a list": ("models/toy/predict", {"inputs": [1]}, "INVALID_FIELD", "inputs"),
    "ragged": ("models/toy/predict", {"inputs": {"field": [[1, 2], [3]]}}, "INVALID_TENSOR", "field"),
    "text": ("models/toy/predict", {"inputs": {"phase": ["up"]}}, "INVALID_TENSOR", "phase"),
    "null": ("sessions/s1/predict", {"inputs": {"field": [[None, 1]]}}, "INVALID_TENSOR", "field"),
    "a fraction as a category": ("sessions/s1/predict", {"inputs": {"phase": [0.5]}}, "INVALID_TENSOR", "phase"),
    "a unit that is a number": ("models/toy/predict", {"inputs": INPUTS, "units": {"field": 1}}, "INVALID_FIELD", "units"),
    "an unknown field": ("models/toy/predict", {"inputs": INPUTS, "include_nose": True}, "INVALID_FIELD", "include_nose"),
    "a version in a session": ("sessions/s1/predict", {"inputs": INPUTS, "version": 1}, "INVALID_FIELD", "version"),
    "no strategy": ("models/toy/suggest", {"candidates": INPUTS}, "INVALID_FIELD", "strategy"),
    "an unknown strategy": ("models/toy/suggest", {"strategy": "luck"}, "INVALID_FIELD", "strategy"),
    "no picks": ("sessions/s1/suggest", {"strategy": "ei", "count": 0}, "INVALID_FIELD", "count"),
    "a ragged candidate": ("sessions/s1/suggest", {"strategy": "ei", "candidates": {"field": [[1], []]}}, "INVALID_TENSOR", "candidates.field"),
    "no y": ("sessions/s1/observe", {"inputs": INPUTS}, "INVALID_FIELD", "y"),
    "y that is null": ("sessions/s1/observe", {"inputs": INPUTS, "y": [None, 1]}, "INVALID_TENSOR", "y"),
    "an index between two": ("sessions/s1/observe", {"candidate_index": [0.5], "y": [1]}, "INVALID_TENSOR", "candidate_index"),
    "a seed below 0": ("models/toy/sessions", {"seed": -1}, "INVALID_FIELD", "seed"),
    "a model that is not there": ("models/none/predict", {"inputs": INPUTS}, "UNKNOWN_MODEL", ""),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_body_that_cannot_be_read_is_named_and_the_room_not_asked(running: Running, room: ToldRoom, case: str) -> None:
    path, body, reason, field = BAD[case]
    problem = (await ask(running, path, body, status=404 if reason == "UNKNOWN_MODEL" else 400))["error"]
    assert (problem["reason"], problem["field"]) == (reason, field or problem["field"])
    assert room.asked == []


async def test_what_json_has_no_number_for_is_null(running: Running, room: ToldRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_room, "PREDICTED", replace(PREDICTED, total_mean=np.array([np.nan, np.inf])))
    answer = await running.http.post("/v1/models/toy/predict", json={"inputs": INPUTS})
    assert '"total_mean":[null,null]' in answer.text


async def test_a_deadline_goes_to_the_room_and_an_unforeseen_error_leaves_only_an_id(running: Running, room: ToldRoom) -> None:
    room.error = ZeroDivisionError("secret detail")  # type: ignore[assignment]
    answer = await running.http.post("/v1/sessions/s1/observe", json={"inputs": INPUTS, "y": [1, 2], "timeout_s": 3600})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (500, InternalError.reason)
    assert "secret" not in answer.text
    assert room.asked[-1][1]["deadline"] > asyncio.get_running_loop().time() + 3000


async def test_calls_in_a_session_are_counted_for_the_model_that_answers(running: Running, room: ToldRoom) -> None:
    def counted(status: str, model: str) -> float:
        labels = {"protocol": "http", "method": "DeleteSession", "model": model, "status": status}
        return REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0.0

    before = counted("OK", "toy"), counted("NOT_FOUND", "")
    await running.http.delete("/v1/sessions/s1")
    room.error = UnknownSessionError("gone")
    await running.http.delete("/v1/sessions/s1")
    assert (counted("OK", "toy"), counted("NOT_FOUND", "")) == (before[0] + 1, before[1] + 1)


async def test_openapi_describes_every_route_its_body_and_its_answer(running: Running) -> None:
    paths = (await running.http.get("/openapi.json")).json()["paths"]
    for path in ("models/{name}/predict", "models/{name}/suggest", "models/{name}/sessions", *IN_SESSIONS):
        route = paths[f"/v1/{path}"]["post"]
        schema = route["requestBody"]["content"]["application/json"]["schema"]
        assert [name for name, each in schema["properties"].items() if "description" not in each] == []
        assert "$ref" in route["responses"]["200"]["content"]["application/json"]["schema"]
        assert "default" in route["responses"]
    assert "delete" in paths["/v1/sessions/{session_id}"]
