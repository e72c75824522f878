"""gRPC, JSON and the client agree, to the bit, on a model and on sessions of the real room; and each says the same of what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dichroic import AsyncClient
from dichroic.errors import DichroicError, SessionConflictError
from dichroic.status import from_rpc_error
from dichroic.v1 import mechanism_pb2 as pb
from dichroic.v1 import mechanism_pb2_grpc
from dichroic.wire import to_array
from services.mechanism import Given
from services.transport.errors import http_status
from tests.services.conftest import Running
from tests.services.mechanism.world import Lab, World, places, soon
from tests.services.transport.served_lab import served_lab
from tests.services.transport.test_http_mechanism import packed, unpacked
from tests.toy_bundle import NDArray

DIVIDE, SUITS = World(), World(patch="category")
PLACES = DIVIDE.given(places(9, 5)).values
UNITS = {"position": "um", "age": "h"}


@dataclass(frozen=True)
class Asked:
    """A server over a laboratory's models, and the client."""

    running: Running
    lab: Lab
    client: AsyncClient

    async def json(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.running.http.post(f"/v1/{path}", json=body | {"arrays": "base64"})
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def problem(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        answer = await self.running.http.post(f"/v1/{path}", json=body)
        return answer.status_code, answer.json().get("error", {})


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    async with (
        served_lab(tmp_path, divide=DIVIDE, suits=SUITS) as (running, lab),
        AsyncClient(f"127.0.0.1:{running.grpc.port}", retry_for_s=0) as client,
    ):
        yield Asked(running, lab, client)


def as_json(inputs: dict[str, NDArray]) -> dict[str, Any]:
    return {name: packed(values) for name, values in inputs.items()}


def same(answer: Any, found: dict[str, Any], *, but: tuple[str, ...] = ()) -> None:
    """Every attribute of the client's answer is the JSON's, arrays to the bit."""
    assert {field.name for field in fields(answer)} == found.keys()
    for name in found.keys() - set(but):
        value = getattr(answer, name)
        if isinstance(value, np.ndarray):
            assert (value.dtype, value.shape) == (unpacked(found[name]).dtype, unpacked(found[name]).shape)
            assert value.tobytes() == unpacked(found[name]).tobytes(), name
        elif name == "model":
            assert asdict(value) == found[name]
        else:
            assert (list(value) if isinstance(value, tuple) else value) == found[name]


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16"])
async def test_a_model_predicts_the_same_to_everybody(asked: Asked, dtype: str) -> None:
    patch = PLACES["patch"] if dtype == "float32" else (np.abs(PLACES["patch"]) * 50).astype(dtype)
    inputs = PLACES | {"patch": patch}
    answer = await asked.client.predict("divide", inputs, units=UNITS, include_noise=True, include_covariance=True, frame_id="f")
    body = {"inputs": as_json(inputs), "units": UNITS, "include_noise": True, "include_covariance": True, "frame_id": "f"}
    same(answer, await asked.json("models/divide/predict", body))
    room = await asked.lab.room.predict("divide", 0, Given(inputs), soon(), include_noise=True, include_covariance=True)
    for name in ("part_mean", "part_covariance", "factor", "total_mean", "total_variance", "quantiles", "outside"):
        np.testing.assert_array_equal(getattr(answer, name), getattr(room, name))


async def test_plain_lists_and_plain_numbers_say_the_same_as_arrays(asked: Asked) -> None:
    exact = {"patch": np.float32([[[0.5, -1]], [[0.25, 2]]]), "position": np.array([[1.0, 2], [0, -1]]), "age": np.array([[0.5], [1]])}
    answer = await asked.client.predict("divide", exact)
    lists = {name: values.tolist() for name, values in exact.items()}
    same(answer, await asked.json("models/divide/predict", {"inputs": lists}))
    handed = await asked.client.predict("divide", patch=exact["patch"].astype(float), position=[[1, 2], [0, -1]], age=[0.5, 1])
    np.testing.assert_array_equal(handed.total_mean, answer.total_mean)
    made = await asked.client.create_session("divide")
    same(
        await asked.client.predict("divide", exact, session_id=made.session_id),
        await asked.json(f"sessions/{made.session_id}/predict", {"inputs": lists}),
    )


async def test_a_category_is_its_name_or_its_index(asked: Asked) -> None:
    rest = {"position": np.zeros((3, 2)), "age": 0.0}
    by_name = await asked.client.predict("suits", rest, patch=["clubs", "hearts", "spades"])
    found = await asked.json("models/suits/predict", {"inputs": {"patch": [2, 0, 1], "position": [[0, 0]] * 3, "age": [[0]] * 3}})
    same(by_name, found)


async def test_two_sessions_of_one_seed_live_the_same_life_over_grpc_and_json(asked: Asked) -> None:
    spoken = await asked.client.create_session("divide", PLACES, seed=3)
    listed = await asked.json("models/divide/sessions", {"candidates": as_json(PLACES), "seed": 3})
    same(spoken, listed, but=("session_id",))
    there = f"sessions/{listed['session_id']}"
    for turn, strategy in enumerate(("total_sd", "part_sd", "mean_variance", "ucb", "ei", "thompson")):
        part = "position" if strategy == "part_sd" else ""
        pick = await asked.client.suggest(session_id=spoken.session_id, strategy=strategy, part=part, count=2, goal="minimise")
        same(pick, await asked.json(f"{there}/suggest", {"strategy": strategy, "part": part, "count": 2, "goal": "minimise"}), but=("session_id",))
        y = [0.5 * turn, -1.0]
        seen = await asked.client.observe(spoken.session_id, y, candidate_index=pick.candidate_index, y_unit="pm/V", expected_revision=turn + 1)
        body = {"candidate_index": pick.candidate_index.tolist(), "y": y, "y_unit": "pm/V", "expected_revision": turn + 1}
        same(seen, await asked.json(f"{there}/observe", body), but=("session_id",))
        answer = await asked.client.predict("divide", PLACES, session_id=spoken.session_id)
        assert answer.revision == turn + 2
        same(answer, await asked.json(f"{there}/predict", {"inputs": as_json(PLACES)}), but=("session_id",))
    deleted = await asked.client.delete_session(spoken.session_id)
    same(deleted, (await asked.running.http.delete(f"/v1/{there}")).json(), but=("session_id",))


async def test_a_session_of_one_protocol_is_the_others_too(asked: Asked) -> None:
    async with asked.client.session("divide", PLACES) as session:
        await asked.json(f"sessions/{session.session_id}/observe", {"candidate_index": [4], "y": [2.0], "request_id": "a"})
        assert (await session.predict(PLACES)).revision == 2
        again = await session.observe(2.0, candidate_index=4, request_id="a")
        assert (again.repeated, again.revision) == (True, 2), "the repeat of a request over the other protocol"
        await session.observe(1.0, {name: values[:1] for name, values in PLACES.items()})
    status, problem = await asked.problem(f"sessions/{session.session_id}/suggest", {"strategy": "total_sd"})
    assert (status, problem["reason"]) == (404, "SESSION_UNKNOWN")


async def test_of_clients_that_observe_at_once_at_one_revision_one_is_heard_and_the_others_are_told(asked: Asked) -> None:
    made = await asked.client.create_session("divide", PLACES)
    observe = asked.client.observe
    calls = [observe(made.session_id, float(turn), candidate_index=turn, expected_revision=1) for turn in range(8)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Observation", *["SessionConflictError"] * 7]
    conflict = next(outcome for outcome in outcomes if isinstance(outcome, SessionConflictError))
    assert (conflict.metadata["expected_revision"], conflict.metadata["revision"]) == ("1", "2")
    answer = await asked.client.predict("divide", PLACES, session_id=made.session_id)
    assert answer.revision == 2
    # Without expected_revision all are heard, one after the other.
    await asyncio.gather(*[observe(made.session_id, float(turn), candidate_index=turn) for turn in range(8)])
    assert (await asked.client.predict("divide", PLACES, session_id=made.session_id)).revision == 10


def without(name: str) -> dict[str, NDArray]:
    return {key: values for key, values in PLACES.items() if key != name}


def changed(name: str, at: Any, value: float) -> dict[str, NDArray]:
    copy = PLACES[name].copy()
    copy[at] = value
    return PLACES | {name: copy}


TWO_COLUMNS = PLACES | {"age": np.zeros((9, 2))}
SUIT = {"patch": np.array([0, 7]), "position": np.zeros((2, 2)), "age": np.zeros((2, 1))}
# model, what is sent, units, reason, field, row
BAD: dict[str, tuple[str, dict[str, NDArray], dict[str, str], str, str, int | None]] = {
    "a mechanism is missing": ("divide", without("age"), {}, "MISSING_MECHANISM", "age", None),
    "one more": ("divide", PLACES | {"stress": np.zeros((9, 1))}, {}, "UNKNOWN_MECHANISM", "stress", None),
    "another unit": ("divide", PLACES, {"position": "nm"}, "UNIT_MISMATCH", "position", None),
    "another number of rows": ("divide", PLACES | {"age": np.zeros((3, 1))}, {}, "INVALID_TENSOR", "age", None),
    "another number of columns": ("divide", TWO_COLUMNS, {}, "INVALID_TENSOR", "age", None),
    "NaN": ("divide", changed("position", (2, 0), np.nan), {}, "INVALID_TENSOR", "position", 2),
    "infinity in an image": ("divide", changed("patch", (5, 0, 0), np.inf), {}, "INVALID_TENSOR", "patch", 5),
    "no rows": ("divide", {name: values[:0] for name, values in PLACES.items()}, {}, "INVALID_TENSOR", "patch", None),
    "a category never seen": ("suits", SUIT, {}, "UNKNOWN_CATEGORY", "patch", 1),
    "no such model": ("divided", PLACES, {}, "UNKNOWN_MODEL", "model_name", None),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_named_alike_and_the_service_keeps_answering(asked: Asked, case: str) -> None:

    model, inputs, units, reason, field, row = BAD[case]
    sent = [pb.MechanismInput(name=name, values=to_array(values), unit=units.get(name, "")) for name, values in inputs.items()]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await mechanism_pb2_grpc.MechanismServiceStub(asked.running.channel).Predict(pb.PredictRequest(model_name=model, inputs=sent))
    found = from_rpc_error(error.value)
    status, problem = await asked.problem(f"models/{model}/predict", {"inputs": as_json(inputs), "units": units})
    assert (found.reason, found.row) == (problem["reason"], problem["row"]) == (reason, row)
    assert (found.message, found.field, status) == (problem["message"], problem["field"], http_status(found))
    assert found.field in (field, "")
    with pytest.raises(DichroicError) as raised:
        await asked.client.predict(model, inputs, units=units)
    assert (raised.value.reason, raised.value.row) == (reason, row)
    await asked.client.predict("divide", PLACES)


# What is asked in a session, by either protocol, and the reason.
IN_SESSION: dict[str, tuple[str, dict[str, Any], str]] = {
    "another revision": ("observe", {"candidate_index": [0], "y": [1], "expected_revision": 7}, "SESSION_CONFLICT"),
    "the unit of y": ("observe", {"candidate_index": [0], "y": [1], "y_unit": "V"}, "UNIT_MISMATCH"),
    "an index too high": ("observe", {"candidate_index": [9], "y": [1]}, "INVALID_TENSOR"),
    "too many picks": ("suggest", {"strategy": "ei", "count": 10}, "INVALID_FIELD"),
    "an unknown part": ("suggest", {"strategy": "part_sd", "part": "luck"}, "INVALID_FIELD"),
}


@pytest.mark.parametrize("case", IN_SESSION)
async def test_what_a_session_refuses_is_named_alike_and_changes_nothing(asked: Asked, case: str) -> None:
    method, options, reason = IN_SESSION[case]
    made = await asked.client.create_session("divide", PLACES)
    with pytest.raises(DichroicError) as raised:
        await getattr(asked.client, method)(session_id=made.session_id, **options)
    status, problem = await asked.problem(f"sessions/{made.session_id}/{method}", options)
    assert (raised.value.reason, raised.value.message, raised.value.field) == (problem["reason"], problem["message"], problem["field"])
    assert (problem["reason"], status) == (reason, http_status(raised.value))
    assert (await asked.client.predict("divide", PLACES, session_id=made.session_id)).revision == 1


async def test_an_expired_session_and_one_never_made_are_told_apart(asked: Asked) -> None:
    made = await asked.client.create_session("divide", expires_after_s=5)
    asked.lab.clock.now += 6
    for session_id, reason in ((made.session_id, "SESSION_EXPIRED"), ("nobody", "SESSION_UNKNOWN")):
        with pytest.raises(DichroicError) as raised:
            await asked.client.predict("divide", PLACES, session_id=session_id)
        status, problem = await asked.problem(f"sessions/{session_id}/predict", {"inputs": as_json(PLACES)})
        assert (raised.value.reason, problem["reason"], status) == (reason, reason, 404)


async def test_getmodel_tells_a_client_all_it_needs_of_mechanisms(asked: Asked) -> None:
    info = await asked.client.model("divide")
    listed = (await asked.running.http.get("/v1/models/divide")).json()
    assert (info.kind, listed["kind"]) == ("mechanism", "mechanism")
    for section in (info.manifest["mechanism"], listed["manifest"]["mechanism"]):
        assert [(each["name"], each["kind"], each["unit"]) for each in section["mechanisms"]] == [
            ("patch", "image", "nm"),
            ("position", "coordinates", "um"),
            ("age", "parameters", "h"),
        ]
        assert section["mechanisms"][1]["columns"] == ["x", "y"]
        assert (section["mechanisms"][1]["trained_low"], section["mechanisms"][1]["trained_high"]) == ([-3, -3], [3, 3])
        assert section["quantity"] == {"name": "response", "unit": "pm/V", "meaning": "piezoresponse", "sd": 1.0}
        assert section["parts"][0]["name"] == "constant"
        assert section["noise"]["variance"] == pytest.approx(0.04)
    takes = next(signature for signature in info.signatures if signature.name == "predict.uint8").inputs
    assert [(spec.name, spec.dtype, spec.shape) for spec in takes] == [
        ("patch", "uint8", (-1, 1, 2)),
        ("position", "float64", (-1, 2)),
        ("age", "float64", (-1, 1)),
    ]
    assert (await asked.client.model("suits")).manifest["mechanism"]["mechanisms"][0]["categories"] == ["hearts", "spades", "clubs"]
