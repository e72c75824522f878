"""The calls of whole images, as data: what a caller hands in, checked and as a message, and answers as named arrays. Both clients use these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.client.answers import ModelIdentity, ModelInfo
from dichroic.client.conversion import Classes, Images, Numbers, invalid, plain
from dichroic.client.frame_answers import FrameEncoding, LatentMap, ScaleSpectrum, StreamedFrame, StreamFrame
from dichroic.client.inputs import checked_images
from dichroic.client.messages import OVERHEAD_BYTES
from dichroic.client.models import identity_of
from dichroic.client.requests import Echo, check_name
from dichroic.client.rows import whole
from dichroic.errors import BY_REASON, DeadlineExceededError, InternalError, InvalidFieldError, MessageTooLargeError, UnrecognisedError
from dichroic.status import SEND_LESS
from dichroic.v1 import array_pb2, frames_pb2
from dichroic.wire import NDArray, is_given, put_array

Lengths = Sequence[float] | NDArray | float
MODES = {"block": frames_pb2.STREAM_MODE_BLOCK, "drop_oldest": frames_pb2.STREAM_MODE_DROP_OLDEST}
UNANSWERED = "The server ended the stream without answering its header."
ALWAYS = ("content", "content_sd", "latent_mean", "latent_sd")
SOMETIMES = (
    *("explained", "angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px"),
    *("class_probabilities", "class_index", "centres_px"),
)
SPECTRUM = ("window_px", "stage", "valid", "explained", "content", "latent_mean", "latent_sd")


@dataclass(frozen=True, eq=False)
class Looked:
    """Where to look in a frame, checked: what is None is not said. Units as the proto's fields of the same name."""

    pixel_size_nm: float | None = None
    window_px: Lengths | None = None
    window_nm: Lengths | None = None
    stride_px: float | None = None
    centres_px: Numbers | None = None
    stage: int = 0

    def put(self, request: Any) -> None:
        """Writes it into a message.

        Raises:
            InvalidFieldError: a length, size or stride that is not above 0, or a stage that is no whole number.
            InvalidTensorError: centres that are not (n, 2), or (2,) for one.
        """
        for name, value in (("pixel_size_nm", self.pixel_size_nm), ("stride_px", self.stride_px)):
            if value is not None:
                if not (math.isfinite(value) and value > 0):
                    raise InvalidFieldError(f"{name} is {value}; give a number above 0, or leave it out.", field=name)
                setattr(request, name, value)
        for name, lengths in (("window_px", self.window_px), ("window_nm", self.window_nm)):
            if lengths is not None:
                getattr(request, name).extend(_lengths(lengths, name))
        if self.window_nm is not None and self.pixel_size_nm is None:
            message = "pixel_size_nm is missing; windows in nm need the side of the frame's pixels. Give it, or window_px."
            raise InvalidFieldError(message, field="pixel_size_nm")
        if not 0 <= self.stage < 1 << 31:
            raise InvalidFieldError(f"stage is {self.stage}; give one from 1, or 0 for the nearest.", field="stage")
        request.stage = self.stage
        if self.centres_px is not None:
            put_array(request.centres_px, _centres(self.centres_px))

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """A call that was not done in time is told how a frame, which is sent whole, becomes less work: by fewer windows."""
        try:
            yield
        except DeadlineExceededError as error:
            if SEND_LESS not in error.message:  # a server that says itself what to do
                raise
            less = "a larger stride_px, or centres_px" if self.centres_px is None else "fewer centres_px, or fewer lengths"
            raise DeadlineExceededError(error.message.replace(SEND_LESS, f"ask for fewer windows: {less}")) from error


def frame_request(model_name: str, frame: NDArray, looked: Looked, *, explain: bool, model_version: int, echo: Echo) -> frames_pb2.EncodeFrameRequest:
    """A whole image, and where to look.

    Raises:
        InvalidFieldError: a name or number that cannot be sent.
        InvalidTensorError: a frame or centres that cannot be sent.
    """
    check_name(model_name, model_version)
    request = frames_pb2.EncodeFrameRequest(model_name=model_name, model_version=model_version, explain=explain, **vars(echo))
    looked.put(request)
    put_array(request.frame, checked_frame(frame))
    return request


def spectrum_request(
    model_name: str, frame: NDArray, looked: Looked, labels: Classes | None, *, model_version: int, echo: Echo
) -> frames_pb2.ScaleSpectrumRequest:
    """Points of a whole image, and the windows through which to look. Raises as frame_request, and InvalidTensorError of labels."""
    check_name(model_name, model_version)
    request = frames_pb2.ScaleSpectrumRequest(model_name=model_name, model_version=model_version, **vars(echo))
    looked.put(request)
    put_array(request.frame, checked_frame(frame))
    if labels is not None:
        array = plain(labels, "labels")
        if array.dtype.kind not in "ui" or array.ndim != 1:
            raise invalid("labels", f"has dtype {array.dtype} and shape {array.shape}; give whole numbers, (n,), -1 where not known")
        put_array(request.labels, array.astype(np.int64))
    return request


def header_request(model_name: str, looked: Looked, *, mode: str, max_in_flight: int, model_version: int) -> frames_pb2.StreamEncodeRequest:
    """The first message of a stream. Raises as frame_request, and InvalidFieldError of the mode and of the credits."""
    check_name(model_name, model_version)
    if mode not in MODES:
        raise InvalidFieldError(f"mode is {mode!r}; choose one of {', '.join(MODES)}.", field="mode")
    if not 0 < max_in_flight < 1 << 31:
        raise InvalidFieldError(f"max_in_flight is {max_in_flight}; give 1 or more.", field="max_in_flight")
    request = frames_pb2.StreamEncodeRequest(model_name=model_name, model_version=model_version, mode=MODES[mode], max_in_flight=max_in_flight)
    looked.put(request)
    return request


def item_request(item: NDArray | StreamFrame, sequence: int, *, patches: bool, info: ModelInfo) -> frames_pb2.StreamEncodeRequest:
    """One frame of a stream, or patches.

    Raises:
        InvalidFieldError: a time that cannot be sent.
        InvalidTensorError: data that cannot be sent.
        MessageTooLargeError: more than the server receives.
    """
    frame = item if isinstance(item, StreamFrame) else StreamFrame(item)
    echo = Echo(frame.frame_id, frame.acquisition_time_unix_ns)
    request = frames_pb2.StreamEncodeRequest(sequence=sequence, **vars(echo))
    put_array(request.images if patches else request.frame, checked_images(frame.data) if patches else checked_frame(frame.data))
    check_frame_size(request, info)
    return request


def checked_frame(frame: Images) -> NDArray:
    """A whole image as it is sent: (h, w) or (h, w, c), uint8, uint16 or float32 of any float; NaN and infinity stay.

    Raises:
        InvalidTensorError: another dtype, another number of axes, or nothing in it.
    """
    values = plain(frame, "frame")
    if values.dtype.kind not in "uf" or (values.dtype.kind == "u" and values.dtype.itemsize > 2):
        raise invalid("frame", f"has dtype {values.dtype}; give floats in the training data's unit, or uint8 or uint16")
    if values.ndim not in (2, 3):
        raise invalid("frame", f"has {values.ndim} axes; expected (h, w), or (h, w, c) for several channels: one frame, without a batch axis")
    if 0 in values.shape:
        raise invalid("frame", f"has shape {values.shape}: there is nothing in it")
    if values.dtype.kind == "u":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinity, and its windows not valid
        return values.astype(np.float32, copy=False)


def check_frame_size(request: Any, info: ModelInfo | None) -> None:
    """Refuses what the server would not receive. Nothing where the server's limit is not known.

    Raises:
        MessageTooLargeError: with what to do.
    """
    size = request.ByteSize()
    if info is not None and size > info.max_message_bytes - OVERHEAD_BYTES:
        message = (
            f"The frame's message has {size} bytes, and the server receives {info.max_message_bytes} in one; send integers, crop or bin the frame."
        )
        raise MessageTooLargeError(message)


def frame_encoding_of(response: frames_pb2.EncodeFrameResponse) -> FrameEncoding:
    """The answer, its arrays the caller's own. Raises InternalError where it cannot be read."""
    model = identity_of(response.model)
    return FrameEncoding(model, response.frame_id, response.acquisition_time_unix_ns, tuple(map(_map_of, response.maps)))


def spectrum_of(response: frames_pb2.ScaleSpectrumResponse) -> ScaleSpectrum:
    """The answer, its arrays the caller's own. Raises InternalError where it cannot be read."""
    found: dict[str, Any] = {name: _matrix(response, name, 2) for name in SPECTRUM}
    found |= {name: _optional(response, name) for name in ("window_nm", "separability")}
    return ScaleSpectrum(
        model=identity_of(response.model),
        frame_id=response.frame_id,
        acquisition_time_unix_ns=response.acquisition_time_unix_ns,
        invalid_count=response.invalid_count,
        separable_from_px=response.separable_from_px or None,
        separable_from_nm=response.separable_from_nm or None,
        **found,
    )


def streamed_of(response: frames_pb2.StreamEncodeResponse) -> StreamedFrame:
    """One frame's answer, its arrays the caller's own. Raises InternalError where it cannot be read."""
    error, model = None, None
    if response.error_reason:
        kind, metadata = BY_REASON.get(response.error_reason), {}
        if kind is None:
            kind, metadata = UnrecognisedError, {"reason": response.error_reason}
        delay = response.error_retry_delay_s or None
        error = kind(response.error_message, field=response.error_field, retry_delay_s=delay, metadata=metadata)
    else:
        model = ModelIdentity(response.model.name, response.model.version, response.model.digest)
    maps = tuple(map(_map_of, response.maps))
    return StreamedFrame(response.sequence, response.frame_id, response.acquisition_time_unix_ns, response.dropped_count, maps, model, error)


def _map_of(message: frames_pb2.LatentMap) -> LatentMap:
    found: dict[str, Any] = {name: _matrix(message, name, 1) for name in ALWAYS} | {name: _optional(message, name) for name in SOMETIMES}
    valid = whole(message.valid, "valid")
    wrong = [name for name, values in found.items() if values is not None and len(values) != len(valid)]
    if wrong:
        raise InternalError(f"The server answered {len(found[wrong[0]])} rows of {wrong[0]} for {len(valid)} windows.")
    return LatentMap(
        window_px=message.window_px,
        window_nm=message.window_nm,
        stage=message.stage,
        rows=message.rows,
        columns=message.columns,
        valid=valid,
        invalid_count=message.invalid_count,
        evaluated=message.evaluated,
        **found,
    )


def _optional(message: Any, name: str) -> NDArray | None:
    array: array_pb2.Array = getattr(message, name)
    return whole(array, name) if is_given(array) else None


def _matrix(message: Any, name: str, axes: int) -> NDArray:
    """An array that is always there, but has no columns where the server sends none."""
    found = _optional(message, name)
    if found is None:
        if name not in ("content", "content_sd"):
            raise InternalError(f"The server's answer lacks {name}.")
        rows: tuple[int, ...] = tuple(message.valid.shape)[:axes]
        return np.zeros((*rows, 0), np.float32)
    return found


def _lengths(lengths: Lengths, field: str) -> list[float]:
    array = plain(lengths, field)
    if array.dtype.kind not in "uif" or array.ndim > 1 or not array.size or not (np.isfinite(array) & (array > 0)).all():
        raise InvalidFieldError(f"{field} is {lengths}; give one length above 0, or several.", field=field)
    found: list[float] = np.atleast_1d(array).astype(float).tolist()
    return found


def _centres(values: Numbers) -> NDArray:
    array = plain(values, "centres_px")
    if array.dtype.kind not in "uif" or array.shape[-1:] != (2,) or array.ndim not in (1, 2) or not array.size:
        raise invalid("centres_px", f"has dtype {array.dtype} and shape {array.shape}; give real numbers, (n, 2) as (row, column), or (2,) for one")
    return np.atleast_2d(array).astype(np.float64)
