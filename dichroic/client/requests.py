"""One call each of the API, as data: what to ask for some of the rows, and how to read the answers. Both clients run these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message

from dichroic.client.answers import Decoding, Encoding, Reconstruction
from dichroic.client.channel import Stubs
from dichroic.client.inputs import Images, Numbers, checked_images, checked_latents
from dichroic.client.models import identity_of
from dichroic.errors import InternalError, InvalidFieldError, InvalidTensorError
from dichroic.v1 import array_pb2, latent_pb2, models_pb2
from dichroic.wire import NDArray, from_array, is_given, put_array

MAX_INT64 = 2**63 - 1


class Identified(Protocol):
    """An answer that says which model gave it."""

    @property
    def model(self) -> models_pb2.ModelIdentity:
        """Which model answered."""


Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Identified)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class BatchCall(Generic[Request, Response, Answer]):
    """A capability asked of n rows, in one message or in several.

    Attributes:
        capability: "encode", "decode" or "reconstruct", as in the model's signatures.
        model_name: as given by the caller.
        model_version: as given by the caller; 0: the highest that is ready.
        rows: n, >= 1.
        row_bytes: the bytes of one row's arrays in a request.
        method: the stub's method.
        build: the request for a slice of the rows, of a version.
        join: the answer from all responses, in the order of the rows.
    """

    capability: str
    model_name: str
    model_version: int
    rows: int
    row_bytes: int
    method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Response]]
    build: Callable[[slice, int], Request]
    join: Callable[[Sequence[Response]], Answer]


def encode_call(
    model_name: str, images: Images, model_version: int, frame_id: str, acquisition_time_unix_ns: int
) -> BatchCall[latent_pb2.EncodeRequest, latent_pb2.EncodeResponse, Encoding]:
    """Images to pose and content.

    Raises:
        InvalidTensorError: as checked_images.
        InvalidFieldError: the name, version or time cannot be sent.
    """
    values = checked_images(images)
    check_name(model_name, model_version)
    check_time(acquisition_time_unix_ns)

    def build(rows: slice, version: int) -> latent_pb2.EncodeRequest:
        request = latent_pb2.EncodeRequest(
            model_name=model_name,
            model_version=version,
            frame_id=frame_id,
            acquisition_time_unix_ns=acquisition_time_unix_ns,
        )
        put_array(request.images, values[rows])
        return request

    def join(responses: Sequence[latent_pb2.EncodeResponse]) -> Encoding:
        return Encoding(
            model=identity_of(responses[0].model),
            frame_id=frame_id,
            acquisition_time_unix_ns=acquisition_time_unix_ns,
            content=_matrix([response.content for response in responses], len(values), "content"),
            content_sd=_matrix([response.content_sd for response in responses], len(values), "content_sd"),
            latent_mean=_matrix([response.latent_mean for response in responses], len(values), "latent_mean"),
            latent_sd=_matrix([response.latent_sd for response in responses], len(values), "latent_sd"),
            angle_rad=_joined([response.angle_rad for response in responses], len(values), "angle_rad"),
            angle_sd_rad=_joined([response.angle_sd_rad for response in responses], len(values), "angle_sd_rad"),
            scale=_joined([response.scale for response in responses], len(values), "scale"),
            shift_down_px=_joined([response.shift_down_px for response in responses], len(values), "shift_down_px"),
            shift_right_px=_joined([response.shift_right_px for response in responses], len(values), "shift_right_px"),
        )

    return BatchCall("encode", model_name, model_version, len(values), values[0].nbytes, lambda stubs: stubs.latent.Encode, build, join)


def reconstruct_call(
    model_name: str, images: Images, model_version: int, frame_id: str, acquisition_time_unix_ns: int
) -> BatchCall[latent_pb2.ReconstructRequest, latent_pb2.ReconstructResponse, Reconstruction]:
    """Images to themselves by way of the latents.

    Raises:
        InvalidTensorError: as checked_images.
        InvalidFieldError: the name, version or time cannot be sent.
    """
    values = checked_images(images)
    check_name(model_name, model_version)
    check_time(acquisition_time_unix_ns)

    def build(rows: slice, version: int) -> latent_pb2.ReconstructRequest:
        request = latent_pb2.ReconstructRequest(
            model_name=model_name,
            model_version=version,
            frame_id=frame_id,
            acquisition_time_unix_ns=acquisition_time_unix_ns,
        )
        put_array(request.images, values[rows])
        return request

    def join(responses: Sequence[latent_pb2.ReconstructResponse]) -> Reconstruction:
        novel = _joined([response.novel for response in responses], len(values), "novel")
        return Reconstruction(
            model=identity_of(responses[0].model),
            frame_id=frame_id,
            acquisition_time_unix_ns=acquisition_time_unix_ns,
            reconstruction=_required([response.reconstruction for response in responses], len(values), "reconstruction"),
            error=_required([response.error for response in responses], len(values), "error"),
            error_threshold=None if novel is None else responses[0].error_threshold,
            novel_false_alarm_rate=None if novel is None else responses[0].novel_false_alarm_rate,
            novel=novel,
        )

    return BatchCall("reconstruct", model_name, model_version, len(values), values[0].nbytes, lambda stubs: stubs.latent.Reconstruct, build, join)


def decode_call(
    model_name: str,
    model_version: int,
    *,
    content: Numbers | None,
    angle_rad: Numbers | None,
    scale: Numbers | None,
    shift_down_px: Numbers | None,
    shift_right_px: Numbers | None,
) -> BatchCall[latent_pb2.DecodeRequest, latent_pb2.DecodeResponse, Decoding]:
    """Latents to images.

    Raises:
        InvalidTensorError: as checked_latents.
        InvalidFieldError: nothing is given, or the name or version cannot be sent.
    """
    latents = checked_latents(content, angle_rad, scale, shift_down_px, shift_right_px)
    check_name(model_name, model_version)
    n = len(next(iter(latents.values())))

    def build(rows: slice, version: int) -> latent_pb2.DecodeRequest:
        request = latent_pb2.DecodeRequest(model_name=model_name, model_version=version)
        for name, values in latents.items():
            put_array(getattr(request, name), values[rows])
        return request

    def join(responses: Sequence[latent_pb2.DecodeResponse]) -> Decoding:
        return Decoding(identity_of(responses[0].model), _required([response.images for response in responses], n, "images"))

    row_bytes = sum(values[0].nbytes for values in latents.values())
    return BatchCall("decode", model_name, model_version, n, row_bytes, lambda stubs: stubs.latent.Decode, build, join)


def check_name(model_name: str, model_version: int) -> None:
    """Refuses what protobuf could not carry or the server could not mean.

    Raises:
        InvalidFieldError: no name, or a version out of range.
    """
    if not model_name:
        raise InvalidFieldError("The model's name is empty; `dichroic models` lists what the server has.", field="model_name")
    if not 0 <= model_version <= MAX_INT64:
        raise InvalidFieldError(f"The version is {model_version}; give one from 1, or 0 for the highest ready.", field="model_version")


def check_time(acquisition_time_unix_ns: int) -> None:
    """Refuses a time that is not whole nanoseconds since 1970.

    Raises:
        InvalidFieldError: negative, or beyond 64 bits.
    """
    if not 0 <= acquisition_time_unix_ns <= MAX_INT64:
        message = f"acquisition_time_unix_ns is {acquisition_time_unix_ns}; give nanoseconds since 1970 (time.time_ns()), or 0 for unknown."
        raise InvalidFieldError(message, field="acquisition_time_unix_ns")


def _joined(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray | None:
    """The responses' parts as one writable array; None where the model has no such output."""
    if not any(is_given(part) for part in parts):
        return None
    try:
        # Copies even a single part: what the caller gets is always its own and writable.
        values = np.concatenate([from_array(part, field=field) for part in parts])
    except (InvalidTensorError, ValueError) as error:
        raise InternalError(f"The server's answer cannot be read: {error}") from error
    if len(values) != rows:
        raise InternalError(f"The server answered {len(values)} rows of {field} for {rows} rows sent.")
    return values


def _required(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray:
    values = _joined(parts, rows, field)
    if values is None:
        raise InternalError(f"The server's answer lacks {field}.")
    return values


def _matrix(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray:
    values = _joined(parts, rows, field)
    return np.zeros((rows, 0), np.float32) if values is None else values
