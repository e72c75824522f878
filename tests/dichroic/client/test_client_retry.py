"""What is sent again, when, and for how long. The clock moves only when the client sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dichroic.client.retry import Attempts, Deadline, RetryPolicy
from dichroic.errors import (
    DeadlineExceededError,
    DichroicError,
    InvalidTensorError,
    ModelNotReadyError,
    QueueFullError,
    ServerStartingError,
    ServerUnreachableError,
)
from tests.dichroic.fake_server import FakeServer, Seen

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_an_unreachable_server_is_asked_again_after_growing_delays(client: Any, server: FakeServer, time: Any) -> None:
    server.failures["ListModels"] = [UNAVAILABLE] * 8
    assert client.models()
    assert time.slept_s == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


@pytest.mark.parametrize("kind", [QueueFullError, ServerStartingError, ModelNotReadyError])
def test_the_delay_the_server_asks_for_is_kept(client: Any, server: FakeServer, time: Any, kind: type[DichroicError]) -> None:
    server.failures["Encode"] = [kind("later", retry_delay_s=7.0)]
    client.encode("toy", np.zeros((1, 4, 4), np.float32))
    assert time.slept_s[0] >= 7.0
    assert time.slept_s[0] < 7.5


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(InvalidTensorError("wrong"), id="a wrong request stays wrong"),
        pytest.param(QueueFullError("no delay named"), id="no RetryInfo"),
        pytest.param(ModelNotReadyError("refused at load"), id="a refused model stays refused"),
    ],
)
def test_what_a_retry_cannot_help_is_raised_at_once(client: Any, server: FakeServer, time: Any, error: DichroicError) -> None:
    server.failures["ListModels"] = [error]
    with pytest.raises(type(error)):
        client.models()
    assert time.slept_s == []
    assert len(server.seen) == 1


def test_no_retry_goes_beyond_the_deadline(client: Any, server: FakeServer, time: Any) -> None:
    server.failures["ListModels"] = [QueueFullError("later", retry_delay_s=4.0)] * 10
    with pytest.raises(QueueFullError):
        client.models(timeout_s=10.0)
    assert len(time.slept_s) == 2
    assert sum(time.slept_s) < 10.0


def test_the_deadline_shrinks_with_every_attempt(client: Any, server: FakeServer) -> None:
    server.failures["ListModels"] = [QueueFullError("later", retry_delay_s=20.0)]
    client.models(timeout_s=60.0)
    first, second = (seen.time_remaining_s for seen in server.seen)
    assert first is not None
    assert second is not None
    # gRPC rounds a deadline up.
    assert 55 < first < 61
    assert 35 < second < 41


def test_without_a_deadline_retries_still_end(client: Any, server: FakeServer, time: Any) -> None:
    server.failures["Encode"] = [UNAVAILABLE] * 100
    with pytest.raises(ServerUnreachableError):
        client.encode("toy", np.zeros((1, 4, 4), np.float32), timeout_s=None)
    assert 20 < sum(time.slept_s) <= 30


def test_retries_can_be_turned_off(connect: Callable[..., Any], server: FakeServer, time: Any) -> None:
    server.failures["ListModels"] = [UNAVAILABLE]
    with pytest.raises(ServerUnreachableError):
        connect(server.address, retry_for_s=0.0).models()
    assert time.slept_s == []


def test_nobody_there_is_a_named_error(connect: Callable[..., Any]) -> None:
    with pytest.raises(ServerUnreachableError, match="check the address"):
        connect("127.0.0.1:1", retry_for_s=0.0).models()


def test_a_slow_answer_is_a_named_deadline(client: Any, server: FakeServer) -> None:
    over = threading.Event()
    server.on_call = lambda seen: over.wait(20)
    try:
        with pytest.raises(DeadlineExceededError, match="raise timeout_s"):
            client.models(timeout_s=0.05)
    finally:
        over.set()


def test_the_deadline_covers_all_messages_of_a_call(connect: Callable[..., Any], server: FakeServer, time: Any) -> None:
    def pass_time(seen: Seen) -> None:
        time.now_s += 1.0

    server.on_call = pass_time
    with pytest.raises(DeadlineExceededError, match=r"not done within 4\.5 s"):
        connect(server.address, message_bytes=64).encode("toy", np.zeros((100, 4, 4), np.float32), timeout_s=4.5)
    assert len(server.seen) < 10


@given(st.lists(st.none() | st.floats(0, 20), max_size=40), st.floats(0.1, 100), st.floats(0, 0.999))
def test_delays_are_never_shorter_than_asked_nor_beyond_the_end(asked: list[float | None], timeout_s: float, jitter: float) -> None:
    now = [0.0]
    policy = RetryPolicy(clock=lambda: now[0], jitter=lambda: jitter)
    attempts = Attempts(policy, Deadline(timeout_s, policy.clock))
    for retry_delay_s in asked:
        error = ServerUnreachableError("", retry_delay_s=retry_delay_s)
        try:
            delay = attempts.delay_after(error)
        except ServerUnreachableError:
            return
        assert delay >= (retry_delay_s or 0)
        now[0] += delay
        assert now[0] < timeout_s
        assert now[0] <= policy.retry_for_s
