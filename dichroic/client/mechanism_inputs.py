"""Mechanisms as a caller hands them in, made what the model takes before anything is sent.

Which mechanisms there must be, and in which unit, the server says: it is asked anyway. Here values become the dtype that the model's signature
names, where that loses nothing, and get one n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dichroic.client.answers import ModelInfo
from dichroic.client.conversion import as_float32, invalid, plain, stacked
from dichroic.errors import InvalidFieldError, InvalidTensorError, UnknownCategoryError
from dichroic.wire import NDArray

# An array, a list of images, rows of numbers, names of categories, or one row for all.
Values: TypeAlias = NDArray | Sequence[Any] | float | str
Mechanisms: TypeAlias = Mapping[str, Values]
Units: TypeAlias = Mapping[str, str]

CAPABILITY = "predict"


@dataclass(frozen=True)
class Taken:
    """How a model takes one mechanism.

    Attributes:
        dtypes: numpy's names of the element types; an image has several.
        row_shape: of one row; -1 never stands in it.
        categories: of a category, in the order of the index.
    """

    dtypes: frozenset[str]
    row_shape: tuple[int, ...]
    categories: tuple[str, ...]


def taken_by(info: ModelInfo | None) -> dict[str, Taken]:
    """How a model takes its mechanisms, by name; nothing where it has none, or is not known."""
    specs = [spec for signature in info.signatures if signature.name.split(".")[0] == CAPABILITY for spec in signature.inputs] if info else []
    categories: dict[str, tuple[str, ...]] = {}
    if info is not None:
        told = info.manifest.get("mechanism", {}).get("mechanisms", [])
        categories = {mechanism["name"]: tuple(mechanism.get("categories", ())) for mechanism in told}
    dtypes: dict[str, set[str]] = {}
    for spec in specs:
        dtypes.setdefault(spec.name, set()).add(spec.dtype)
    return {spec.name: Taken(frozenset(dtypes[spec.name]), spec.shape[1:], categories.get(spec.name, ())) for spec in specs}


def gathered(inputs: Mechanisms | None, named: Mechanisms, field: str = "inputs") -> dict[str, Values]:
    """What was given as a dictionary and what by name, together.

    Raises:
        InvalidFieldError: nothing was given, or a mechanism twice.
    """
    found = dict(inputs or {})
    if twice := sorted(found.keys() & named.keys()):
        raise InvalidFieldError(f"{', '.join(twice)} is given twice: in the dictionary and by name.", field=field)
    found |= named
    if not found:
        raise InvalidFieldError("No mechanism is given; give each one's values by its name.", field=field)
    return found


def has_names(given: Mechanisms) -> bool:
    """Whether a category is given by its name."""
    return any(plain(values, name).dtype.kind == "U" for name, values in given.items() if not _of_arrays(values))


def checked_mechanisms(given: Mechanisms, taken: Mapping[str, Taken]) -> dict[str, NDArray]:
    """Mechanisms as they are sent, n rows each.

    Args:
        given: by mechanism. With the batch axis, always of images and spectra; of the others one row without it stands for every row. A
            category may be named instead of numbered.
        taken: as taken_by. What is not in it is sent as numpy has it.

    Raises:
        InvalidTensorError: values that cannot become what the model takes without loss, not finite, or of different n.
        UnknownCategoryError: the name of a category that the model does not have.
    """
    arrays = {name: _converted(values, name, taken[name]) if name in taken else _as_it_is(values, name) for name, values in given.items()}
    rows = {name: len(values) for name, values in arrays.items() if name not in taken or values.ndim == 1 + len(taken[name].row_shape)}
    if len(set(rows.values())) > 1:
        raise invalid(next(iter(rows)), f"and the other mechanisms differ in rows: {rows}; give each the same n, or one row for all")
    n = next(iter(rows.values()), 1)
    if n == 0:
        raise invalid(next(iter(rows)), "has no rows")
    # A view that repeats: nothing is copied before it is sent.
    return {name: values if name in rows else np.broadcast_to(values, (n, *values.shape)) for name, values in arrays.items()}


def checked_units(units: Units | None, given: Mechanisms) -> dict[str, str]:
    """The units that are declared.

    Raises:
        InvalidFieldError: the unit of something that is not given.
    """
    if stray := sorted((units or {}).keys() - given.keys()):
        raise InvalidFieldError(f"The unit of {', '.join(stray)} is declared, but no values are given for it.", field="units")
    return dict(units or {})


def checked_measurements(y: Values, field: str = "y") -> NDArray:
    """Measured values as they are sent: (n,) float64, from that many real numbers, or one.

    Raises:
        InvalidTensorError: another shape, not a real number, NaN or infinity; `row` says which.
    """
    values = plain(y, field)
    if values.dtype.kind not in "uif" or values.ndim > 1 or values.size == 0:
        raise invalid(field, f"has dtype {values.dtype} and shape {values.shape}; give real numbers, (n,) or a single one")
    return _finite(np.atleast_1d(values).astype(np.float64), field)


def checked_index(candidate_index: Values) -> NDArray:
    """Indices of candidates as they are sent: (n,) int64 from 0 on.

    Raises:
        InvalidTensorError: another shape, not whole, or below 0.
    """
    values = plain(candidate_index, "candidate_index")
    if values.dtype.kind not in "ui" or values.ndim > 1 or values.size == 0 or values.min() < 0:
        raise invalid("candidate_index", f"has dtype {values.dtype} and shape {values.shape}; give whole numbers from 0, (n,) or a single one")
    return np.atleast_1d(values).astype(np.int64)


def _converted(values: Values, name: str, taken: Taken) -> NDArray:
    array = stacked(values, name) if _of_arrays(values) else plain(values, name)  # type: ignore[arg-type]  # a list of arrays, as was just seen
    if array.dtype.kind == "U" and taken.categories:
        array = _numbered(array, name, taken.categories)
    array = _shaped(array, name, taken)
    if array.dtype.kind not in "uif":
        raise invalid(name, f"has dtype {array.dtype}; give real numbers")
    if "int64" in taken.dtypes:
        if array.dtype.kind == "f":
            raise invalid(name, f"has dtype {array.dtype}; a category is its index, a whole number, or its name")
        return array.astype(np.int64)
    if "float64" in taken.dtypes:
        values = array.astype(np.float64)
        return _finite(values, name) if values.ndim > len(taken.row_shape) else _finite(values[None], name)[0]
    if array.dtype.kind == "u" and array.dtype.name in taken.dtypes:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind != "f" and "uint8" in taken.dtypes:
        raise invalid(name, f"has dtype {array.dtype}; give images as uint8, uint16, or floats in the training data's unit")
    return as_float32(array, name)


def _of_arrays(values: Values) -> bool:
    return isinstance(values, list | tuple) and any(isinstance(row, np.ndarray) and row.ndim for row in values)


def _shaped(array: NDArray, name: str, taken: Taken) -> NDArray:
    """With the batch axis, or one row of what is no image and no spectrum."""
    axes = 1 + len(taken.row_shape)
    numbers = "float64" in taken.dtypes or "int64" in taken.dtypes
    if array.ndim == axes or (numbers and array.shape == taken.row_shape and taken.row_shape != (1,)):
        return array
    if numbers and taken.row_shape == (1,) and array.ndim < axes:
        return array[..., None]  # one column: (n,) is n rows of it, a number one row
    wanted = f"(n, {', '.join(map(str, taken.row_shape))})" if taken.row_shape else "(n,)"
    hint = f"; one alone goes as {name}[None]" if array.ndim == axes - 1 and not numbers else ""
    raise invalid(name, f"has shape {array.shape}; expected {wanted}{hint}")


def _numbered(names: NDArray, field: str, categories: tuple[str, ...]) -> NDArray:
    numbers = {category: number for number, category in enumerate(categories)}
    for row, name in enumerate(np.atleast_1d(names).ravel().tolist()):
        if name not in numbers:
            raise UnknownCategoryError(f"{field} is {name!r} in row {row}; the model has {', '.join(categories)}.", field=field, row=row)
    return np.vectorize(numbers.__getitem__, otypes=[np.int64])(names) if names.size else names.astype(np.int64)


def _as_it_is(values: Values, name: str) -> NDArray:
    """Of a mechanism that is not known here: the server will say."""
    array = plain(values, name)
    if array.dtype.kind not in "uif" or array.ndim == 0:
        raise invalid(name, f"has dtype {array.dtype} and shape {array.shape}; give an array of real numbers, its first axis the rows")
    if array.dtype.kind == "f":
        return _finite(array.astype(np.float64) if array.dtype.itemsize > 4 else array.astype(np.float32), name)
    return array if array.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)) else array.astype(np.int64)


def _finite(values: NDArray, field: str) -> NDArray:
    if np.isfinite(values).all():
        return values
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    row = int(np.argmax(bad))
    raise InvalidTensorError(f"{field} has NaN or infinity in row {row}; remove or replace it.", field=field, row=row)
