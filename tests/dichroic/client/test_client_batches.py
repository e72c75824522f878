"""Large batches: split below the server's limit, in order, and by one model from the first row to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dichroic import ModelIdentity, ModelInfo
from dichroic.client.messages import Messages
from dichroic.client.requests import Echo, encode_call
from dichroic.errors import InvalidTensorError, MessageTooLargeError, ModelChangedError, QueueFullError, UnknownVersionError
from tests.dichroic.fake_server import FakeServer, Seen, identity, serving

ROW_BYTES = 64  # (4, 4) float32


def images(n: int) -> np.ndarray[Any, Any]:
    return np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None], (n, 4, 4))


def test_a_large_batch_is_split_and_comes_back_in_order(connect: Callable[..., Any], server: FakeServer) -> None:
    done: list[tuple[int, int]] = []
    found = connect(server.address, message_bytes=10 * ROW_BYTES).encode("toy", images(95), progress=lambda rows, of: done.append((rows, of)))
    np.testing.assert_array_equal(found.content[:, 0], np.arange(95))
    sent = [request.images.shape[0] for request in server.asked("Encode")]
    assert sum(sent) == 95
    assert max(sent) <= 10
    assert done[-1] == (95, 95)
    assert done == sorted(done)
    assert len(done) == len(sent)


def test_every_message_stays_below_the_servers_limit(connect: Callable[..., Any]) -> None:
    limit = 4096
    # The server itself refuses more: no message was larger.
    with serving(FakeServer(max_message_bytes=limit), receive_bytes=limit) as server:
        found = connect(server.address).encode("toy", images(500), frame_id="f" * 300)
        assert len(found.content) == 500
        assert max(request.ByteSize() for request in server.asked("Encode")) <= limit


def test_wide_answers_are_split_too(connect: Callable[..., Any], server: FakeServer) -> None:
    # A latent has 4 bytes, its image 64.
    found = connect(server.address, message_bytes=4 * ROW_BYTES).decode("toy", angle_rad=np.arange(10.0))
    np.testing.assert_array_equal(found.images[:, 0, 0], np.arange(10))
    assert max(request.angle_rad.shape[0] for request in server.asked("Decode")) <= 4


def test_the_limit_is_asked_for_once(client: Any, server: FakeServer) -> None:
    for _ in range(3):
        client.encode("toy", images(2))
    assert len(server.asked("GetModel")) == 1


def test_one_image_over_the_limit_is_refused_before_it_is_sent(client: Any, server: FakeServer) -> None:
    server.max_message_bytes = 1000
    with pytest.raises(MessageTooLargeError, match="One row has 1024 bytes"):
        client.encode("toy", np.zeros((2, 16, 16), np.float32))
    assert server.asked("Encode") == []


def test_the_first_answer_pins_the_version(connect: Callable[..., Any], server: FakeServer) -> None:
    connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(4))
    assert [request.model_version for request in server.asked("Encode")] == [0, 3, 3, 3]


def test_a_reload_during_the_call_is_never_mixed_in(connect: Callable[..., Any], server: FakeServer) -> None:
    def reload(seen: Seen) -> None:
        if len(server.asked("Encode")) == 2:
            server.model = identity(version=3, digest="b" * 64)  # the same version, written anew

    server.on_call = reload
    with pytest.raises(ModelChangedError, match="aaaaaaaaaaaa became version 3, bbbbbbbbbbbb") as caught:
        connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(6))
    assert caught.value.metadata == {"model_name": "toy", "model_version": "3"}


def test_a_version_unloaded_during_the_call_ends_it(connect: Callable[..., Any], server: FakeServer) -> None:
    def unload(seen: Seen) -> None:
        if seen.rpc == "Encode" and len(server.asked("Encode")) == 1:
            server.failures["Encode"] = [UnknownVersionError("gone")]

    server.on_call = unload
    with pytest.raises(UnknownVersionError):
        connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(6))


def test_two_messages_are_on_their_way_at_a_time(connect: Callable[..., Any], server: FakeServer) -> None:
    together = threading.Barrier(2, timeout=20)

    def meet(seen: Seen) -> None:
        if seen.rpc == "Encode" and seen.request.model_version:
            together.wait()  # breaks, and fails the call, unless two are here at once

    server.on_call = meet
    assert len(connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(5)).content) == 5


def test_one_busy_answer_delays_its_own_message_only(connect: Callable[..., Any], server: FakeServer, time: Any) -> None:
    def busy(seen: Seen) -> None:
        if seen.rpc == "Encode" and len(server.asked("Encode")) == 2:
            server.failures["Encode"] = [QueueFullError("later", retry_delay_s=2.0)]

    server.on_call = busy
    found = connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(6))
    np.testing.assert_array_equal(found.content[:, 0], np.arange(6))
    assert len(server.asked("Encode")) == 7
    assert time.slept_s == [pytest.approx(2.05)]


def test_a_failure_in_the_middle_ends_the_call_with_its_name(connect: Callable[..., Any], server: FakeServer) -> None:
    def fail(seen: Seen) -> None:
        if seen.rpc == "Encode" and len(server.asked("Encode")) == 3:
            server.failures["Encode"] = [InvalidTensorError("bad", row=0)]

    server.on_call = fail
    with pytest.raises(InvalidTensorError):
        connect(server.address, message_bytes=ROW_BYTES).encode("toy", images(9))
    assert connect(server.address).models(), "the connection is as good as before"


@settings(max_examples=200, deadline=None)  # other work on the machine must not fail it
@given(rows=st.integers(1, 3000), side=st.integers(1, 20), limit=st.integers(2000, 100_000), aim=st.integers(1, 100_000))
def test_messages_cover_every_row_once_and_respect_both_bounds(rows: int, side: int, limit: int, aim: int) -> None:
    call = encode_call("toy", {"images": np.zeros((rows, side, side), np.uint8)}, 0, Echo("", 0))
    info = ModelInfo(ModelIdentity("toy", 1, ""), "latent", "cpu", False, limit, (), {}, "")
    messages = Messages(call, info, aim, None)
    requests = [messages.request(index) for index in range(len(messages))]
    counts = [request.images.shape[0] for request in requests]
    assert sum(counts) == rows
    assert max(request.ByteSize() for request in requests) <= limit
    assert max(counts) == 1 or max(counts) * side * side <= aim
