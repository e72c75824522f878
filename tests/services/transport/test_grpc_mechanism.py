"""MechanismService over gRPC: what is sent reaches the room as it is, what it answers reaches the caller whole, and every error is named."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from dichroic.errors import (
    BY_REASON,
    DeadlineExceededError,
    DichroicError,
    MissingMechanismError,
    ModelNotReadyError,
    QueueFullError,
    SessionConflictError,
    SessionExpiredError,
    SessionMemoryError,
    SessionModelChangedError,
    SessionStoreError,
    UnitMismatchError,
    UnknownCategoryError,
    UnknownMechanismError,
    UnknownModelError,
    UnknownSessionError,
    UnsupportedCapabilityError,
)
from dichroic.status import from_rpc_error
from dichroic.v1 import array_pb2, mechanism_pb2_grpc
from dichroic.v1 import mechanism_pb2 as pb
from dichroic.wire import from_array, to_array
from tests.services.conftest import Running
from tests.services.transport.told_room import DELETED, MADE, OBSERVED, PREDICTED, SUGGESTED, ToldRoom

PATCH = np.arange(32, dtype=np.uint16).reshape(2, 4, 4)
FIELD = np.array([[0.5, -1.0], [2.0, 1 / 3]])
PHASE = np.array([2, 0])
NAMES = ("patch", "field", "phase")

ERRORS: list[DichroicError] = [
    MissingMechanismError("field is missing", field="field"),
    UnknownMechanismError("no such", field="stress"),
    UnknownCategoryError("never seen", field="phase", row=1, metadata={"category": "9", "known": "3"}),
    UnitMismatchError("kV", field="field", metadata={"declared": "kV", "expected": "V"}),
    UnknownSessionError("never made", field="session_id", metadata={"session_id": "s1"}),
    SessionExpiredError("not used", field="session_id", metadata={"session_id": "s1"}),
    SessionConflictError("somebody", metadata={"expected_revision": "1", "revision": "2"}),
    SessionModelChangedError("another bundle", metadata={"session_id": "s1"}),
    SessionMemoryError("too large", retry_delay_s=2.0),
    SessionStoreError("disk full"),
    UnknownModelError("no model", metadata={"model_name": "x"}),
    UnsupportedCapabilityError("latent"),
    ModelNotReadyError("loading", retry_delay_s=1.0),
    QueueFullError("full", retry_delay_s=0.5),
    DeadlineExceededError("late"),
]


def stub(running: Running) -> mechanism_pb2_grpc.MechanismServiceAsyncStub:
    return mechanism_pb2_grpc.MechanismServiceStub(running.channel)


def inputs(**units: str) -> list[pb.MechanismInput]:
    values = {"patch": PATCH, "field": FIELD, "phase": PHASE}
    return [pb.MechanismInput(name=name, values=to_array(values[name]), unit=units.get(name, "")) for name in NAMES]


def same_given(given: Any, **units: str) -> None:
    assert list(given.values) == list(NAMES)
    for name, sent in (("patch", PATCH), ("field", FIELD), ("phase", PHASE)):
        assert given.values[name].dtype == sent.dtype
        np.testing.assert_array_equal(given.values[name], sent)
    assert given.units == units


def same_answer(response: Any, answer: Any) -> None:
    """Every field of the room's answer is in the response, to the bit."""
    for name, value in vars(answer).items():
        found = getattr(response, name)
        if isinstance(value, np.ndarray):
            array = from_array(found, field=name)
            assert array.dtype == value.dtype
            np.testing.assert_array_equal(array, value)
        elif name == "model":
            assert (found.name, found.version, found.digest) == (value.name, value.version, value.digest)
        else:
            assert (tuple(found) if isinstance(value, tuple) else found) == value


async def test_predict_carries_everything_there_and_back(running: Running, room: ToldRoom) -> None:
    request = pb.PredictRequest(
        model_name="toy",
        model_version=1,
        session_id="s1",
        inputs=inputs(field="V"),
        include_noise=True,
        include_covariance=True,
        frame_id="f",
        acquisition_time_unix_ns=7,
    )
    response = await stub(running).Predict(request)
    same_answer(response, PREDICTED)
    assert (response.frame_id, response.acquisition_time_unix_ns) == ("f", 7)
    asked = room.last("predict")
    same_given(asked.pop("given"), field="V")
    assert asked == {"model_name": "toy", "model_version": 1, "session_id": "s1", "include_noise": True, "include_covariance": True}


async def test_suggest_carries_everything_there_and_back(running: Running, room: ToldRoom) -> None:
    options = {"strategy": "ei", "part": "patch", "kappa": 1.5, "goal": "minimise"}
    request = pb.SuggestRequest(
        model_name="toy", model_version=2, session_id="s1", candidates=inputs(), count=3, incumbent=to_array(np.array([-0.25])), **options
    )
    same_answer(await stub(running).Suggest(request), SUGGESTED)
    asked = room.last("suggest")
    same_given(asked.pop("candidates"))
    assert asked.pop("incumbent").tolist() == [-0.25]
    assert asked == {"model_name": "toy", "model_version": 2, "session_id": "s1", "count": 3, **options}


async def test_what_suggest_is_not_told_is_the_default(running: Running, room: ToldRoom) -> None:
    await stub(running).Suggest(pb.SuggestRequest(session_id="s1", strategy="total_sd"))
    asked = room.last("suggest")
    assert (asked["candidates"], asked["incumbent"], asked["count"], asked["kappa"], asked["goal"]) == (None, None, 1, 0.0, "")


async def test_a_session_is_made_observes_and_ends(running: Running, room: ToldRoom) -> None:
    request = pb.CreateSessionRequest(model_name="toy", model_version=3, candidates=inputs(phase="1"), expires_after_s=60, seed=5, request_id="a")
    same_answer(await stub(running).CreateSession(request), MADE)
    asked = room.last("create_session")
    same_given(asked.pop("candidates"), phase="1")
    assert asked == {"model_name": "toy", "model_version": 3, "expires_after_s": 60, "seed": 5, "request_id": "a"}
    y = np.array([1.5, -2.0])
    told = pb.ObserveRequest(session_id="s1", inputs=inputs(), y=to_array(y), y_unit="pm", request_id="b", expected_revision=4)
    same_answer(await stub(running).Observe(told), OBSERVED)
    asked = room.last("observe")
    same_given(asked.pop("given"))
    assert asked.pop("y").tolist() == y.tolist()
    assert asked == {"session_id": "s1", "candidate_index": None, "y_unit": "pm", "request_id": "b", "expected_revision": 4}
    await stub(running).Observe(pb.ObserveRequest(session_id="s1", candidate_index=to_array(np.array([3, 1])), y=to_array(y)))
    asked = room.last("observe")
    assert (asked["given"], asked["candidate_index"].tolist()) == (None, [3, 1])
    same_answer(await stub(running).DeleteSession(pb.DeleteSessionRequest(session_id="s1")), DELETED)
    assert room.last("delete_session") == {"session_id": "s1"}


CALLS = {
    "Predict": pb.PredictRequest(model_name="toy", inputs=inputs()),
    "Suggest": pb.SuggestRequest(session_id="s1", strategy="total_sd"),
    "CreateSession": pb.CreateSessionRequest(model_name="toy"),
    "Observe": pb.ObserveRequest(session_id="s1", candidate_index=to_array(PHASE), y=to_array(FIELD[0])),
    "DeleteSession": pb.DeleteSessionRequest(session_id="s1"),
}


async def refused(running: Running, method: str, request: Any, **options: Any) -> DichroicError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(stub(running), method)(request, **options)
    found = from_rpc_error(error.value)
    assert error.value.code().name == found.status
    return found


@pytest.mark.parametrize("method", CALLS)
async def test_every_error_of_the_room_reaches_the_caller_as_it_is(running: Running, room: ToldRoom, method: str) -> None:
    for room.error in ERRORS:
        found = await refused(running, method, CALLS[method])
        assert type(found) is type(room.error)
        assert (found.message, found.field, found.row) == (room.error.message, room.error.field, room.error.row)
        assert found.retry_delay_s == pytest.approx(room.error.retry_delay_s)
        assert room.error.metadata.items() <= found.metadata.items()
    room.error = None
    await getattr(stub(running), method)(CALLS[method])


def test_no_reason_of_mechanisms_and_sessions_was_forgotten() -> None:
    wanted = {reason for reason in BY_REASON if "MECHANISM" in reason or "SESSION" in reason or "UNIT" in reason or "CATEGORY" in reason}
    assert wanted <= {error.reason for error in ERRORS}


def spoiled(**change: Any) -> list[pb.MechanismInput]:
    given = inputs()
    for name, value in change.items():
        if isinstance(value, array_pb2.Array):
            given[1].values.CopyFrom(value)
        else:
            setattr(given[1], name, value)
    return given


NAMELESS, TWICE = spoiled(name=""), spoiled(name="patch")
NO_ARRAY, NO_DTYPE = spoiled(values=array_pb2.Array()), spoiled(values=array_pb2.Array(shape=[2, 2], data=b"0" * 32))
SHORT = spoiled(values=array_pb2.Array(dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[2, 2], data=b"0" * 31))
BAD = {
    "no name": ("Predict", pb.PredictRequest(inputs=NAMELESS), "INVALID_FIELD", "name"),
    "twice": ("Predict", pb.PredictRequest(inputs=TWICE), "INVALID_FIELD", "patch"),
    "no array": ("Predict", pb.PredictRequest(inputs=NO_ARRAY), "INVALID_TENSOR", "field"),
    "no dtype": ("Observe", pb.ObserveRequest(inputs=NO_DTYPE, y=to_array(FIELD[0])), "INVALID_TENSOR", "field"),
    "too few bytes": ("Suggest", pb.SuggestRequest(candidates=SHORT), "INVALID_TENSOR", "candidates.field"),
    "a candidate twice": ("CreateSession", pb.CreateSessionRequest(candidates=TWICE), "INVALID_FIELD", "candidates.patch"),
    "no y": ("Observe", pb.ObserveRequest(session_id="s1", inputs=inputs()), "INVALID_TENSOR", "y"),
    "a bad incumbent": ("Suggest", pb.SuggestRequest(incumbent=array_pb2.Array(shape=[1], data=b"0")), "INVALID_TENSOR", "incumbent"),
    "a bad index": ("Observe", pb.ObserveRequest(candidate_index=array_pb2.Array(dtype=99, shape=[1])), "INVALID_TENSOR", "candidate_index"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", BAD)
async def test_a_request_that_cannot_be_read_is_named_and_the_room_not_asked(running: Running, room: ToldRoom, case: str) -> None:
    method, request, reason, field = BAD[case]
    found = await refused(running, method, request)
    assert (found.reason, found.field) == (reason, field)
    assert room.asked == []


async def test_a_deadline_goes_to_the_room_and_none_is_the_servers(running: Running, room: ToldRoom) -> None:

    for timeout_s, least, most in ((5.0, 3.0, 5.5), (None, 55.0, 60.5)):
        await stub(running).DeleteSession(pb.DeleteSessionRequest(session_id="s1"), timeout=timeout_s)
        assert least < room.asked[-1][1]["deadline"] - asyncio.get_running_loop().time() < most


async def test_an_unforeseen_error_leaves_an_id_and_nothing_of_the_trace(running: Running, room: ToldRoom) -> None:
    room.error = ZeroDivisionError("secret detail")  # type: ignore[assignment]
    found = await refused(running, "Observe", CALLS["Observe"])
    assert (found.reason, len(found.metadata["error_id"])) == ("INTERNAL", 16)
    assert "secret" not in found.message


async def test_the_service_is_healthy_refuses_when_full_and_stops_with_the_others(running: Running, room: ToldRoom) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    service = "dichroic.v1.MechanismService"
    assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == health_pb2.HealthCheckResponse.SERVING
    running.server.budget.is_full = True
    assert (await refused(running, "Observe", CALLS["Observe"])).reason == "QUEUE_FULL"
    running.server.budget.is_full = False
    running.server.begin_draining()
    assert (await refused(running, "Observe", CALLS["Observe"])).reason == "SERVER_STOPPING"
    assert room.asked == []


async def test_calls_in_a_session_are_counted_for_the_model_that_answers(running: Running, room: ToldRoom) -> None:
    def counted(status: str, model: str) -> float:
        labels = {"protocol": "grpc", "method": "DeleteSession", "model": model, "status": status}
        return REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0.0

    before = counted("OK", "toy"), counted("NOT_FOUND", "")
    await stub(running).DeleteSession(CALLS["DeleteSession"])
    room.error = UnknownSessionError("gone")
    await refused(running, "DeleteSession", CALLS["DeleteSession"])
    assert (counted("OK", "toy"), counted("NOT_FOUND", "")) == (before[0] + 1, before[1] + 1)
