"""One call each of the API, as data: what to ask for some of the rows, and how to read the answers. Both clients run these."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from dichroic.client.answers import Classification, Decoding, Encoding, Reconstruction, Regression
from dichroic.client.channel import Stubs
from dichroic.client.models import identity_of
from dichroic.client.rows import joined, matrix, parts_of, required, row_bytes, row_count
from dichroic.errors import InternalError, InvalidFieldError
from dichroic.v1 import latent_pb2, models_pb2
from dichroic.wire import NDArray, put_array

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
        capability: "encode", "decode", "reconstruct", "classify" or "regress", as in the model's signatures.
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


@dataclass(frozen=True)
class Echo:
    """What an answer repeats. Refuses a time that is not whole nanoseconds since 1970."""

    frame_id: str
    acquisition_time_unix_ns: int

    def __post_init__(self) -> None:
        if not 0 <= self.acquisition_time_unix_ns <= MAX_INT64:
            message = f"acquisition_time_unix_ns is {self.acquisition_time_unix_ns}; give nanoseconds since 1970 (time.time_ns()), or 0 for unknown."
            raise InvalidFieldError(message, field="acquisition_time_unix_ns")


def encode_call(
    model_name: str, data: Mapping[str, NDArray], model_version: int, echo: Echo
) -> BatchCall[latent_pb2.EncodeRequest, latent_pb2.EncodeResponse, Encoding]:
    """Images or spectra to pose, content and class. `data`: as checked_data gives it.

    Raises:
        InvalidFieldError: the name or version cannot be sent.
    """
    rows = row_count(data)

    def join(responses: Sequence[latent_pb2.EncodeResponse]) -> Encoding:
        matrices = ("content", "content_sd", "latent_mean", "latent_sd")
        others = ("angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px", "class_probabilities", "class_index")
        found: dict[str, Any] = {name: matrix(parts_of(responses, name), rows, name) for name in matrices}
        found |= {name: joined(parts_of(responses, name), rows, name) for name in others}
        return Encoding(identity_of(responses[0].model), echo.frame_id, echo.acquisition_time_unix_ns, **found)

    build = _builder(latent_pb2.EncodeRequest, model_name, model_version, data, echo)
    return BatchCall("encode", model_name, model_version, rows, row_bytes(data), lambda stubs: stubs.latent.Encode, build, join)


def reconstruct_call(
    model_name: str, data: Mapping[str, NDArray], model_version: int, echo: Echo
) -> BatchCall[latent_pb2.ReconstructRequest, latent_pb2.ReconstructResponse, Reconstruction]:
    """Images or spectra to themselves by way of the latents. Arguments and errors as encode_call."""
    rows = row_count(data)

    def join(responses: Sequence[latent_pb2.ReconstructResponse]) -> Reconstruction:
        found: dict[str, Any] = {name: required(parts_of(responses, name), rows, name) for name in ("reconstruction", "error")}
        found |= {name: joined(parts_of(responses, name), rows, name) for name in ("novel", "p_value", "class_probabilities", "class_index")}
        if found["novel"] is not None:
            found |= {name: getattr(responses[0], name) for name in ("error_threshold", "novel_false_alarm_rate")}
        return Reconstruction(identity_of(responses[0].model), echo.frame_id, echo.acquisition_time_unix_ns, **found)

    build = _builder(latent_pb2.ReconstructRequest, model_name, model_version, data, echo)
    return BatchCall("reconstruct", model_name, model_version, rows, row_bytes(data), lambda stubs: stubs.latent.Reconstruct, build, join)


def classify_call(
    model_name: str, data: Mapping[str, NDArray], model_version: int, echo: Echo
) -> BatchCall[latent_pb2.ClassifyRequest, latent_pb2.ClassifyResponse, Classification]:
    """Which class each image, or spectrum, shows. Arguments and errors as encode_call."""
    rows = row_count(data)

    def join(responses: Sequence[latent_pb2.ClassifyResponse]) -> Classification:
        found = {name: required(parts_of(responses, name), rows, name) for name in ("class_probabilities", "class_index")}
        names = tuple(responses[0].class_names)
        return Classification(identity_of(responses[0].model), echo.frame_id, echo.acquisition_time_unix_ns, class_names=names, **found)

    build = _builder(latent_pb2.ClassifyRequest, model_name, model_version, data, echo)
    return BatchCall("classify", model_name, model_version, rows, row_bytes(data), lambda stubs: stubs.latent.Classify, build, join)


def regress_call(
    model_name: str, data: Mapping[str, NDArray], model_version: int, echo: Echo
) -> BatchCall[latent_pb2.RegressRequest, latent_pb2.RegressResponse, Regression]:
    """The targets of each image, or spectrum. Arguments and errors as encode_call."""
    rows = row_count(data)

    def join(responses: Sequence[latent_pb2.RegressResponse]) -> Regression:
        found = {name: required(parts_of(responses, name), rows, name) for name in ("target_mean", "target_sd")}
        first = responses[0]
        return Regression(
            identity_of(first.model), echo.frame_id, echo.acquisition_time_unix_ns, names=tuple(first.names), units=tuple(first.units), **found
        )

    build = _builder(latent_pb2.RegressRequest, model_name, model_version, data, echo)
    return BatchCall("regress", model_name, model_version, rows, row_bytes(data), lambda stubs: stubs.latent.Regress, build, join)


def decode_call(
    model_name: str, latents: Mapping[str, NDArray], model_version: int
) -> BatchCall[latent_pb2.DecodeRequest, latent_pb2.DecodeResponse, Decoding]:
    """Latents to images or spectra. `latents`: as checked_latents gives them.

    Raises:
        InvalidFieldError: nothing is given, or the name or version cannot be sent.
    """
    if not latents:
        raise InvalidFieldError("There is nothing to decode; give content, angle_rad, scale, a shift or class_index.", field="content")
    rows = row_count(latents)

    def join(responses: Sequence[latent_pb2.DecodeResponse]) -> Decoding:
        found = {name: joined(parts_of(responses, name), rows, name) for name in ("images", "spectra")}
        if all(values is None for values in found.values()):
            raise InternalError("The server's answer lacks images.")
        return Decoding(identity_of(responses[0].model), **found)

    build = _builder(latent_pb2.DecodeRequest, model_name, model_version, latents)
    return BatchCall("decode", model_name, model_version, rows, row_bytes(latents), lambda stubs: stubs.latent.Decode, build, join)


def check_name(model_name: str, model_version: int) -> None:
    """Refuses what protobuf could not carry or the server could not mean.

    Raises:
        InvalidFieldError: no name, or a version out of range.
    """
    if not model_name:
        raise InvalidFieldError("The model's name is empty; `dichroic models` lists what the server has.", field="model_name")
    if not 0 <= model_version <= MAX_INT64:
        raise InvalidFieldError(f"The version is {model_version}; give one from 1, or 0 for the highest ready.", field="model_version")


def fresh_id() -> str:
    """A name for one request that no other has."""
    return uuid.uuid4().hex


def _builder(
    kind: Callable[..., Request], model_name: str, model_version: int, arrays: Mapping[str, NDArray], echo: Echo | None = None
) -> Callable[[slice, int], Request]:
    """What makes the request for some of the rows, of a version."""
    check_name(model_name, model_version)
    facts = {} if echo is None else {"frame_id": echo.frame_id, "acquisition_time_unix_ns": echo.acquisition_time_unix_ns}

    def build(rows: slice, version: int) -> Request:
        request = kind(model_name=model_name, model_version=version, **facts)
        for name, values in arrays.items():
            put_array(getattr(request, name), values[rows])
        return request

    return build
