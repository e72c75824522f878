"""What a caller hands in, checked before anything is sent: an error here costs no round trip and names the row.

The rule for images: there is always a batch axis, (n, h, w) or (n, h, w, c); a list of n images of one shape counts as one. A single image
without it is refused, because (h, w, c) cannot be told from (n, h, w). Likewise for spectra, (n, l) or (n, l, c). Answers have the batch axis too.
"""

from __future__ import annotations

import numpy as np

from dichroic.client.conversion import Classes, Images, Numbers, as_float32, invalid, plain, stacked
from dichroic.errors import InvalidFieldError, InvalidTensorError
from dichroic.wire import NDArray


def checked_images(images: Images) -> NDArray:
    """Images as they are sent.

    Args:
        images: (n, h, w) or (n, h, w, c), or a sequence of n images (h, w) or (h, w, c); uint8, uint16, or any float.

    Returns:
        The same values as uint8, uint16 or float32, native byte order.

    Raises:
        InvalidTensorError: another dtype, another number of axes, no rows, NaN, infinity, or a value beyond float32.
    """
    values = stacked(images, "images")
    if values.dtype.kind not in "uf" or (values.dtype.kind == "u" and values.dtype.itemsize > 2):
        raise invalid(
            "images",
            f"have dtype {values.dtype}; give float32 in the training data's unit (images.astype('float32')), or uint8 or uint16 "
            "as the model's `preprocessing.integer_images` says: for most, their greatest value is the top of the training range",
        )
    if values.ndim not in (3, 4):
        hint = "; a single image gets its batch axis by [image] or image[None]" if values.ndim == 2 else ""
        raise invalid("images", f"have {values.ndim} axes; expected (n, h, w), or (n, h, w, c) for several channels{hint}")
    if 0 in values.shape:
        raise invalid("images", f"have shape {values.shape}: there is nothing in them")
    if values.dtype.kind == "u":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    return as_float32(values, "images")


def checked_spectra(spectra: Images) -> NDArray:
    """Spectra as they are sent: (n, l) or (n, l, c) float32, from such an array of any real numbers, or a sequence of n of (l,) or (l, c).

    Raises:
        InvalidTensorError: another number of axes, no rows, not a real number, NaN, infinity, or a value beyond float32.
    """
    values = stacked(spectra, "spectra")
    if values.dtype.kind not in "uif":
        raise invalid("spectra", f"have dtype {values.dtype}; give real numbers")
    if values.ndim not in (2, 3):
        hint = "; a single spectrum gets its batch axis by [spectrum] or spectrum[None]" if values.ndim == 1 else ""
        raise invalid("spectra", f"have {values.ndim} axes; expected (n, l), or (n, l, c) for several channels{hint}")
    if 0 in values.shape:
        raise invalid("spectra", f"have shape {values.shape}: there is nothing in them")
    return as_float32(values, "spectra")


def checked_data(images: Images | None, spectra: Images | None, conditions: Numbers | None) -> dict[str, NDArray]:
    """Images or spectra as they are sent, by field name, and with them conditions: (n, k), or (k,) for every row.

    Raises:
        InvalidFieldError: neither images nor spectra, or both.
        InvalidTensorError: as checked_images and checked_spectra; conditions that are no real numbers, or have another n.
    """
    if (images is None) == (spectra is None):
        problem = "both are given" if images is not None else "neither is given"
        raise InvalidFieldError(f"Give images or spectra, whichever the model takes; {problem}.", field="images")
    data = {"images": checked_images(images)} if images is not None else {}
    if spectra is not None:
        data["spectra"] = checked_spectra(spectra)
    if conditions is None:
        return data
    return _with_equal_rows(data | {"conditions": _latent(conditions, "conditions", 2)}, {"conditions": 2})


def checked_latents(
    *,
    content: Numbers | None = None,
    angle_rad: Numbers | None = None,
    scale: Numbers | None = None,
    shift_down_px: Numbers | None = None,
    shift_right_px: Numbers | None = None,
    class_index: Classes | None = None,
    conditions: Numbers | None = None,
    targets: Numbers | None = None,
) -> dict[str, NDArray]:
    """Latents as they are sent: those that are given, each with n rows; none where nothing is given.

    Args:
        content: (n, d), or (d,) to be used for every row.
        angle_rad: (n,) or one number for every row; radians, counter-clockwise.
        scale: (n,) or one number for every row; > 0.
        shift_down_px: (n,) or one number for every row; pixels towards higher row numbers.
        shift_right_px: (n,) or one number for every row; pixels towards higher column numbers.
        class_index: (n,) or one whole number for every row; >= 0.
        conditions: (n, k), or (k,) to be used for every row.
        targets: (n, t), or (t,) to be used for every row; in their units.

    Returns:
        float32 arrays by field name, class_index int64. n is 1 when nothing has a batch axis.

    Raises:
        InvalidTensorError: a wrong number of axes, different n, no rows, not a real number, NaN, infinity or beyond float32; scale <= 0; a class
            that is no whole number from 0 on.
    """
    given = {
        "content": (content, 2),
        "angle_rad": (angle_rad, 1),
        "scale": (scale, 1),
        "shift_down_px": (shift_down_px, 1),
        "shift_right_px": (shift_right_px, 1),
        "conditions": (conditions, 2),
        "targets": (targets, 2),
    }
    arrays = {name: _latent(values, name, axes) for name, (values, axes) in given.items() if values is not None}
    if class_index is not None:
        arrays["class_index"] = _classes(class_index)
    return _with_equal_rows(arrays, {name: axes for name, (_, axes) in given.items()} | {"class_index": 1})


def _with_equal_rows(arrays: dict[str, NDArray], axes: dict[str, int]) -> dict[str, NDArray]:
    """The arrays with n rows each. `axes`: how many axes an array has that brings its own rows; one axis fewer is one row for all."""
    rows = {name: len(values) for name, values in arrays.items() if values.ndim == axes.get(name, values.ndim)}
    if len(set(rows.values())) > 1:
        raise invalid(next(iter(rows)), f"and the other arrays differ in rows: {rows}; give each the same n, or one value for all rows")
    n = next(iter(rows.values()), 1)
    if n == 0:
        raise invalid(next(iter(rows)), "has no rows")
    # A view that repeats: nothing is copied before it is sent.
    return {name: values if name in rows else np.broadcast_to(values, (n, *values.shape)) for name, values in arrays.items()}


def _classes(values: Classes) -> NDArray:
    array = plain(values, "class_index")
    if array.dtype.kind not in "ui" or array.ndim > 1:
        raise invalid("class_index", f"has dtype {array.dtype} and shape {array.shape}; give whole numbers, (n,) or a single one")
    if array.size and array.min() < 0:
        raise invalid("class_index", f"is {array.min()}; classes are counted from 0")
    return array.astype(np.int64)


def _latent(values: Numbers, field: str, axes: int) -> NDArray:
    array = plain(values, field)
    if array.dtype.kind not in "uif":
        raise invalid(field, f"has dtype {array.dtype}; give real numbers")
    if array.ndim not in (axes, axes - 1):
        wide = {"conditions": "k", "targets": "t"}.get(field, "d")
        shape = f"(n, {wide}) or ({wide},)" if axes == 2 else "(n,) or a single number"
        raise invalid(field, f"has shape {array.shape}; expected {shape}")
    checked = as_float32(array if array.ndim == axes else array[None], field)
    if field == "scale" and checked.size and checked.min() <= 0:
        row = int(np.argmax(checked <= 0))
        raise InvalidTensorError(f"scale is {checked[row]} in row {row}; it must be above 0.", field=field, row=row)
    return checked if array.ndim == axes else checked[0]
