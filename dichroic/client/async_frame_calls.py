"""The asynchronous client's calls of whole images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import grpc

from dichroic.client.answers import ModelInfo
from dichroic.client.awaiting import AwaitedChannel
from dichroic.client.channel import CLOSED
from dichroic.client.conversion import Classes, Numbers
from dichroic.client.frame_answers import FrameEncoding, ScaleSpectrum, StreamedFrame, StreamFrame
from dichroic.client.frame_requests import (
    UNANSWERED,
    Lengths,
    Looked,
    check_frame_size,
    frame_encoding_of,
    frame_request,
    header_request,
    item_request,
    spectrum_of,
    spectrum_request,
    streamed_of,
)
from dichroic.client.requests import Echo
from dichroic.client.retry import Attempts, Deadline
from dichroic.errors import CancelledError, InternalError
from dichroic.status import from_rpc_error
from dichroic.v1 import frames_pb2
from dichroic.wire import NDArray

ENDED: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # grpc-stubs does not know it
AsyncItems = AsyncIterable[NDArray | StreamFrame] | Iterable[NDArray | StreamFrame]


class AsyncFrameCalls(AwaitedChannel):
    """What AsyncClient asks about whole images. Arguments, answers and errors are those of FrameCalls, method by method."""

    async def encode_frame(
        self,
        model_name: str,
        frame: NDArray,
        *,
        window_px: Lengths | None = None,
        window_nm: Lengths | None = None,
        pixel_size_nm: float | None = None,
        stride_px: float | None = None,
        centres_px: Numbers | None = None,
        stage: int = 0,
        explain: bool = False,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
    ) -> FrameEncoding:
        """A whole image to latent maps, one for each window length; see Client.encode_frame."""
        looked = Looked(pixel_size_nm, window_px, window_nm, stride_px, centres_px, stage)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        request = frame_request(model_name, frame, looked, explain=explain, model_version=version, echo=echo)
        check_frame_size(request, self._known.get((model_name, version)))
        with looked.in_time():
            return frame_encoding_of(await self._once(self._stubs().latent.EncodeFrame, request, self._deadline(timeout_s)))

    async def scale_spectrum(
        self,
        model_name: str,
        frame: NDArray,
        centres_px: Numbers,
        *,
        labels: Classes | None = None,
        window_px: Lengths | None = None,
        window_nm: Lengths | None = None,
        pixel_size_nm: float | None = None,
        stage: int = 0,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
    ) -> ScaleSpectrum:
        """Points of a whole image through windows of many lengths; see Client.scale_spectrum."""
        looked = Looked(pixel_size_nm, window_px, window_nm, None, centres_px, stage)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        request = spectrum_request(model_name, frame, looked, labels, model_version=version, echo=echo)
        check_frame_size(request, self._known.get((model_name, version)))
        with looked.in_time():
            return spectrum_of(await self._once(self._stubs().latent.ScaleSpectrum, request, self._deadline(timeout_s)))

    def stream_encode(
        self,
        model_name: str,
        frames: AsyncItems,
        *,
        patches: bool = False,
        mode: str = "block",
        max_in_flight: int = 8,
        window_px: Lengths | None = None,
        window_nm: Lengths | None = None,
        pixel_size_nm: float | None = None,
        stride_px: float | None = None,
        centres_px: Numbers | None = None,
        stage: int = 0,
        version: int = 0,
        timeout_s: float | None = None,
    ) -> AsyncIterator[StreamedFrame]:
        """Frames one after another over one stream, answers as they come; see Client.stream_encode. `frames` may be an asynchronous iterator too."""
        looked = Looked(pixel_size_nm, window_px, window_nm, stride_px, centres_px, stage)
        header = header_request(model_name, looked, mode=mode, max_in_flight=max_in_flight, model_version=version)
        return self._streamed(header, frames, patches=patches, deadline=self._deadline(timeout_s))

    async def _streamed(
        self, header: frames_pb2.StreamEncodeRequest, frames: AsyncItems, *, patches: bool, deadline: Deadline
    ) -> AsyncIterator[StreamedFrame]:
        key = (header.model_name, header.model_version)
        info = self._known.get(key) or await self._info(*key, deadline)
        call, credit = await self._opened_stream(header, deadline)
        # Without credits of its own a stream that drops is held up by nothing but the network.
        free = asyncio.Semaphore(credit) if header.mode != frames_pb2.STREAM_MODE_DROP_OLDEST else None
        sending = asyncio.create_task(_send(call, _each(frames), free, patches=patches, info=info))
        try:
            while (response := await call.read()) is not ENDED:
                if free is not None:
                    free.release()
                yield streamed_of(response)
            await sending
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.CancelledError as error:
            self._raise_if_closed(error)
            raise
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _opened_stream(self, header: frames_pb2.StreamEncodeRequest, deadline: Deadline) -> tuple[Any, int]:
        """The stream whose header is answered, and its credits; opened again as other calls are sent again."""
        attempts = Attempts(self._policy, deadline)
        while True:
            # The generated stub's type is the blocking one's, which takes all messages at once.
            stub: Any = self._stubs().latent
            call = stub.StreamEncode(timeout=deadline.remaining_s(), metadata=self._connection.metadata)
            try:
                await call.write(header)
                first = await call.read()
                if first is ENDED:
                    raise InternalError(UNANSWERED)
                return call, max(1, first.max_in_flight)
            except asyncio.CancelledError as error:
                call.cancel()
                self._raise_if_closed(error)
                raise
            except grpc.aio.AioRpcError as error:
                await self._sleep(attempts.delay_after(from_rpc_error(error)))

    def _raise_if_closed(self, error: asyncio.CancelledError) -> None:
        # close() ends calls this way too, and then it is not this task that was cancelled.
        task = asyncio.current_task()
        if self._closed and not (task is not None and task.cancelling()):
            raise CancelledError(CLOSED) from error


async def _send(call: Any, items: AsyncIterator[NDArray | StreamFrame], free: asyncio.Semaphore | None, *, patches: bool, info: ModelInfo) -> None:
    """Sends frames as credits allow, and says when there are no more; also where the caller's own iterator failed, so that the rest is answered."""
    sequence = 0
    try:
        while True:
            if free is not None:
                await free.acquire()
            item = await anext(items, None)
            if item is None:
                return
            sequence += 1
            request = item_request(item, sequence, patches=patches, info=info)
            try:
                await call.write(request)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                return  # the stream has ended; reading tells why
    finally:
        if not call.done():
            await call.done_writing()


async def _each(frames: AsyncItems) -> AsyncIterator[NDArray | StreamFrame]:
    if isinstance(frames, AsyncIterable):
        async for item in frames:
            yield item
    else:
        for item in frames:
            yield item
