"""StreamEncode over gRPC: its header, its frames, and what surrounds a stream: open or not, time, count, and errors with their details."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from dichroic.errors import DichroicError, InvalidFieldError
from dichroic.status import abort_arguments
from dichroic.v1 import frames_pb2
from dichroic.wire import NDArray, from_array, is_given
from services.engine.budget import QueueBudget
from services.latent import EncodedFrame, Wanted
from services.latent.frames import RETRY_S
from services.latent.streams import FrameStream, Limits, Mode, Outcome
from services.server import Server
from services.transport import metrics
from services.transport.calls import Context, HasServer, known_model
from services.transport.errors import named
from services.transport.messages import fill, identity

MODES = {
    frames_pb2.STREAM_MODE_UNSPECIFIED: Mode.BLOCK,
    frames_pb2.STREAM_MODE_BLOCK: Mode.BLOCK,
    frames_pb2.STREAM_MODE_DROP_OLDEST: Mode.DROP_OLDEST,
}
CREDITS, MOST_CREDITS = 8, 64
# A stream holds no more of the queue's bytes than one part in so many, unless one frame alone is more.
SHARE = 8
# What a message after the header has one of, and the header none.
OF_FRAMES: tuple[Literal["frame", "images"], ...] = ("frame", "images")

Requests = AsyncIterator[frames_pb2.StreamEncodeRequest]
Responses = AsyncIterator[frames_pb2.StreamEncodeResponse]
Servicer = TypeVar("Servicer", bound=HasServer)


@dataclass(frozen=True)
class Frame:
    """One message after the header. `array`: a frame, or with `is_patches` images; None where `error` says what is wrong."""

    sequence: int
    frame_id: str
    acquisition_time_unix_ns: int
    array: NDArray | None
    is_patches: bool
    error: DichroicError | None

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        return 0 if self.array is None else self.array.nbytes


class Unwritten:
    """The answers of one stream that its caller has not taken: counted among what waits or runs, and how large the next ones may be."""

    def __init__(self, budget: QueueBudget, most_bytes: int) -> None:
        self._budget = budget
        self._held: dict[int, int] = {}
        self._largest = 0
        self._most_bytes = most_bytes

    @property
    def expected_bytes(self) -> int:
        """Of the next answer, as large as the largest so far. Before the first one all a stream may hold: so the second frame waits for it."""
        return self._largest or self._most_bytes

    def add(self, frame: Frame, found: EncodedFrame) -> None:
        """One answer more.

        Raises:
            QueueFullError: the server holds too much.
        """
        size_bytes = sum(value.nbytes for each in found.maps for value in vars(each).values() if isinstance(value, np.ndarray))
        self._budget.reserve(size_bytes, RETRY_S)
        self._held[frame.sequence] = size_bytes
        self._largest = max(self._largest, size_bytes)

    def written(self, frame: Frame) -> None:
        """Its answer, if it had one, is on its way."""
        if frame.sequence in self._held:
            self._budget.release(self._held.pop(frame.sequence))

    def close(self) -> None:
        """Nobody takes the others any more."""
        while self._held:
            self._budget.release(self._held.popitem()[1])


def streamed(method: Callable[[Servicer, Requests, Context], Responses]) -> Callable[[Servicer, Requests, Context], Awaitable[None]]:
    """Wraps a method of streams: as `answered` wraps one of single messages. Writing waits until the caller takes what was written before."""

    @functools.wraps(method)
    async def wrapper(servicer: Servicer, requests: Requests, context: Context) -> None:
        started = time.perf_counter()
        model_name = ""

        def count(status: str) -> None:
            metrics.count("grpc", method.__name__, known_model(servicer.server, model_name), status, time.perf_counter() - started)

        metrics.STREAMS.inc()
        try:
            servicer.server.check_open()
            async with contextlib.aclosing(method(servicer, requests, context)) as responses:  # type: ignore[type-var] # a generator, to mypy an iterator
                async for response in responses:
                    model_name = model_name or response.model.name
                    await context.write(response)
        except BaseException as error:
            problem = named(error)
            count(problem.status)
            code, text, trailing = abort_arguments(problem)
            await context.abort(code, text, trailing)
        else:
            count("OK")
        finally:
            metrics.STREAMS.dec()

    return wrapper


async def stream_encode(server: Server, requests: Requests) -> Responses:
    """The header's answer, and then each frame's.

    Raises:
        InvalidFieldError: a wrong header, or bytes that are no message, once all before them are answered.
        ServerStoppingError: the server drains, and what was read is answered.
        DichroicError: the header's model is not there.
    """
    header = await _next(requests, after=0)
    if header is None:
        raise InvalidFieldError("The stream ended before its header; send a message with model_name first.", field="model_name")
    wanted, mode, most = read_header(header)
    name, version = header.model_name, header.model_version
    model = server.latent.check_stream(name, version, wanted)
    yield frames_pb2.StreamEncodeResponse(model=identity(model), max_in_flight=most)
    counted = functools.partial(metrics.count_frame, known_model(server, name))

    most_bytes = server.settings.queue_max_bytes // SHARE
    unwritten = Unwritten(server.budget, most_bytes)

    async def encode(frame: Frame) -> EncodedFrame:
        if frame.error is not None or frame.array is None:
            raise frame.error or AssertionError("a frame without an array has an error")
        deadline = server.deadline(None)
        if frame.is_patches:
            found = await server.latent.encode_patches(name, version, frame.array, deadline)
        else:
            found = await server.latent.encode_frame(name, version, frame.array, wanted, deadline)
        unwritten.add(frame, found)
        return found

    limits = Limits[Frame](most, most_bytes, lambda frame: frame.size_bytes + unwritten.expected_bytes)
    stream = FrameStream[Frame, EncodedFrame](encode, limits, mode, lambda _: counted("dropped"))
    watching = asyncio.create_task(_end_with(server, stream))
    try:
        async with contextlib.aclosing(stream.outcomes(frames_of(requests))) as outcomes:  # type: ignore[type-var] # as above
            async for outcome in outcomes:
                counted("refused" if outcome.error else "answered")
                yield _answer(outcome)
                unwritten.written(outcome.given)
    finally:
        watching.cancel()
        unwritten.close()


def read_header(header: frames_pb2.StreamEncodeRequest) -> tuple[Wanted, Mode, int]:
    """What is wanted of every frame, what happens when they come too fast, and how many may be unanswered.

    Raises:
        InvalidFieldError: no model, a frame in it, a mode or a number of credits that is none.
        InvalidTensorError: centres that are no array.
    """
    if not header.model_name:
        raise InvalidFieldError("model_name is empty: a stream's first message is its header, and names the model.", field="model_name")
    for field in OF_FRAMES:
        if header.HasField(field):
            raise InvalidFieldError(f"{field} is in the header; send it in a message of its own, after the header.", field=field)
    if header.sequence:
        raise InvalidFieldError(f"sequence is {header.sequence} in the header, which has none; frames are numbered from 1.", field="sequence")
    mode = MODES.get(header.mode)
    if mode is None:
        known = ", ".join(f"{number} {frames_pb2.StreamMode.Name(number)}" for number in MODES)
        raise InvalidFieldError(f"mode is {header.mode}; choose one of {known}.", field="mode")
    if not 0 <= header.max_in_flight <= MOST_CREDITS:
        message = f"max_in_flight is {header.max_in_flight}; give 1 to {MOST_CREDITS}, or 0 for {CREDITS}."
        raise InvalidFieldError(message, field="max_in_flight")
    return wanted_of(header), mode, header.max_in_flight or CREDITS


def wanted_of(request: frames_pb2.EncodeFrameRequest | frames_pb2.ScaleSpectrumRequest | frames_pb2.StreamEncodeRequest) -> Wanted:
    """Windows, and where.

    Raises:
        InvalidTensorError: centres that are no array.
    """
    return Wanted(
        pixel_size_nm=request.pixel_size_nm,
        window_px=tuple(request.window_px),
        window_nm=tuple(request.window_nm),
        stride_px=0.0 if isinstance(request, frames_pb2.ScaleSpectrumRequest) else request.stride_px,
        centres_px=from_array(request.centres_px, field="centres_px") if request.HasField("centres_px") and is_given(request.centres_px) else None,
        stage=request.stage,
        explain=isinstance(request, frames_pb2.EncodeFrameRequest) and request.explain,
    )


async def frames_of(requests: Requests) -> AsyncIterator[Frame]:
    """The messages after the header. A frame that cannot be read carries its error; bytes that are no message raise InvalidFieldError."""
    last = 0
    while (message := await _next(requests, after=last)) is not None:
        array, error = None, None
        try:
            array = _array(message, last)
        except DichroicError as problem:
            error = problem
        last = max(last, message.sequence)
        yield Frame(message.sequence, message.frame_id, message.acquisition_time_unix_ns, array, message.HasField("images"), error)


def _array(message: frames_pb2.StreamEncodeRequest, last: int) -> NDArray:
    if message.model_name:
        raise InvalidFieldError("model_name is in a message after the header; open another stream for another model.", field="model_name")
    if message.sequence <= last:
        raise InvalidFieldError(f"sequence is {message.sequence} after {last}; every frame's is greater than the one's before.", field="sequence")
    given = [field for field in OF_FRAMES if message.HasField(field) and is_given(getattr(message, field))]
    if len(given) != 1:
        raise InvalidFieldError(f"{' and '.join(given) or 'neither frame nor images'} given; send one of frame and images.", field="frame")
    return from_array(getattr(message, given[0]), field=given[0])


async def _next(requests: Requests, *, after: int) -> frames_pb2.StreamEncodeRequest | None:
    """The next message; None at the stream's end."""
    try:
        return await anext(requests, None)
    except DecodeError as error:
        message = f"What came after {f'frame {after}' if after else 'nothing, or the header,'} is no StreamEncodeRequest. The stream ends here."
        raise InvalidFieldError(message) from error


async def _end_with(server: Server, stream: FrameStream[Frame, EncodedFrame]) -> None:
    """Once the server drains, the stream reads nothing more."""
    await server.draining.wait()
    try:
        server.check_open()
    except DichroicError as error:
        stream.end(error)


def _answer(outcome: Outcome[Frame, EncodedFrame]) -> frames_pb2.StreamEncodeResponse:
    frame = outcome.given
    response = frames_pb2.StreamEncodeResponse(
        sequence=frame.sequence,
        frame_id=frame.frame_id,
        acquisition_time_unix_ns=frame.acquisition_time_unix_ns,
        dropped_count=outcome.dropped,
    )
    if outcome.found is not None:
        return fill(response, outcome.found)
    problem = named(outcome.error or AssertionError("an outcome without an answer has an error"))
    response.error_reason, response.error_message, response.error_field = problem.reason, problem.message, problem.field
    response.error_retry_delay_s = problem.retry_delay_s or 0.0
    return response
