"""Streams of frames through both clients: credits, order, errors of one frame, and what ends them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from dichroic import AsyncClient, Client, StreamFrame
from dichroic.errors import (
    CancelledError,
    DeadlineExceededError,
    DichroicError,
    InvalidFieldError,
    InvalidTensorError,
    MessageTooLargeError,
    ServerStartingError,
    ServerUnreachableError,
    UnknownModelError,
)
from dichroic.v1 import frames_pb2
from tests.dichroic.conftest import Asked
from tests.dichroic.fake_server import FakeServer

FRAME = np.arange(42, dtype=np.float32).reshape(6, 7)


def taken(client: Asked, frames: Any, most: int = 1 << 30, **options: Any) -> tuple[list[Any], BaseException | None]:
    """At most so many answers, and what ended the stream."""
    answers: list[Any] = []

    async def take() -> None:
        assert isinstance(client.client, AsyncClient)
        streamed: Any = client.client.stream_encode("toy", frames, **options)
        try:
            async for answer in streamed:
                answers.append(answer)
                if len(answers) == most:
                    return
        finally:
            await streamed.aclose()

    try:
        if client.runner is not None:
            client.runner.run(take())
        else:
            assert isinstance(client.client, Client)
            for answer in client.client.stream_encode("toy", frames, **options):
                answers.append(answer)
                if len(answers) == most:
                    break
    except (DichroicError, KeyError) as error:
        return answers, error
    return answers, None


def test_frames_are_answered_in_order_with_what_is_theirs(client: Any, server: FakeServer) -> None:
    frames = [StreamFrame(FRAME + number, f"f{number}", number) for number in range(1, 21)]
    answers, error = taken(client, frames, window_px=[3], pixel_size_nm=2, stride_px=1, stage=1)
    assert error is None
    assert [(each.sequence, each.frame_id, each.acquisition_time_unix_ns, each.dropped_count) for each in answers] == [
        (number, f"f{number}", number, 0) for number in range(1, 21)
    ]
    for number, each in enumerate(answers, 1):
        assert (each.model.name, each.error) == ("toy", None)
        np.testing.assert_allclose(each.maps[0].content[0], [3, FRAME.mean() + number])
    (header,) = server.asked("StreamEncode")
    assert (header.model_name, header.mode, header.max_in_flight, list(header.window_px)) == ("toy", frames_pb2.STREAM_MODE_BLOCK, 8, [3])
    assert (header.pixel_size_nm, header.stride_px, header.stage, header.sequence) == (2, 1, 1, 0)


def test_plain_arrays_and_patches_go_too(client: Any, server: FakeServer) -> None:
    answers, _ = taken(client, [FRAME[None, :4, :4]] * 2, patches=True, mode="drop_oldest")
    assert [each.sequence for each in answers] == [1, 2]
    assert server.asked("StreamEncode")[0].mode == frames_pb2.STREAM_MODE_DROP_OLDEST
    assert all(request.images.dtype and not request.frame.dtype for request in server.asked("StreamFrame"))


def test_no_more_frames_are_taken_than_there_are_credits(client: Any, server: FakeServer) -> None:
    asked: list[int] = []
    ahead: list[int] = []

    def camera() -> Iterator[Any]:
        for number in range(1, 31):
            asked.append(number)
            ahead.append(number - len(answered))
            yield FRAME

    answered: list[int] = []
    server.on_call = lambda seen: answered.append(1) if seen.rpc == "StreamFrame" else None
    answers, _ = taken(client, camera(), max_in_flight=8)
    assert len(answers) == len(asked) == 30
    assert max(ahead) <= 5  # the fake server grants 4, and the next frame is drawn when one of them is answered


def test_one_bad_frame_is_told_and_the_stream_goes_on(client: Any) -> None:
    answers, error = taken(client, [FRAME, np.full_like(FRAME, -1), FRAME])
    assert error is None
    assert [each.sequence for each in answers] == [1, 2, 3]
    told = answers[1].error
    assert isinstance(told, InvalidFieldError)
    assert (told.message, told.field, told.retry_delay_s, answers[1].maps, answers[1].model) == ("a frame of -1", "frame", 0.5, (), None)


@pytest.mark.parametrize(("wrong", "kind"), [(FRAME[0], InvalidTensorError), (StreamFrame(FRAME, "", -1), InvalidFieldError)])
def test_a_frame_that_cannot_be_sent_is_raised_once_those_before_are_answered(client: Any, wrong: Any, kind: type[Exception]) -> None:
    answers, error = taken(client, [FRAME, FRAME, wrong, FRAME])
    assert [each.sequence for each in answers] == [1, 2]
    assert isinstance(error, kind)


def test_what_the_callers_own_iterator_raises_is_raised_again(client: Any) -> None:
    def camera() -> Iterator[Any]:
        yield FRAME
        raise KeyError("the camera's own")

    answers, error = taken(client, camera())
    assert [each.sequence for each in answers] == [1]
    assert isinstance(error, KeyError)


def test_leaving_the_loop_ends_the_stream(client: Any, server: FakeServer) -> None:
    def camera() -> Iterator[Any]:
        while True:
            yield FRAME

    answers, error = taken(client, camera(), most=3)
    assert (len(answers), error) == (3, None)
    assert taken(client, [FRAME])[1] is None  # the client goes on


def test_a_stream_is_opened_again_as_other_calls_are_sent_again(client: Any, server: FakeServer, time: Any) -> None:
    server.failures["StreamEncode"] = [ServerStartingError("loading", retry_delay_s=1.5)]
    answers, error = taken(client, iter([FRAME, FRAME]))
    assert error is None
    assert [each.sequence for each in answers] == [1, 2]
    assert time.slept_s[0] >= 1.5
    server.failures["StreamEncode"] = [UnknownModelError("no such model")]
    answers, error = taken(client, [FRAME])
    assert (answers, type(error)) == ([], UnknownModelError)


def test_what_ends_a_stream_under_way_is_raised(client: Any, server: FakeServer, time: Any) -> None:
    # One at a time: nothing is being sent when the server ends it, which grpc.aio may not tell apart from a connection that broke.
    server.failures["StreamFrame"] = [None, ServerStartingError("gone", retry_delay_s=0.1)]  # type: ignore[list-item]
    answers, error = taken(client, [FRAME] * 5, max_in_flight=1)
    assert [each.sequence for each in answers] == [1]
    assert isinstance(error, ServerStartingError)
    server.failures["StreamFrame"] = [None, ServerStartingError("gone", retry_delay_s=0.1)]  # type: ignore[list-item]
    answers, error = taken(client, [FRAME] * 5)
    assert [each.sequence for each in answers] == [1]
    assert isinstance(error, ServerStartingError if client.runner is None else ServerStartingError | ServerUnreachableError)
    assert time.slept_s == []


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"max_in_flight": 0}, {"stride_px": 0}, {"window_nm": [3]}, {"window_px": [-1]}])
def test_what_cannot_be_meant_is_refused_at_once(client: Any, server: FakeServer, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldError):
        client.client.stream_encode("toy", [FRAME], **options)
    assert server.seen == []


def test_a_frame_larger_than_the_server_receives_is_not_sent(client: Any, server: FakeServer) -> None:
    server.max_message_bytes = 4000
    answers, error = taken(client, [FRAME, np.zeros((100, 100), np.float32)])
    assert len(answers) == 1
    assert isinstance(error, MessageTooLargeError)


def test_a_deadline_ends_the_stream(client: Any, server: FakeServer) -> None:
    server.gate.clear()
    answers, error = taken(client, [FRAME] * 3, timeout_s=0.5)
    server.gate.set()
    assert answers == []
    assert isinstance(error, DeadlineExceededError)


def test_closing_the_client_from_another_thread_ends_its_stream(server: FakeServer) -> None:
    client = Client(server.address)
    server.gate.clear()
    seen = threading.Event()
    server.on_call = lambda call: seen.set() if call.rpc == "StreamFrame" else None

    def close() -> None:
        assert seen.wait(20)
        client.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(CancelledError):
        list(client.stream_encode("toy", [FRAME] * 3))
    closing.join(20)
    server.gate.set()


async def test_closing_the_client_from_another_task_ends_its_stream(server: FakeServer) -> None:
    server.gate.clear()
    client = AsyncClient(server.address)
    streamed = client.stream_encode("toy", [FRAME] * 3)
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    server.on_call = lambda call: loop.call_soon_threadsafe(seen.set) if call.rpc == "StreamFrame" else None  # type: ignore[assignment]
    waiting = asyncio.ensure_future(anext(streamed))  # type: ignore[arg-type]
    await asyncio.wait_for(seen.wait(), 20)
    await client.close()
    with pytest.raises(CancelledError):
        await waiting
    server.gate.set()


async def test_an_asynchronous_iterator_is_awaited(server: FakeServer) -> None:
    async def camera() -> AsyncIterator[Any]:
        for number in range(3):
            await asyncio.sleep(0)
            yield StreamFrame(FRAME, str(number))

    async with AsyncClient(server.address) as client:
        assert [each.frame_id async for each in client.stream_encode("toy", camera())] == ["0", "1", "2"]
