"""gRPC, JSON, the client and the room agree, to the bit, on a real bundle; and each says the same of what goes wrong, whatever is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dichroic import AsyncClient
from dichroic.errors import DichroicError
from dichroic.status import from_rpc_error
from dichroic.v1 import array_pb2, transition_pb2_grpc
from dichroic.v1 import transition_pb2 as pb
from dichroic.wire import from_array, to_array
from services.transition.inputs import Given
from services.transition.scenes import Options, Scene
from services.transport.errors import http_status
from tests.services.conftest import Running, running_on
from tests.services.transition.graphene import nearest
from tests.services.transition.served import soon
from tests.services.transport.test_http_mechanism import packed, unpacked
from tests.toy_bundle import write_toy
from tests.toy_transition import BOND, ToyTransition, image, states, write_toy_transition

ATOMS, NUMBERS = image(noise=0.02)
DOPANT = int(np.argmax(NUMBERS))
SEEN = {"atoms_xy_angstrom": ATOMS, "atomic_numbers": NUMBERS}
GOAL = nearest(ATOMS, np.array([6.0, 3.0]))
SCENE = SEEN | {"goals_xy_angstrom": ATOMS[[GOAL]]}


@dataclass(frozen=True)
class Asked:
    """A server over toys, and the client."""

    running: Running
    client: AsyncClient

    @property
    def stub(self) -> transition_pb2_grpc.TransitionServiceAsyncStub:
        return transition_pb2_grpc.TransitionServiceStub(self.running.channel)

    async def json(self, route: str, body: dict[str, Any], name: str = "dune") -> dict[str, Any]:
        answer = await self.running.http.post(f"/v1/models/{name}/{route}", json=body | {"arrays": "base64"})
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def problem(self, route: str, body: dict[str, Any], name: str = "dune") -> tuple[int, dict[str, Any]]:
        answer = await self.running.http.post(f"/v1/models/{name}/{route}", json=body)
        return answer.status_code, answer.json().get("error", {})


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    write_toy_transition(tmp_path)
    write_toy(tmp_path, name="image")
    async with running_on(tmp_path) as running, AsyncClient(f"127.0.0.1:{running.grpc.port}", retry_for_s=0) as client:
        yield Asked(running, client)


def as_json(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: packed(values) for name, values in arrays.items()}


def wire(arrays: dict[str, Any]) -> dict[str, array_pb2.Array]:
    return {name: to_array(values) for name, values in arrays.items()}


def same(answer: Any, found: dict[str, Any], response: Any, room: Any) -> None:
    """Every attribute of the client's answer is the JSON's, the message's and the room's, arrays to the bit."""
    assert {field.name for field in fields(answer)} == found.keys()
    for name, listed in found.items():
        value = getattr(answer, name)
        if name == "dopant_index" and isinstance(listed, dict):
            assert [value] == unpacked(listed).tolist() == from_array(response.dopant_index, field=name).tolist() == room.dopant_index.tolist()
        elif isinstance(value, np.ndarray):
            for other in (unpacked(listed), from_array(getattr(response, name), field=name), getattr(room, name)):
                assert (value.dtype, value.shape) == (other.dtype, other.shape), name
                assert value.tobytes() == other.tobytes(), name
        elif name == "model":
            assert asdict(value) == listed == asdict(room.model)
        elif name in ("frame_id", "acquisition_time_unix_ns"):
            assert value == listed == getattr(response, name)
        elif value is None:
            assert listed is None
            assert getattr(room, name) is None
        else:
            plain = list(value) if isinstance(value, tuple) else value
            told = getattr(response, name)
            assert plain == listed == (list(told) if isinstance(value, tuple) else told), name
            assert value == getattr(room, name)


@pytest.mark.parametrize("count", [1, 6])
async def test_states_are_told_the_same_to_everybody(asked: Asked, count: int) -> None:
    told = states(count)
    answer = await asked.client.predict_transitions("dune", **told, frame_id="f", acquisition_time_unix_ns=7)
    found = await asked.json("transitions", as_json(told) | {"frame_id": "f", "acquisition_time_unix_ns": 7})
    request = pb.PredictTransitionsRequest(model_name="dune", frame_id="f", acquisition_time_unix_ns=7, **wire(told))
    room = await asked.running.server.transition.predict_transitions("dune", 0, Given(**told), soon())
    same(answer, found, await asked.stub.PredictTransitions(request), room)
    np.testing.assert_allclose(answer.occupancy, ToyTransition().predict(told)["occupancy_mean"], atol=1e-12)


async def test_beams_beside_a_dopant_of_an_image_are_told_the_same_to_everybody(asked: Asked) -> None:
    told = SEEN | {"beam_xy_angstrom": ATOMS[DOPANT] + np.array([[0.5, 0.5], [-1.0, 0.0], [0.0, 2.0]]), "dwell_s": np.array([1.5])}
    answer = await asked.client.predict_transitions("dune", **told)
    room = await asked.running.server.transition.predict_transitions("dune", 0, Given(**told), soon())
    # The client sends one row for each state where one stands for all; the answer is the same.
    same(
        answer,
        await asked.json("transitions", as_json(told)),
        await asked.stub.PredictTransitions(pb.PredictTransitionsRequest(model_name="dune", **wire(told))),
        room,
    )
    assert answer.dopant_index == DOPANT
    lists = {name: values.tolist() for name, values in told.items()}
    listed = await asked.json("transitions", lists)
    np.testing.assert_array_equal(unpacked(listed["occupancy"]), answer.occupancy)


@pytest.mark.parametrize("options", [{}, {"image_s": 1.0, "deadline_s": 90.0, "risk_aversion": 1.0, "current_na": 0.02, "voltage_kv": 60.0}])
async def test_a_plan_is_told_the_same_to_everybody(asked: Asked, options: dict[str, float]) -> None:
    told = SCENE | {"forbidden_index": np.array([nearest(ATOMS, (ATOMS[DOPANT] + ATOMS[GOAL]) / 2)]), "dopant_index": np.array([DOPANT])}
    answer = await asked.client.plan("dune", **told, **options, frame_id="f", acquisition_time_unix_ns=7)
    found = await asked.json("plan", as_json(told) | options | {"frame_id": "f", "acquisition_time_unix_ns": 7})
    request = pb.PlanRequest(model_name="dune", frame_id="f", acquisition_time_unix_ns=7, **wire(told), **options)
    room = await asked.running.server.transition.plan("dune", 0, Scene(**told), Options(**options), soon())
    same(answer, found, await asked.stub.Plan(request), room)
    assert (answer.dopant_index, answer.goal_index, answer.done, answer.path_index[-1]) == (DOPANT, GOAL, False, GOAL)
    listed = await asked.json("plan", {name: values.tolist() for name, values in told.items()} | options)
    assert unpacked(listed["beam_xy_angstrom"]).tolist() == answer.beam_xy_angstrom.tolist()


def spoiled(name: str, at: Any, value: float) -> dict[str, Any]:
    array = states(4)[name].copy()
    array[at] = value
    return states(4) | {name: array}


TWO = np.where(np.arange(len(ATOMS)) == GOAL, 14, NUMBERS)
BAD: dict[str, tuple[str, str, dict[str, Any], str, int | None]] = {
    "NaN": ("transitions", "dune", spoiled("beam_xy_angstrom", (2, 0), np.nan), "INVALID_TENSOR", 2),
    "a dwell of 0": ("transitions", "dune", spoiled("dwell_s", 1, 0.0), "INVALID_TENSOR", 1),
    "a beam kilometres away": ("transitions", "dune", spoiled("beam_xy_angstrom", (3, 1), 1e13), "BEAM_OUT_OF_RANGE", 3),
    "bond lengths": (
        "transitions",
        "dune",
        states(4) | {"neighbours_xy_angstrom": states(4)["neighbours_xy_angstrom"] / BOND},
        "BOND_LENGTH",
        0,
    ),
    "two dopants": (
        "transitions",
        "dune",
        SEEN | {"atomic_numbers": TWO, "beam_xy_angstrom": np.zeros((1, 2)), "dwell_s": np.ones(1)},
        "SEVERAL_DOPANTS",
        None,
    ),
    "a goal off the lattice": ("plan", "dune", SCENE | {"goals_xy_angstrom": np.array([[500.0, 0.0]])}, "GOAL_OFF_LATTICE", 0),
    "no dopant to move": ("plan", "dune", SCENE | {"atomic_numbers": np.full(len(ATOMS), 6)}, "NO_DOPANT", None),
    "an image model": ("plan", "image", SCENE, "UNSUPPORTED_CAPABILITY", None),
    "no such model": ("transitions", "duned", states(4), "UNKNOWN_MODEL", None),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_named_alike_and_the_service_keeps_answering(asked: Asked, case: str) -> None:
    route, model, arrays, reason, row = BAD[case]
    kind = pb.PlanRequest if route == "plan" else pb.PredictTransitionsRequest
    method = asked.stub.Plan if route == "plan" else asked.stub.PredictTransitions
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await method(kind(model_name=model, **wire(arrays)))  # type: ignore[operator]
    found = from_rpc_error(error.value)
    status, problem = await asked.problem(route, as_json(arrays), model)
    assert (found.reason, found.row) == (problem["reason"], problem["row"]) == (reason, row)
    assert (found.message, found.field, found.metadata.items() >= problem["metadata"].items()) == (problem["message"], problem["field"], True)
    assert status == http_status(found)
    ask: Any = asked.client.plan if route == "plan" else asked.client.predict_transitions
    with pytest.raises(DichroicError) as raised:
        await ask(model, **arrays)
    assert (raised.value.reason, raised.value.row) == (reason, row)
    await asked.client.predict_transitions("dune", **states(2))


def drawn(rng: np.random.Generator) -> Any:
    """An array that nobody would send."""
    dtype = rng.choice(["float64", "float32", "int64", "uint8", "bool"])
    shape = tuple(rng.integers(0, 4, rng.integers(1, 5)).tolist())
    values = rng.choice([0.0, 1.0, -1.0, 1.42, 14, 6, 1e300, -1e300, np.nan, np.inf, 1e-300], shape)
    with np.errstate(all="ignore"):
        return np.nan_to_num(values, posinf=9, neginf=-9).astype(dtype) if dtype not in ("float64", "float32") else values.astype(dtype)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_whatever_is_sent_is_answered_or_refused_by_name(asked: Asked) -> None:
    rng = np.random.default_rng(5)
    good: dict[str, dict[str, Any]] = {"transitions": states(3), "plan": SCENE}
    refused = 0
    for _ in range(400):
        route = str(rng.choice(["transitions", "plan"]))
        kind = pb.PlanRequest if route == "plan" else pb.PredictTransitionsRequest
        method: Any = asked.stub.Plan if route == "plan" else asked.stub.PredictTransitions
        names = [each.name for each in kind.DESCRIPTOR.fields if each.message_type is not None]
        arrays = dict(good[route])
        for name in rng.choice(names, rng.integers(1, 4), replace=False):
            if rng.random() < 0.3:
                arrays.pop(str(name), None)
            else:
                arrays[str(name)] = drawn(rng)
        try:
            await method(kind(model_name="dune", **wire(arrays)))
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            assert found.reason not in ("INTERNAL", "UNRECOGNISED"), (route, {name: (values.dtype, values) for name, values in arrays.items()})
            assert found.message
            refused += 1
    assert refused > 300
    await asked.client.predict_transitions("dune", **states(2))


async def test_a_plan_in_preparation_holds_nobody_up(asked: Asked) -> None:
    planning = asyncio.ensure_future(asked.client.plan("dune", **SCENE))
    answered = 0
    while not planning.done():
        await asked.client.predict_transitions("dune", **states(1))
        answered += 1
    assert (await planning).path_index[-1] == GOAL
    assert answered >= 5


async def test_getmodel_tells_a_client_all_it_needs_of_transitions(asked: Asked) -> None:
    info = await asked.client.model("dune")
    listed = (await asked.running.http.get("/v1/models/dune")).json()
    assert (info.kind, listed["kind"]) == ("transition", "transition")
    for section in (info.manifest["transition"], listed["manifest"]["transition"]):
        assert (section["dopant"], section["shells"], section["neighbour_distance_angstrom"]) == (14, 2, {"low": 1.1, "high": 2.0})
        assert section["current_na"] == {"low": 0.02, "high": 0.02}


async def test_a_server_that_has_stopped_leaves_no_thread_of_a_plan(tmp_path: Path) -> None:
    write_toy_transition(tmp_path)
    async with running_on(tmp_path) as running:
        await running.server.transition.plan("dune", 0, Scene(**SCENE), Options(), soon())
        ours = [each for each in threading.enumerate() if each.name.startswith(("transition", "tables"))]
        assert len(ours) >= 2
    for thread in ours:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in ours)
