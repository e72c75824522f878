"""StreamEncode over gRPC: order, credits, drops, bad frames among good ones, garbage, callers that stop reading or go away, and the server's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from dichroic.errors import DichroicError
from dichroic.status import from_rpc_error
from dichroic.v1 import frames_pb2
from dichroic.wire import from_array
from services.transport import grpc_stream
from tests.services.conftest import Running, running_on
from tests.services.latent.test_streams import settled
from tests.services.transport.frame_server import FRAME, TOY, filled, frame_server, header, item
from tests.toy_frames import grid

pytestmark = pytest.mark.asyncio(loop_scope="module")
BLOCK, DROP = frames_pb2.STREAM_MODE_BLOCK, frames_pb2.STREAM_MODE_DROP_OLDEST
METHOD = "/dichroic.v1.LatentService/StreamEncode"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with frame_server(tmp_path_factory.mktemp("streams")) as found:
        yield found


class Stream:
    """One stream, written and read step by step."""

    def __init__(self, running: Running, **options: Any) -> None:
        self.call: Any = running.latent.StreamEncode(**options)

    async def send(self, *messages: frames_pb2.StreamEncodeRequest) -> None:
        for message in messages:
            await self.call.write(message)

    async def take(self) -> frames_pb2.StreamEncodeResponse:
        answer = await asyncio.wait_for(self.call.read(), 20)
        assert answer is not grpc.aio.EOF, "the stream has ended"
        found: frames_pb2.StreamEncodeResponse = answer
        return found

    async def rest(self) -> list[frames_pb2.StreamEncodeResponse]:
        await self.call.done_writing()
        found = []
        while (answer := await asyncio.wait_for(self.call.read(), 20)) is not grpc.aio.EOF:
            found.append(answer)
        return found

    async def error(self) -> DichroicError:
        """Reads on to the error that ends the stream."""
        try:
            await self.rest()
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        raise AssertionError("the stream ended without an error")


@asynccontextmanager
async def streaming(running: Running, **fields: Any) -> AsyncIterator[Stream]:
    """A stream whose header is sent and answered."""
    stream = Stream(running)
    await stream.send(header(**fields))
    answer = await stream.take()
    assert (answer.sequence, answer.model.name) == (0, "frames")
    yield stream
    stream.call.cancel()


async def until(done: Callable[[], bool]) -> None:
    """What another task does in its own time has happened."""
    async with asyncio.timeout(20):
        while not done():
            await settled()


async def idle(running: Running) -> None:
    """Nothing of the budget is held: a caller that is gone is noticed in the server's own time."""
    await until(lambda: not (running.server.budget.requests or running.server.budget.bytes))


async def test_frames_are_answered_in_order_with_what_is_theirs(running: Running) -> None:
    frames = [np.random.default_rng(seed).random((21 + seed % 2, 17)).astype(np.float32) for seed in range(12)]
    async with streaming(running, window_nm=[8], pixel_size_nm=2, stride_px=2) as stream:
        for number, frame in enumerate(frames, 1):
            await stream.send(item(10 * number, frame, frame_id=f"f{number}", acquisition_time_unix_ns=number))
        answers = await stream.rest()
    assert [answer.sequence for answer in answers] == [10 * number for number in range(1, 13)]
    for number, (frame, answer) in enumerate(zip(frames, answers, strict=True), 1):
        assert (answer.frame_id, answer.acquisition_time_unix_ns, answer.dropped_count, answer.error_reason) == (f"f{number}", number, 0, "")
        (found,) = answer.maps
        centres = grid(*frame.shape, 4, 2)
        np.testing.assert_allclose(from_array(found.content, field=""), TOY.encode_frame(frame, centres, 4, 1)["content"], atol=1e-5)


async def test_patches_go_over_the_same_stream(running: Running) -> None:
    patches = np.random.default_rng(0).random((5, 4, 4)).astype(np.float32)
    async with streaming(running) as stream:
        await stream.send(filled(frames_pb2.StreamEncodeRequest, {"images": patches}, sequence=1), item(2))
        first, second = await stream.rest()
    (found,) = first.maps
    assert (found.evaluated, found.window_px, found.centres_px.data, found.stage) == ("patches", 0, b"", 0)
    np.testing.assert_allclose(from_array(found.content, field=""), TOY.told(patches.astype(float), 1, 1)["content"], atol=1e-5)
    assert len(second.maps) == 2


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        pytest.param({"model_name": ""}, "model_name", "INVALID_FIELD", id="no model"),
        pytest.param({"model_name": "none"}, "model_name", "UNKNOWN_MODEL", id="unknown model"),
        pytest.param({"model_version": 9}, "model_version", "UNKNOWN_VERSION", id="unknown version"),
        pytest.param({"mode": 7}, "mode", "INVALID_FIELD", id="no such mode"),
        pytest.param({"max_in_flight": 65}, "max_in_flight", "INVALID_FIELD", id="too many credits"),
        pytest.param({"max_in_flight": -1}, "max_in_flight", "INVALID_FIELD", id="credits below 0"),
        pytest.param({"sequence": 3}, "sequence", "INVALID_FIELD", id="a sequence"),
        pytest.param({"stride_px": -1}, "stride_px", "INVALID_FIELD", id="stride below 0"),
        pytest.param({"window_nm": [8]}, "pixel_size_nm", "INVALID_FIELD", id="no pixel size"),
        pytest.param({"stage": 5}, "stage", "INVALID_FIELD", id="no such stage"),
    ],
)
async def test_a_wrong_header_ends_the_stream(running: Running, fields: dict[str, Any], field: str, reason: str) -> None:
    stream = Stream(running)
    await stream.send(header(**fields))
    error = await stream.error()
    assert (error.reason, error.field) == (reason, field)


async def test_a_frame_in_the_header_and_a_stream_of_nothing_end_it(running: Running) -> None:
    stream = Stream(running)
    await stream.send(filled(frames_pb2.StreamEncodeRequest, {"frame": FRAME}, model_name="frames"))
    assert (await stream.error()).field == "frame"
    stream = Stream(running)
    await stream.call.done_writing()
    assert (await stream.error()).field == "model_name"


async def test_bad_frames_among_good_ones_are_answered_with_their_reason(running: Running) -> None:
    broken = item(6)
    broken.frame.data = broken.frame.data[:-1]
    both = filled(frames_pb2.StreamEncodeRequest, {"frame": FRAME, "images": FRAME[None, :4, :4]}, sequence=5)
    async with streaming(running, window_px=[8]) as stream:
        await stream.send(item(1), item(2, FRAME[:7]), item(3, FRAME.astype(np.float64)), item(3), both, broken)
        await stream.send(frames_pb2.StreamEncodeRequest(sequence=7), header(sequence=8), item(9))
        answers = await stream.rest()
    assert [(answer.sequence, answer.error_reason, answer.error_field, len(answer.maps)) for answer in answers] == [
        (1, "", "", 1),
        (2, "INVALID_FIELD", "window_px", 0),
        (3, "INVALID_TENSOR", "frame", 0),
        (3, "INVALID_FIELD", "sequence", 0),
        (5, "INVALID_FIELD", "frame", 0),
        (6, "INVALID_TENSOR", "frame", 0),
        (7, "INVALID_FIELD", "frame", 0),
        (8, "INVALID_FIELD", "model_name", 0),
        (9, "", "", 1),
    ]
    assert "larger than the frame" in answers[1].error_message


async def test_garbage_after_good_frames_ends_the_stream_once_those_are_answered(running: Running) -> None:
    call = running.channel.stream_stream(METHOD)()
    await call.write(header().SerializeToString())
    for number in (1, 2):
        await call.write(item(number).SerializeToString())
    await call.write(b"\xff\xff\xff\xff garbage")
    answers = [frames_pb2.StreamEncodeResponse.FromString(await call.read()) for _ in range(3)]  # type: ignore[arg-type]
    assert [(answer.sequence, len(answer.maps)) for answer in answers] == [(0, 0), (1, 2), (2, 2)]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    named = from_rpc_error(error.value)
    assert (named.reason, error.value.code()) == ("INVALID_FIELD", grpc.StatusCode.INVALID_ARGUMENT)
    assert "frame 2" in named.message
    await idle(running)


async def test_garbage_in_place_of_the_header_ends_the_stream(running: Running) -> None:
    call = running.channel.stream_stream(METHOD)()
    await call.write(b"\xff\xff\xff\xff garbage")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("mode", [BLOCK, DROP])
async def test_a_stream_that_stops_reading_holds_no_more_than_its_credits(running: Running, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    parse = grpc_stream._array
    monkeypatch.setattr(grpc_stream, "_array", lambda message, last: read.append(message.sequence) or parse(message, last))
    frame = np.zeros((128, 128), np.float32)  # 64 kB, answered with some 300 kB
    async with streaming(running, mode=mode, max_in_flight=3, window_px=[4], stride_px=2) as stream:
        writing = asyncio.create_task(stream.send(*[item(number, frame) for number in range(1, 801)]))
        if mode == BLOCK:
            # Flow control holds the writer back, since nobody takes the answers.
            assert await asyncio.wait([writing], timeout=1.0) == (set(), {writing})
            assert 3 <= len(read) < 60
        else:
            # All is read, and little kept.
            await until(lambda: len(read) == 800)
        assert running.server.budget.bytes < 4 << 20
        writing.cancel()
    await idle(running)


async def test_a_fast_camera_is_never_held_up_and_is_told_what_was_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    encode = running.server.latent.encode_frame

    async def gated(*arguments: Any) -> Any:
        await gate.wait()
        return await encode(*arguments)

    monkeypatch.setattr(running.server.latent, "encode_frame", gated)
    before = REGISTRY.get_sample_value("dichroic_stream_frames_total", {"model": "frames", "outcome": "dropped"}) or 0
    read: list[int] = []
    parse = grpc_stream._array
    monkeypatch.setattr(grpc_stream, "_array", lambda message, last: read.append(message.sequence) or parse(message, last))
    async with streaming(running, mode=DROP, max_in_flight=2) as stream:
        await stream.send(item(1))
        gate.set()
        assert (await stream.take()).dropped_count == 0  # how large an answer is, is known from here on
        gate.clear()
        await stream.send(*[item(number) for number in range(2, 21)])
        await until(lambda: read[-1] == 20)
        gate.set()
        answers = await stream.rest()
    assert [answer.sequence for answer in answers] == [2, 3, 19, 20]
    assert {answer.dropped_count for answer in answers} == {15}
    after = REGISTRY.get_sample_value("dichroic_stream_frames_total", {"model": "frames", "outcome": "dropped"})
    assert after == before + 15


async def test_a_caller_that_goes_away_leaves_nothing_behind(running: Running) -> None:
    async with streaming(running, window_px=[4]) as stream:
        await stream.send(*[item(number, np.zeros((200, 200), np.float32)) for number in range(1, 5)])
        stream.call.cancel()
    await idle(running)
    await until(lambda: not REGISTRY.get_sample_value("dichroic_streams"))


async def test_a_deadline_ends_the_stream(running: Running) -> None:
    stream = Stream(running, timeout=0.3)
    await stream.send(header(), item(1))
    answers = [await stream.take(), await stream.take()]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.take()
    assert [answer.sequence for answer in answers] == [0, 1]
    assert from_rpc_error(error.value).reason == "DEADLINE_EXCEEDED"
    await idle(running)


async def test_a_full_server_says_so_for_one_frame_and_goes_on(running: Running) -> None:
    budget = running.server.budget
    async with streaming(running) as stream:
        budget.reserve(budget.max_bytes - 100, 1.0)
        await stream.send(item(1))
        answer = await stream.take()
        budget.release(budget.max_bytes - 100)
        await stream.send(item(2))
        assert (await stream.take()).error_reason == ""
    assert (answer.error_reason, answer.error_retry_delay_s > 0) == ("QUEUE_FULL", True)


async def test_streams_and_their_frames_are_counted(running: Running) -> None:
    def count(outcome: str) -> float:
        return REGISTRY.get_sample_value("dichroic_stream_frames_total", {"model": "frames", "outcome": outcome}) or 0

    labels = {"protocol": "grpc", "method": "StreamEncode", "model": "frames", "status": "OK"}
    await until(lambda: not REGISTRY.get_sample_value("dichroic_streams"))
    before = count("answered"), count("refused"), REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0
    async with streaming(running) as stream:
        assert REGISTRY.get_sample_value("dichroic_streams") == 1
        await stream.send(item(1), item(2, FRAME[0]), item(3))
        await stream.rest()
        await settled()
    after = count("answered"), count("refused"), REGISTRY.get_sample_value("dichroic_requests_total", labels)
    assert after == (before[0] + 2, before[1] + 1, before[2] + 1)


async def test_a_server_that_stops_answers_what_it_has_read_and_says_why(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_on(running.bundles) as other:
        gate = asyncio.Event()
        encode = other.server.latent.encode_frame

        async def gated(*arguments: Any) -> Any:
            await gate.wait()
            return await encode(*arguments)

        monkeypatch.setattr(other.server.latent, "encode_frame", gated)
        async with streaming(other) as stream, streaming(other) as quiet:
            await stream.send(item(1))
            async with asyncio.timeout(20):
                while not other.server.budget.requests and not gate.is_set():
                    await settled()
                    other.server.begin_draining()
                    gate.set()
            assert (await quiet.error()).reason == "SERVER_STOPPING"
            answer = await stream.take()
            assert answer.sequence == 1
            error = await stream.error()
            assert (error.reason, error.retry_delay_s is not None) == ("SERVER_STOPPING", True)
        late = Stream(other)
        await late.send(header())
        assert (await late.error()).reason == "SERVER_STOPPING"
