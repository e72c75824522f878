"""What callers hand in as arrays that can be sent: stacked, unmasked, finite; an error names the field and the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from dichroic.errors import InvalidTensorError
from dichroic.wire import NDArray

Images: TypeAlias = NDArray | Sequence[NDArray]
Numbers: TypeAlias = NDArray | Sequence[float] | Sequence[Sequence[float]] | float
Classes: TypeAlias = NDArray | Sequence[int] | int

FLOAT32_MAX = float(np.finfo(np.float32).max)


def stacked(images: Images, field: str) -> NDArray:
    """One array of a list of arrays of one shape and dtype, or the array as it is."""
    if isinstance(images, list | tuple):
        rows = [plain(image, field) for image in images]
        kinds = sorted({f"{row.shape} {row.dtype}" for row in rows})
        if len(kinds) != 1:
            # Promoted, a uint8 image among uint16 ones would turn dark.
            problem = f"differ: {', '.join(kinds[:5])}; one call takes {field} of one shape and dtype" if kinds else "are an empty list"
            raise invalid(field, problem)
        return np.stack(rows)
    return plain(images, field)


def plain(values: object, field: str) -> NDArray:
    """An array, without a mask."""
    if isinstance(values, np.ma.MaskedArray):
        # The wire has no mask: what is under it would be taken for data.
        raise invalid(field, "are a masked array, and masks cannot be sent; fill it first with .filled(value)")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise invalid(field, f"are no array: {error}") from error


def as_float32(values: NDArray, field: str) -> NDArray:
    """float32 of the same values; the first row that is not finite, before or after, is named."""
    with np.errstate(over="ignore"):  # found below, by row
        converted = values.astype(np.float32, copy=False)
    if np.isfinite(converted).all():
        return converted
    bad = ~np.isfinite(converted.reshape(len(converted), -1)).all(axis=1)
    row = int(np.argmax(bad))
    if np.isfinite(values[row]).all():
        problem = f"has a value beyond float32 (greatest {FLOAT32_MAX:.3g}) in row {row}; choose another unit"
    else:
        problem = f"has NaN or infinity in row {row}; remove or replace it"
    raise InvalidTensorError(f"{field} {problem}.", field=field, row=row)


def invalid(field: str, problem: str) -> InvalidTensorError:
    """The error: what is wrong with the field."""
    return InvalidTensorError(f"{field} {problem}.", field=field)
