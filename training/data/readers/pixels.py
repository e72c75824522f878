"""Arrays as files hold them → arrays as models take them: dtype, layout, finiteness, row counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from training.data.dataset import COMPANION_NAMES, CONTENT_NAMES, TRUTH_PREFIX, Array
from training.errors import InputError

_AXES = {
    "images": ("image", "row", "column", "channel"),
    "frames": ("frame", "row", "column", "channel"),
    "spectra": ("spectrum", "point", "channel"),
}


def as_images(array: Array) -> Array:
    """(h, w) → (1, h, w); (n, h, w) and (n, h, w, c) stay.

    Raises:
        InputError: UNSUPPORTED_SHAPE.
    """
    if array.ndim == 2:
        return array[None]
    if array.ndim in (3, 4):
        return array
    raise InputError("UNSUPPORTED_SHAPE", f"Images are (h, w), (n, h, w) or (n, h, w, c); this array has shape {array.shape}.")


def check_arrays(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    """Every array in the dtype a DataSet promises, contiguous and in this machine's byte order.

    Args:
        arrays: by the names of DataSet.arrays.
        name: the file's name, for messages.

    Raises:
        InputError: UNSUPPORTED_DTYPE, UNSUPPORTED_SHAPE, NON_FINITE_PIXELS or ROW_COUNT.
    """
    checked: dict[str, Array] = {}
    for key, array in arrays.items():
        if key in CONTENT_NAMES:
            checked[key] = _pixels(array, key, name)
        elif key == "labels":
            checked[key] = _labels(array, name)
        elif key == "group":
            checked[key] = _group(array, name)
        elif key.startswith(TRUTH_PREFIX) and array.dtype.kind in "biu":
            checked[key] = np.ascontiguousarray(array)
        else:
            checked[key] = _real(array, f"`{key}` in {name}").astype(np.float64)
    rows = {key: len(checked[key]) for key in CONTENT_NAMES if key in checked}
    count = next(iter(rows.values()))
    rows |= {key: len(checked[key]) for key in checked if key in COMPANION_NAMES and checked[key].ndim > 0}
    wrong = {key: length for key, length in rows.items() if length != count}
    if wrong:
        others = ", ".join(f"{length} of {key}" for key, length in wrong.items())
        raise InputError("ROW_COUNT", f"{name} has {count} rows of {next(iter(rows))}, but {others}; every array needs one row for each of them.")
    return checked


def _pixels(array: Array, key: str, name: str) -> Array:
    where = f"`{key}` in {name}"
    least = 3 if key != "spectra" else 2
    if array.ndim not in (least, least + 1) or 0 in array.shape:
        axes = ", ".join(_AXES[key])
        raise InputError("UNSUPPORTED_SHAPE", f"{where} has shape {array.shape}; the axes are ({axes}), the last one optional, none of them empty.")
    real = _real(array, where)
    if array.dtype.kind == "b":
        real = real * np.uint8(255)  # true is the greatest value there is, as in any other integer image
    if real.dtype.kind == "u" and real.dtype.itemsize <= 2:
        return np.ascontiguousarray(real, dtype=real.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is reported below
        narrow = np.ascontiguousarray(real, dtype=np.float32)
    bad = ~np.isfinite(narrow)
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), bad.shape)
        place = ", ".join(f"{axis} {index}" for axis, index in zip(_AXES[key], first, strict=False))
        raise InputError(
            "NON_FINITE_PIXELS",
            f"{where} has {int(bad.sum())} values that are NaN, infinite or beyond float32, of {bad.size}; the first is at {place} "
            "(counted from 0). Crop the file, or replace them, for example by the median of their neighbours.",
        )
    return narrow


def _real(array: Array, where: str) -> Array:
    if array.dtype.kind == "c":
        raise InputError("UNSUPPORTED_DTYPE", f"{where} is complex; save its amplitude or its phase and give that.")
    if array.dtype.kind not in "biuf":
        raise InputError("UNSUPPORTED_DTYPE", f"{where} has dtype {array.dtype}; numbers were expected. Objects (pickles) are never loaded.")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _labels(array: Array, name: str) -> Array:
    if array.dtype.kind not in "biu" or array.ndim != 1:
        raise InputError("UNSUPPORTED_DTYPE", f"`labels` in {name} are (n,) integers, -1 for unlabelled, not {array.dtype} of shape {array.shape}.")
    return array.astype(np.int64)


def _group(array: Array, name: str) -> Array:
    if array.ndim != 1:
        raise InputError("UNSUPPORTED_SHAPE", f"`group` in {name} has shape {array.shape}; one name or number for each image (n,) was expected.")
    return np.ascontiguousarray(array)
