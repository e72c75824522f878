"""Sessions of both clients: what each call carries along, and that nothing is observed twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from dichroic import AsyncClient, Client
from dichroic.client.retry import RetryPolicy
from dichroic.errors import (
    DeadlineExceededError,
    DichroicError,
    InvalidFieldError,
    InvalidTensorError,
    ServerUnreachableError,
    SessionConflictError,
    UnknownSessionError,
)
from dichroic.wire import from_array
from tests.dichroic.client.test_client_mechanism import GIVEN, MODEL
from tests.dichroic.fake_server import FakeServer

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
POINT = {"patch": np.zeros((1, 4, 4), np.uint8), "field": [0, 0], "dwell": 1, "phase": "up"}


def test_a_session_is_made_observes_and_ends(client: Any, server: FakeServer) -> None:
    made = client.create_session("hysteresis", GIVEN, units={"dwell": "s"}, expires_after_s=60, seed=4, version=2)
    assert (made.model, made.session_id, made.revision) == (MODEL, "session-1", 1)
    assert (made.points, made.candidates, made.memory_bytes, made.expires_time_s) == (20, 3, 4096, 1.75e9)
    request = server.asked("CreateSession")[0]
    assert (request.model_name, request.model_version, request.expires_after_s, request.seed) == ("hysteresis", 2, 60, 4)
    seen = client.observe(made.session_id, [3.5, 12.0], candidate_index=[2, 0], y_unit="pm", expected_revision=1)
    assert (seen.model, seen.session_id, seen.revision, seen.points, seen.repeated) == (MODEL, "session-1", 2, 22, False)
    assert (seen.weight.tolist(), seen.duplicate.tolist()) == ([1.0, 0.25], [False, False])
    request = server.asked("Observe")[0]
    assert (request.y_unit, request.expected_revision, list(request.inputs)) == ("pm", 1, [])
    assert from_array(request.candidate_index, field="").tolist() == [2, 0]
    assert client.predict("hysteresis", POINT, session_id="session-1").revision == 2
    assert client.suggest(session_id="session-1", strategy="total_sd").session_id == "session-1"
    deleted = client.delete_session("session-1")
    assert (deleted.model, deleted.session_id, deleted.revision) == (MODEL, "session-1", 2)
    with pytest.raises(UnknownSessionError):
        client.delete_session("session-1")


def test_where_it_was_measured_becomes_what_the_sessions_model_takes(connect: Callable[..., Any], server: FakeServer) -> None:
    maker = connect(server.address)
    made = maker.create_session("hysteresis")
    maker.observe(made.session_id, 1.0, POINT)
    other = connect(server.address)
    other.observe(made.session_id, 2.0, **POINT, model_name="hysteresis")
    for request in server.asked("Observe"):
        assert {each.name: from_array(each.values, field="").dtype.name for each in request.inputs} == {
            "patch": "uint8",
            "field": "float64",
            "dwell": "float64",
            "phase": "int64",
        }


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "neither": ({}, InvalidFieldError, "inputs"),
    "both": ({"inputs": {"grain": [1.0]}, "candidate_index": 0}, InvalidFieldError, "inputs"),
    "NaN": ({"y": [1.0, float("nan")], "candidate_index": [0, 1]}, InvalidTensorError, "y"),
    "text": ({"y": "high", "candidate_index": 0}, InvalidTensorError, "y"),
    "two axes": ({"y": [[1.0]], "candidate_index": 0}, InvalidTensorError, "y"),
    "fewer values": ({"candidate_index": [0, 1]}, InvalidTensorError, "y"),
    "no values": ({"y": [], "candidate_index": []}, InvalidTensorError, "y"),
    "below 0": ({"candidate_index": -1}, InvalidTensorError, "candidate_index"),
    "a fraction": ({"candidate_index": 0.5}, InvalidTensorError, "candidate_index"),
    "a revision below 0": ({"candidate_index": 0, "expected_revision": -1}, InvalidFieldError, "expected_revision"),
    "no session": ({"candidate_index": 0, "session_id": ""}, InvalidFieldError, "session_id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_measurement_that_is_none_is_refused_before_it_is_sent(client: Any, server: FakeServer, case: str) -> None:
    change, kind, field = WRONG[case]
    with pytest.raises(kind) as caught:
        client.observe(**{"session_id": "session-1", "y": 1.0} | change)
    assert caught.value.field == field  # type: ignore[attr-defined]
    assert server.asked("Observe") == []


@pytest.mark.parametrize("wrong", [{"seed": 2**63}, {"seed": -1}, {"expires_after_s": -1.0}, {"expires_after_s": float("inf")}, {"model_name": ""}])
def test_a_session_that_cannot_be_asked_for_is_refused(client: Any, server: FakeServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        client.create_session(**{"model_name": "hysteresis"} | wrong)
    assert caught.value.field == next(iter(wrong))
    assert server.asked("CreateSession") == []


def test_an_observation_whose_answer_is_lost_is_sent_again_under_the_same_name_and_counts_once(client: Any, server: FakeServer) -> None:
    made = client.create_session("hysteresis")
    server.failures["Observe"] = [UNAVAILABLE, UNAVAILABLE]
    seen = client.observe(made.session_id, 3.0, POINT, expected_revision=1)
    first, *others = server.asked("Observe")
    assert first.request_id
    assert [request.request_id for request in others] == [first.request_id] * 2
    assert (server.mechanism.observed, seen.revision, seen.repeated) == ([3.0], 2, True)


def test_a_session_whose_answer_is_lost_is_made_once(client: Any, server: FakeServer) -> None:
    server.failures["CreateSession"] = [UNAVAILABLE]
    client.create_session("hysteresis")
    assert list(server.mechanism.revisions) == ["session-1"]


def test_two_observations_have_two_names_unless_the_caller_says_one(client: Any, server: FakeServer) -> None:
    made = client.create_session("hysteresis")
    for _ in range(2):
        client.observe(made.session_id, 3.0, POINT)
        client.observe(made.session_id, 3.0, POINT, request_id="mine")
    names = [request.request_id for request in server.asked("Observe")]
    assert names[1] == names[3] == "mine"
    assert len(set(names)) == 3
    assert server.mechanism.observed == [3.0] * 3


def run(address: str, experiment: Callable[[Any], Any], awaited: bool, **settings: Any) -> Any:
    """Runs what is awaited in a session with either client."""

    async def with_awaited() -> Any:
        async with AsyncClient(address) as client:
            client._policy = RetryPolicy(0.0)
            async with client.session("hysteresis", **settings) as session:
                return await experiment(session)

    async def with_blocking() -> Any:
        with Client(address) as client:
            client._policy = RetryPolicy(0.0)
            with client.session("hysteresis", **settings) as session:
                return await experiment(Awaitable(session))

    return asyncio.run(with_awaited() if awaited else with_blocking())


class Awaitable:
    """A blocking session, to be awaited."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.session, name)

        async def call(*values: Any, **named: Any) -> Any:
            return found(*values, **named)

        return call if callable(found) else found


either = pytest.mark.parametrize("awaited", [False, True], ids=["Session", "AsyncSession"])


@either
def test_a_block_carries_session_and_revision_and_ends_the_session(server: FakeServer, awaited: bool) -> None:
    async def experiment(session: Any) -> None:
        assert session.revision == 1
        for turn in range(3):
            pick = (await session.suggest(strategy="total_sd")).candidate_index
            await session.observe(float(turn), candidate_index=pick)
        assert session.revision == 4
        assert (await session.predict(POINT, include_noise=True)).revision == 4

    run(server.address, experiment, awaited, candidates=GIVEN, seed=3)
    assert [request.expected_revision for request in server.asked("Observe")] == [1, 2, 3]
    assert len({request.request_id for request in server.asked("Observe")}) == 3
    assert {(request.session_id, request.model_name) for request in server.asked("Suggest")} == {("session-1", "")}
    assert server.asked("CreateSession")[0].seed == 3
    assert server.mechanism.revisions == {}, "the block ended it"


@either
def test_after_an_error_the_session_stays_and_can_be_taken_up_again(server: FakeServer, awaited: bool) -> None:
    async def breaks(session: Any) -> None:
        await session.observe(1.0, POINT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(server.address, breaks, awaited)
    assert server.mechanism.revisions == {"session-1": 2}

    async def goes_on(session: Any) -> int:
        await session.observe(2.0, POINT)
        await session.observe(3.0, POINT)
        return session.revision  # type: ignore[no-any-return]

    assert run(server.address, goes_on, awaited, session_id="session-1", keep=True) == 4
    assert [request.expected_revision for request in server.asked("Observe")] == [1, 2, 3]
    assert len(server.asked("CreateSession")) == 1
    assert server.mechanism.revisions == {"session-1": 4}, "it was to be kept"


@either
def test_what_another_client_observed_is_a_conflict_until_it_was_seen(server: FakeServer, awaited: bool) -> None:
    async def experiment(session: Any) -> None:
        server.mechanism.revisions["session-1"] = 5
        for _ in range(2):
            with pytest.raises(SessionConflictError):
                await session.observe(1.0, POINT)
        await session.suggest(strategy="total_sd")
        await session.observe(1.0, POINT)
        assert session.revision == 6

    run(server.address, experiment, awaited)
    assert server.mechanism.observed == [1.0]


@either
def test_a_session_that_ended_by_itself_is_no_error_at_the_end_of_its_block(server: FakeServer, awaited: bool) -> None:
    async def experiment(_: Any) -> None:
        server.mechanism.revisions.clear()

    run(server.address, experiment, awaited)


def test_an_observation_that_may_have_been_made_is_repeated_by_its_name(server: FakeServer) -> None:
    """What a script does that gave up waiting: the same request_id, and the first answer."""

    async def experiment(session: Any) -> None:
        server.failures["Observe"] = [UNAVAILABLE]
        with pytest.raises(ServerUnreachableError):
            await session.observe(1.0, POINT, request_id="point 7")
        assert session.revision == 1
        again = await session.observe(1.0, POINT, request_id="point 7")
        assert (again.repeated, again.revision, session.revision) == (True, 2, 2)

    run(server.address, experiment, awaited=False)
    assert server.mechanism.observed == [1.0]


LOST = pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED], ids=lambda code: code.name)


@LOST
@either
def test_a_measurement_whose_answer_was_lost_counts_once_when_it_is_given_again(server: FakeServer, awaited: bool, code: grpc.StatusCode) -> None:
    async def experiment(session: Any) -> None:
        server.failures["Observe"] = [code]
        with pytest.raises(DichroicError):
            await session.observe(1.0, POINT)
        again = await session.observe(1.0, POINT)
        assert (again.repeated, again.revision) == (True, 2)
        # Once it is answered, the same values are another measurement; and other values always were.
        assert not (await session.observe(1.0, POINT)).repeated
        assert not (await session.observe(2.0, POINT)).repeated

    run(server.address, experiment, awaited)
    assert server.mechanism.observed == [1.0, 1.0, 2.0]


@either
@pytest.mark.parametrize("where", [{"inputs": POINT}, {"candidate_index": 0}], ids=["a point", "a candidate"])
def test_a_session_taken_up_again_expects_the_revision_it_has(server: FakeServer, awaited: bool, where: dict[str, Any]) -> None:
    server.mechanism.revisions["session-1"] = 7

    async def experiment(session: Any) -> None:
        server.failures["Observe"] = [grpc.StatusCode.DEADLINE_EXCEEDED]
        with pytest.raises(DeadlineExceededError):
            await session.observe(1.0, **where)
        assert (await session.observe(1.0, **where)).repeated
        assert session.revision == 8

    run(server.address, experiment, awaited, session_id="session-1", keep=True)
    assert [request.expected_revision for request in server.asked("Observe")] == [7, 7]
    assert server.mechanism.observed == [1.0]


@pytest.mark.parametrize("made_here", [True, False], ids=["made here", "another's"])
@pytest.mark.parametrize("model_name", ["", "hysteresis"], ids=["by the session", "by the model"])
def test_a_categorys_name_is_the_index_of_the_sessions_own_version(
    connect: Callable[..., Any], server: FakeServer, made_here: bool, model_name: str
) -> None:
    """The session is of version 2; version 3, which serves by now, has its categories in another order."""
    made = connect(server.address).create_session("hysteresis", version=2)
    server.mechanism.newest = 3
    client = connect(server.address)
    if made_here:
        made = client.create_session("hysteresis", version=2)
    elif not model_name:
        client.suggest(session_id=made.session_id, strategy="total_sd")  # any answer of the session tells its version
    client.observe(made.session_id, 1.0, POINT, model_name=model_name)
    sent = {each.name: from_array(each.values, field="").tolist() for each in server.asked("Observe")[0].inputs}
    assert sent["phase"] == [0]


@either
def test_a_session_taken_up_again_keeps_to_its_version(server: FakeServer, awaited: bool) -> None:
    server.mechanism.revisions["session-1"] = 1
    server.mechanism.newest = 3

    async def experiment(session: Any) -> None:
        await session.observe(1.0, POINT)

    run(server.address, experiment, awaited, session_id="session-1")
    sent = {each.name: from_array(each.values, field="").tolist() for each in server.asked("Observe")[0].inputs}
    assert sent["phase"] == [0]
