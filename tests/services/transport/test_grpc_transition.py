"""TransitionService over gRPC: what is sent reaches the room as it is, what it answers reaches the caller whole, and every error is named."""

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
    BeamOutOfRangeError,
    BondLengthError,
    DeadlineExceededError,
    DichroicError,
    EdgeSiteError,
    ForbiddenSiteError,
    GoalOffLatticeError,
    GoalUnreachableError,
    InvalidTensorError,
    ModelNotReadyError,
    NoDopantError,
    NotThreeFoldError,
    QueueFullError,
    SeveralDopantsError,
    UnknownModelError,
    UnsupportedCapabilityError,
)
from dichroic.status import from_rpc_error
from dichroic.v1 import array_pb2, transition_pb2_grpc
from dichroic.v1 import transition_pb2 as pb
from dichroic.wire import to_array
from services.transition.scenes import Options
from tests.services.conftest import Running
from tests.services.transport.test_grpc_mechanism import same_answer
from tests.services.transport.told_transition import PLANNED, PREDICTED, ToldTransitions, same_arrays

STATES: dict[str, Any] = {
    "beam_xy_angstrom": np.array([[0.5, -1.0], [0.25, 1 / 3]]),
    "neighbours_xy_angstrom": np.arange(12.0).reshape(2, 3, 2) / 7,
    "dwell_s": np.array([1.5, 2.0]),
    "current_na": np.array([0.02]),
    "voltage_kv": np.array([60.0, 80.0]),
    "atoms_xy_angstrom": np.arange(8.0).reshape(4, 2) / 3,
    "atomic_numbers": np.array([6, 14, 6, 6]),
    "dopant_index": np.array([1]),
}
SCENE: dict[str, Any] = {
    "atoms_xy_angstrom": STATES["atoms_xy_angstrom"],
    "atomic_numbers": STATES["atomic_numbers"],
    "goals_xy_angstrom": np.array([[1.5, -2.0]]),
    "forbidden_index": np.array([3, 0]),
    "dopant_index": np.array([1]),
}
OPTIONS = {"current_na": 0.02, "voltage_kv": 60.0, "image_s": 1.5, "deadline_s": 300.0, "risk_aversion": 0.5}
NEEDED = {"predict": ("beam_xy_angstrom", "dwell_s"), "plan": ("atoms_xy_angstrom", "atomic_numbers", "goals_xy_angstrom")}

ERRORS: list[DichroicError] = [
    NoDopantError("none", field="atomic_numbers"),
    SeveralDopantsError("two", field="dopant_index", metadata={"dopants": "3,7"}),
    EdgeSiteError("at an edge", field="atoms_xy_angstrom"),
    NotThreeFoldError("four"),
    BondLengthError("bond lengths", field="neighbours_xy_angstrom", row=2, metadata={"distance": "1", "expected": "1.1 to 2"}),
    BeamOutOfRangeError("far", field="beam_xy_angstrom", row=1, metadata={"distance": "1e+13", "most": "20"}),
    GoalOffLatticeError("off", field="goals_xy_angstrom", row=0),
    GoalUnreachableError("no way", field="goals_xy_angstrom"),
    ForbiddenSiteError("not there", field="goals_xy_angstrom", metadata={"cause": "defect"}),
    InvalidTensorError("NaN", field="beam_xy_angstrom", row=1),
    UnknownModelError("no model", metadata={"model_name": "x"}),
    UnsupportedCapabilityError("latent"),
    ModelNotReadyError("loading", retry_delay_s=1.0),
    QueueFullError("full", retry_delay_s=0.5),
    DeadlineExceededError("late"),
]


def stub(running: Running) -> transition_pb2_grpc.TransitionServiceAsyncStub:
    return transition_pb2_grpc.TransitionServiceStub(running.channel)


def wire(arrays: dict[str, Any]) -> dict[str, array_pb2.Array]:
    return {name: to_array(values) for name, values in arrays.items()}


async def test_predict_transitions_carries_everything_there_and_back(running: Running, transitions: ToldTransitions) -> None:
    request = pb.PredictTransitionsRequest(model_name="toy", model_version=3, frame_id="f", acquisition_time_unix_ns=7, **wire(STATES))
    response = await stub(running).PredictTransitions(request)
    same_answer(response, PREDICTED)
    assert (response.frame_id, response.acquisition_time_unix_ns) == ("f", 7)
    asked = transitions.last("predict_transitions")
    same_arrays(asked.pop("given"), STATES)
    assert asked == {"model_name": "toy", "model_version": 3}


async def test_plan_carries_everything_there_and_back(running: Running, transitions: ToldTransitions) -> None:
    request = pb.PlanRequest(model_name="toy", model_version=3, frame_id="f", acquisition_time_unix_ns=7, **wire(SCENE), **OPTIONS)
    response = await stub(running).Plan(request)
    same_answer(response, PLANNED)
    assert (response.frame_id, response.acquisition_time_unix_ns) == ("f", 7)
    asked = transitions.last("plan")
    same_arrays(asked.pop("scene"), SCENE)
    assert asked == {"model_name": "toy", "model_version": 3, "options": Options(**OPTIONS)}


async def test_what_is_not_sent_is_none_and_numbers_are_0(running: Running, transitions: ToldTransitions) -> None:
    least = {name: STATES[name] for name in NEEDED["predict"]}
    # An array that was touched and left empty is as good as none.
    await stub(running).PredictTransitions(pb.PredictTransitionsRequest(**wire(least), dopant_index=array_pb2.Array()))
    same_arrays(transitions.last("predict_transitions")["given"], least)
    least = {name: SCENE[name] for name in NEEDED["plan"]}
    await stub(running).Plan(pb.PlanRequest(**wire(least)))
    same_arrays(transitions.last("plan")["scene"], least)
    assert transitions.last("plan")["options"] == Options()


CALLS: dict[str, Any] = {
    "PredictTransitions": pb.PredictTransitionsRequest(model_name="toy", **wire(STATES)),
    "Plan": pb.PlanRequest(model_name="toy", **wire(SCENE)),
}


async def refused(running: Running, method: str, request: Any, **options: Any) -> DichroicError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(stub(running), method)(request, **options)
    found = from_rpc_error(error.value)
    assert error.value.code().name == found.status
    return found


@pytest.mark.parametrize("method", CALLS)
async def test_every_error_of_the_room_reaches_the_caller_as_it_is(running: Running, transitions: ToldTransitions, method: str) -> None:
    for error in ERRORS:
        transitions.error = error
        found = await refused(running, method, CALLS[method])
        assert type(found) is type(error)
        assert (found.message, found.field, found.row) == (error.message, error.field, error.row)
        assert found.retry_delay_s == pytest.approx(error.retry_delay_s)
        assert error.metadata.items() <= found.metadata.items()
    transitions.error = None
    await getattr(stub(running), method)(CALLS[method])


def test_no_reason_of_transitions_was_forgotten() -> None:
    words = ("DOPANT", "EDGE", "FOLD", "BOND", "BEAM", "GOAL", "FORBIDDEN_SITE")
    wanted = {reason for reason in BY_REASON if any(word in reason for word in words)}
    assert len(wanted) == 9
    assert wanted <= {error.reason for error in ERRORS}


SPOILED = {
    "no dtype": array_pb2.Array(shape=[2, 2], data=b"0" * 32),
    "too few bytes": array_pb2.Array(dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[2, 2], data=b"0" * 31),
    "a negative length": array_pb2.Array(dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[-2, 2], data=b"0" * 32),
    "more than memory has": array_pb2.Array(dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[1 << 62, 1 << 62], data=b""),
    "a dtype of tomorrow": array_pb2.Array(dtype=99, shape=[1], data=b"0"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", SPOILED)
async def test_an_array_that_cannot_be_read_is_named_and_the_room_not_asked(running: Running, transitions: ToldTransitions, case: str) -> None:
    for method, kind, arrays in (("PredictTransitions", pb.PredictTransitionsRequest, STATES), ("Plan", pb.PlanRequest, SCENE)):
        for name in arrays:
            found = await refused(running, method, kind(**wire(arrays) | {name: SPOILED[case]}))
            assert (found.reason, found.field) == ("INVALID_TENSOR", name)
    assert transitions.asked == []


async def test_what_is_required_and_missing_is_named(running: Running, transitions: ToldTransitions) -> None:
    for name in NEEDED["predict"]:
        rest = {key: values for key, values in STATES.items() if key != name}
        found = await refused(running, "PredictTransitions", pb.PredictTransitionsRequest(**wire(rest)))
        assert (found.reason, found.field) == ("INVALID_TENSOR", name)
    for name in NEEDED["plan"]:
        found = await refused(running, "Plan", pb.PlanRequest(**wire({key: values for key, values in SCENE.items() if key != name})))
        assert (found.reason, found.field) == ("INVALID_TENSOR", name)
    assert transitions.asked == []


@pytest.mark.parametrize("method", CALLS)
async def test_a_deadline_goes_to_the_room_and_none_is_the_servers(running: Running, transitions: ToldTransitions, method: str) -> None:
    for timeout_s, least, most in ((5.0, 3.0, 5.5), (None, 55.0, 60.5)):
        await getattr(stub(running), method)(CALLS[method], timeout=timeout_s)
        assert least < transitions.asked[-1][1]["deadline"] - asyncio.get_running_loop().time() < most


async def test_an_unforeseen_error_leaves_an_id_and_nothing_of_the_trace(running: Running, transitions: ToldTransitions) -> None:
    transitions.error = ZeroDivisionError("secret detail")
    found = await refused(running, "Plan", CALLS["Plan"])
    assert (found.reason, len(found.metadata["error_id"])) == ("INTERNAL", 16)
    assert "secret" not in found.message


async def test_the_service_is_healthy_refuses_when_full_and_stops_with_the_others(running: Running, transitions: ToldTransitions) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    service = "dichroic.v1.TransitionService"
    assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == health_pb2.HealthCheckResponse.SERVING
    running.server.budget.is_full = True
    assert (await refused(running, "Plan", CALLS["Plan"])).reason == "QUEUE_FULL"
    running.server.budget.is_full = False
    running.server.begin_draining()
    assert (await refused(running, "Plan", CALLS["Plan"])).reason == "SERVER_STOPPING"
    assert transitions.asked == []


@pytest.mark.parametrize("method", CALLS)
async def test_calls_are_counted_by_method_model_and_status(running: Running, transitions: ToldTransitions, method: str) -> None:
    def counted(status: str, model: str) -> float:
        labels = {"protocol": "grpc", "method": method, "model": model, "status": status}
        return REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0.0

    before = counted("OK", "toy"), counted("FAILED_PRECONDITION", "toy")
    await getattr(stub(running), method)(CALLS[method])
    transitions.error = EdgeSiteError("at an edge")
    await refused(running, method, CALLS[method])
    assert (counted("OK", "toy"), counted("FAILED_PRECONDITION", "toy")) == (before[0] + 1, before[1] + 1)
