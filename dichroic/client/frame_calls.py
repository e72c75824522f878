"""The blocking client's calls of whole images."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import grpc

from dichroic.client.answers import ModelInfo
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
from dichroic.client.sending import BlockingChannel
from dichroic.errors import InternalError
from dichroic.status import from_rpc_error
from dichroic.v1 import frames_pb2
from dichroic.wire import NDArray

Items = Iterable[NDArray | StreamFrame]


class FrameCalls(BlockingChannel):
    """What Client asks about whole images. A centre is (row, column) in pixels of the frame; pixel (i, j) has its middle at (i + 0.5, j + 0.5)."""

    def encode_frame(
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
        """A whole image to latent maps, one for each window length.

        Args:
            model_name: such as "domains".
            frame: (h, w), or (h, w, c) for models of several channels; uint8, uint16, or floats in the unit of the training data. Windows that touch
                NaN or infinity are not valid.
            window_px: one length or several, pixels of the frame; None, and window_nm too: the model's own.
            window_nm: lengths in nm instead; they need pixel_size_nm.
            pixel_size_nm: the side of the frame's pixels; None is unknown.
            stride_px: grid step; None is the dense encoder's own where the model has one, or a quarter of the window.
            centres_px: (n, 2), or (2,) for one: centres instead of a grid.
            stage: which of the model's stages encodes every window, from 1; 0 is the nearest in log length.
            explain: whether `explained` is told, which takes about a hundred times as long.
            version: >= 1; 0 is the highest that is ready.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit.

        Raises:
            InvalidFieldError: a window larger than the frame, a length, stride or pixel size that is not above 0, no pixel size where one is
                needed, too many windows.
            InvalidTensorError: a frame of another dtype or shape; a centre at which a window reaches over the border, and `row` says which.
            MessageTooLargeError: the frame is more than the server receives.
            UnknownModelError, UnknownVersionError: the server has no such model, or version.
            UnsupportedCapabilityError: the model does not encode frames.
            DeadlineExceededError: so many windows take longer than timeout_s: give a larger stride_px, or centres_px.
        """
        looked = Looked(pixel_size_nm, window_px, window_nm, stride_px, centres_px, stage)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        request = frame_request(model_name, frame, looked, explain=explain, model_version=version, echo=echo)
        check_frame_size(request, self._known.get((model_name, version)))
        with looked.in_time():
            return frame_encoding_of(self._once(self._stubs().latent.EncodeFrame, request, self._deadline(timeout_s)))

    def scale_spectrum(
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
        """Points of a whole image through windows of many lengths: latents, and how much of each window they explain.

        Args:
            model_name: such as "domains".
            frame: as encode_frame.
            centres_px: (n, 2), or (2,) for one: the points. The largest window must lie inside the frame at each.
            labels: (n,) whole numbers: which class each point is of, -1 where not known; then `separability` is told.
            window_px: as encode_frame; None, and window_nm too: 16 lengths over what the model's stages and the frame allow.
            window_nm: as encode_frame.
            pixel_size_nm: as encode_frame.
            stage: as encode_frame.
            version: as encode_frame.
            frame_id: as encode_frame.
            acquisition_time_unix_ns: as encode_frame.
            timeout_s: as encode_frame.

        Raises:
            InvalidTensorError: as encode_frame; labels that are not two classes of two points at least.
            InvalidFieldError, MessageTooLargeError, UnknownModelError, UnknownVersionError, UnsupportedCapabilityError: as encode_frame.
        """
        looked = Looked(pixel_size_nm, window_px, window_nm, None, centres_px, stage)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        request = spectrum_request(model_name, frame, looked, labels, model_version=version, echo=echo)
        check_frame_size(request, self._known.get((model_name, version)))
        with looked.in_time():
            return spectrum_of(self._once(self._stubs().latent.ScaleSpectrum, request, self._deadline(timeout_s)))

    def stream_encode(
        self,
        model_name: str,
        frames: Items,
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
    ) -> Iterator[StreamedFrame]:
        """Frames one after another over one stream; answers as they come, in order.

        Nothing is sent before the first answer is asked for. `frames` is then read in another thread; where it raises, what was sent is answered
        first. A frame that cannot be encoded is answered with its `error`, and the stream goes on. Leaving the loop ends the stream. It is opened
        again as other calls are, but once frames were sent, what ends it is raised.

        Args:
            model_name: such as "domains".
            frames: arrays (h, w) or (h, w, c) as encode_frame takes them, or StreamFrame with a name and a time.
            patches: whether they are images (n, h, w[, c]) as encode takes them, instead.
            mode: "block": every frame is answered, and no more is sent while max_in_flight are not; "drop_oldest": frames are sent as they come,
                and where max_in_flight wait on the server, a new one takes the place of the oldest.
            max_in_flight: the credits, 1 to 64.
            window_px: as encode_frame, for every frame.
            window_nm: as encode_frame.
            pixel_size_nm: as encode_frame.
            stride_px: as encode_frame.
            centres_px: as encode_frame.
            stage: as encode_frame.
            version: >= 1; 0 is for each frame the highest that is ready then.
            timeout_s: seconds for the whole stream; None is no limit.

        Raises:
            InvalidFieldError: as encode_frame, and a mode or a number of credits that is none.
            InvalidTensorError: a frame that cannot be sent.
            MessageTooLargeError: a frame that is more than the server receives.
            UnknownModelError, UnknownVersionError: the server has no such model, or version.
        """
        looked = Looked(pixel_size_nm, window_px, window_nm, stride_px, centres_px, stage)
        header = header_request(model_name, looked, mode=mode, max_in_flight=max_in_flight, model_version=version)
        return self._streamed(header, frames, patches=patches, deadline=self._deadline(timeout_s))

    def _streamed(self, header: frames_pb2.StreamEncodeRequest, frames: Items, *, patches: bool, deadline: Deadline) -> Iterator[StreamedFrame]:
        key = (header.model_name, header.model_version)
        info = self._known.get(key) or self._info(*key, deadline)
        attempts = Attempts(self._policy, deadline)
        items = iter(frames)
        while True:
            sending = _Sending(header, items, patches=patches, info=info)
            with self._open():
                call = self._stubs().latent.StreamEncode(sending, timeout=deadline.remaining_s(), metadata=self._connection.metadata)
            responses: Iterator[frames_pb2.StreamEncodeResponse] = iter(call)
            try:
                first = next(responses, None)
                if first is None:
                    raise InternalError(UNANSWERED)
                sending.go(first.max_in_flight)
                for response in responses:
                    sending.answered()
                    yield streamed_of(response)
            except grpc.RpcError as error:
                problem = from_rpc_error(error)
                if sending.gone:
                    raise problem from error
                self._sleep(attempts.delay_after(problem))
                continue
            finally:
                sending.stop()
                call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves it untyped
            if sending.error is not None:
                raise sending.error
            return


class _Sending:
    """The messages of one stream, taken by gRPC's own thread: the header, and once that is answered the frames, as credits allow."""

    def __init__(self, header: frames_pb2.StreamEncodeRequest, items: Iterator[NDArray | StreamFrame], *, patches: bool, info: ModelInfo) -> None:
        self._header: frames_pb2.StreamEncodeRequest | None = header
        self._waits = header.mode != frames_pb2.STREAM_MODE_DROP_OLDEST
        self._items = items
        self._patches = patches
        self._info = info
        self._credits = threading.Semaphore(0)
        self._answered_header = threading.Event()
        self._stopped = False
        self._sequence = 0
        self.error: BaseException | None = None

    @property
    def gone(self) -> bool:
        """Whether the frames are being taken: then the stream cannot be opened again."""
        return self._answered_header.is_set()

    def go(self, credit: int) -> None:
        """The header is answered."""
        self._credits.release(max(1, credit))
        self._answered_header.set()

    def answered(self) -> None:
        """One credit is free again."""
        self._credits.release()

    def stop(self) -> None:
        """Nothing more is sent; gRPC's thread is let go."""
        self._stopped = True
        self._credits.release()
        self._answered_header.set()

    def __iter__(self) -> Iterator[frames_pb2.StreamEncodeRequest]:
        return self

    def __next__(self) -> frames_pb2.StreamEncodeRequest:
        header, self._header = self._header, None
        if header is not None:
            return header
        self._answered_header.wait()
        if self._waits and not self._stopped:
            self._credits.acquire()
        if self._stopped:
            raise StopIteration
        try:
            item = next(self._items)
            self._sequence += 1
            return item_request(item, self._sequence, patches=self._patches, info=self._info)
        except StopIteration:
            raise
        except BaseException as error:  # the caller's own: raised again where the caller is
            self.error = error
            raise StopIteration from error
