"""Arrays in JSON: nested lists for people, base64 for programs."""

from __future__ import annotations

import base64
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dichroic.errors import InvalidFieldError, InvalidTensorError
from dichroic.v1 import array_pb2
from dichroic.wire import DTYPE_NAMES, NDArray, from_array

# Python spends about a quarter of a second on a million listed numbers, and nobody else is answered meanwhile.
MAX_LISTED = 1_000_000
NUMBERS = {name: number for number, name in DTYPE_NAMES.items()}

DType = Literal["uint8", "uint16", "int64", "float32", "float64"]


class PackedArray(BaseModel):
    """The same bytes as the protobuf Array, in base64: little-endian, row-major."""

    model_config = ConfigDict(extra="forbid")

    dtype: DType
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=1 << 63)]], Field(min_length=1, max_length=8)]
    data_base64: str


class ListedArray(BaseModel):
    """Nested lists with their element type."""

    model_config = ConfigDict(extra="forbid")

    dtype: DType
    values: list[Any]


JsonArray = Annotated[
    PackedArray | ListedArray | list[Any],
    Field(description="Nested lists (float32; class_index: int64), or {dtype, values}, or {dtype, shape, data_base64}: little-endian, row-major."),
]


def read_array(given: PackedArray | ListedArray | list[Any], *, field: str, listed: str = "float32", null_is_nan: bool = False) -> NDArray:
    """A JSON array as numpy; lists without a dtype are `listed`. `null_is_nan`: in lists of floats null is a number that JSON has not, as in answers.

    Raises:
        InvalidTensorError: ragged lists, something that is no number, numbers outside the dtype, wrong byte count, not base64.
    """
    if isinstance(given, PackedArray):
        return _unpacked(given, field)
    if isinstance(given, ListedArray):
        return _listed(given.values, given.dtype, field, null_is_nan=null_is_nan)
    return _listed(given, listed, field, null_is_nan=null_is_nan)


def write_array(values: NDArray, *, packed: bool) -> object:
    """A numpy array for JSON: nested lists, or base64."""
    if not packed:
        if values.size > MAX_LISTED:
            raise InvalidFieldError(
                f'{values.size} numbers are too many for lists ({MAX_LISTED} at most); ask with "arrays": "base64".', field="arrays"
            )
        return values.tolist()
    data = base64.b64encode(values.tobytes()).decode("ascii")
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data_base64": data}


def _unpacked(given: PackedArray, field: str) -> NDArray:
    try:
        data = base64.b64decode(given.data_base64, validate=True)
    except ValueError as error:  # also what binascii raises
        raise InvalidTensorError(f"{field}.data_base64 is not base64: {error}.", field=field) from error
    # The same bytes as on the other wire, so the same checks.
    return from_array(array_pb2.Array(dtype=NUMBERS[given.dtype], shape=given.shape, data=data), field=field)


def _listed(values: list[Any], dtype: str, field: str, *, null_is_nan: bool) -> NDArray:
    try:
        found = np.array(values)
        if null_is_nan and found.dtype == object and np.dtype(dtype).kind == "f":
            # Made anew, so that whatever else is no number is refused as it is without a null.
            found = np.array([math.nan if each is None else each for each in found.flat]).reshape(found.shape)
    except ValueError as error:
        raise InvalidTensorError(f"{field} is ragged: every list of one level needs the same length.", field=field) from error
    if found.size and found.dtype.kind not in "iuf":
        raise InvalidTensorError(f"{field} holds something that is not a number of 64 bits (null, text, true/false, or more digits).", field=field)
    wanted = np.dtype(dtype)
    if wanted.kind in "ui" and found.size:
        range_of = np.iinfo(wanted)
        if found.dtype.kind == "f" or found.min() < range_of.min or found.max() > range_of.max:
            message = f"{field} holds numbers that are not integers from {range_of.min} to {range_of.max}, as {dtype} needs."
            raise InvalidTensorError(message, field=field)
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which the engine refuses and names the row of
        return found.astype(wanted)
