"""Rows cut for messages, and the rows of all answers put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf.message import Message

from dichroic.errors import InternalError, InvalidTensorError
from dichroic.v1 import array_pb2
from dichroic.wire import NDArray, from_array, is_given


def row_count(arrays: Mapping[str, NDArray]) -> int:
    """How many rows the arrays have."""
    return len(next(iter(arrays.values())))


def row_bytes(arrays: Mapping[str, NDArray]) -> int:
    """The bytes of one row of all arrays."""
    return sum(values[0].nbytes for values in arrays.values())


def parts_of(responses: Sequence[Message], name: str) -> list[array_pb2.Array]:
    """One field of every response."""
    return [getattr(response, name) for response in responses]


def joined(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray | None:
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


def required(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray:
    """As joined, of what every model answers."""
    values = joined(parts, rows, field)
    if values is None:
        raise InternalError(f"The server's answer lacks {field}.")
    return values


def matrix(parts: Sequence[array_pb2.Array], rows: int, field: str) -> NDArray:
    """As required, but of no columns where the server sends none."""
    values = joined(parts, rows, field)
    return np.zeros((rows, 0), np.float32) if values is None else values


def whole(array: array_pb2.Array, field: str) -> NDArray:
    """An array of an answer that came in one message, the caller's own and writable.

    Raises:
        InternalError: it cannot be read.
    """
    try:
        return from_array(array, field=field).copy()
    except InvalidTensorError as error:
        raise InternalError(f"The server's answer cannot be read: {error}") from error
