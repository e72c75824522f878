"""The wire's Array to numpy and back: little-endian, row-major, nothing believed before it is checked."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from dichroic.errors import InvalidTensorError
from dichroic.v1 import array_pb2

NDArray = np.ndarray[Any, np.dtype[Any]]

# More axes than any image, spectrum or frame series has.
MAX_AXES = 8

# What memory has addresses for.
_MAX_BYTES = int(np.iinfo(np.intp).max)

# The bytes on the wire, for each element type.
WIRE_DTYPES: dict[array_pb2.DataType.ValueType, np.dtype[Any]] = {
    array_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
    array_pb2.DATA_TYPE_UINT16: np.dtype("<u2"),
    array_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    array_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    array_pb2.DATA_TYPE_FLOAT64: np.dtype("<f8"),
    array_pb2.DATA_TYPE_BOOL: np.dtype("?"),
}

# numpy's name of each element type, which is also the manifest's and JSON's.
DTYPE_NAMES: dict[array_pb2.DataType.ValueType, str] = {number: dtype.name for number, dtype in WIRE_DTYPES.items()}

_NUMBER_OF = {(dtype.kind, dtype.itemsize): number for number, dtype in WIRE_DTYPES.items()}


def to_array(values: NDArray) -> array_pb2.Array:
    """A numpy array as an Array message of its own. Arguments and errors as put_array."""
    array = array_pb2.Array()
    put_array(array, values)
    return array


def put_array(field: array_pb2.Array, values: NDArray) -> None:
    """Writes a numpy array into a message's field; given a finished Array, protobuf would copy its bytes once more.

    Args:
        field: empty.
        values: uint8, uint16, int64, float32, float64 or bool; at least one axis; any byte order, contiguous or not.

    Raises:
        InvalidTensorError: another dtype, or no axis.
    """
    number = _NUMBER_OF.get((values.dtype.kind, values.dtype.itemsize))
    if number is None:
        raise InvalidTensorError(f"dtype {values.dtype} cannot be sent; convert to one of {', '.join(DTYPE_NAMES.values())}.")
    if not 1 <= values.ndim <= MAX_AXES:
        raise InvalidTensorError(f"An array of {values.ndim} axes cannot be sent; 1 to {MAX_AXES} are allowed.")
    if not values.dtype.isnative or sys.byteorder != "little":
        values = values.astype(WIRE_DTYPES[number], copy=False)
    field.dtype = number
    field.shape.extend(values.shape)
    field.data = values.tobytes()  # the one copy, into C order whatever the strides


def is_given(array: array_pb2.Array) -> bool:
    """Whether the field holds an array at all: everything empty means "not given"."""
    return bool(array.dtype or array.shape or array.data)


def from_array(array: array_pb2.Array, *, field: str) -> NDArray:
    """An Array message as a numpy array in the machine's byte order.

    Args:
        array: the message.
        field: the request's or response's field it came from, named in errors.

    Returns:
        The array, read-only: a view of the message's bytes wherever the byte order allows it. NaN and infinity pass.

    Raises:
        InvalidTensorError: not given, unknown dtype, a shape that is empty, negative, too long or overflowing, a byte count that is not
            product(shape) x (bytes an element), or a bool that is neither 0 nor 1.
    """
    if not is_given(array):
        raise _invalid(field, "is missing: give dtype, shape and data")
    dtype = WIRE_DTYPES.get(array.dtype)
    if dtype is None:
        what = "no dtype is given" if array.dtype == array_pb2.DATA_TYPE_UNSPECIFIED else f"dtype number {array.dtype} is not known"
        raise _invalid(field, f"has data or a shape, but {what}; use one of {', '.join(DTYPE_NAMES.values())}")
    shape = tuple(array.shape)
    _check_shape(shape, dtype.itemsize, field)
    data = array.data  # one access: protobuf makes a new bytes object each time
    expected_bytes = math.prod(shape) * dtype.itemsize
    if len(data) != expected_bytes:
        raise _invalid(field, f"has {len(data)} bytes, but shape {list(shape)} of {dtype.name} is {expected_bytes}; send all elements, unpadded")
    if dtype.kind == "b":
        return _bools(data, shape, field)
    values: NDArray = np.frombuffer(data, dtype=dtype).reshape(shape)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def optional_array(array: array_pb2.Array, *, field: str) -> NDArray | None:
    """As from_array, but None where the field is not given.

    Raises:
        InvalidTensorError: as from_array, of an array that is given.
    """
    return from_array(array, field=field) if is_given(array) else None


def _check_shape(shape: tuple[int, ...], itemsize: int, field: str) -> None:
    if not 1 <= len(shape) <= MAX_AXES:
        raise _invalid(field, f"has {len(shape)} axes; 1 to {MAX_AXES} are allowed")
    if min(shape) < 0:
        raise _invalid(field, f"has a negative length in its shape {list(shape)}")
    # An empty axis hides the others from the byte count, yet numpy still multiplies them.
    if math.prod(length or 1 for length in shape) * itemsize > _MAX_BYTES:
        raise _invalid(field, f"has a shape {list(shape)} of more elements than memory has addresses")


def _bools(data: bytes, shape: tuple[int, ...], field: str) -> NDArray:
    values: NDArray = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    # Any other byte is a bool that is true to one reader and not equal to true to the next.
    if values.size and values.max() > 1:
        raise _invalid(field, "holds a bool byte that is neither 0 nor 1")
    return values.view(np.bool_)


def _invalid(field: str, problem: str) -> InvalidTensorError:
    return InvalidTensorError(f"{field} {problem}.", field=field)
