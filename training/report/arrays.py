"""The arrays of a data set that a bundle asks for, in the shapes its graphs take; refused with what is missing where they are not there."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array, DataSet
from training.errors import InputError
from training.report.graphs import LatentGraphs


def taken(graphs: LatentGraphs, data: DataSet, name: str) -> Array:
    """Images (n, h, w[, c]) of any size, or spectra (n, l[, c]) float32 of the model's; a channel axis only where there are several.

    Raises:
        InputError: NO_IMAGES, NO_SPECTRA, CHANNELS_DIFFER, SPECTRA_DIFFER.
    """
    kind, channels = graphs.latent.input_kind, graphs.latent.channels
    values = _of_kind(data, kind)
    if values is None:
        raise InputError(f"NO_{kind.upper()}", f"{name} holds no {kind}, which this model takes; it holds {', '.join(sorted(data.arrays))}.")
    rank = 3 if kind == "images" else 2
    found = values.shape[rank] if values.ndim > rank else 1
    if found != channels:
        raise InputError("CHANNELS_DIFFER", f"{name} has {kind} of {found} channels, the model takes {channels}.")
    values = values[..., 0] if channels == 1 and values.ndim > rank else values
    if kind == "images":
        return values
    if values.shape[1] != graphs.taken_shape[0]:
        raise InputError("SPECTRA_DIFFER", f"{name} has spectra of {values.shape[1]} points, the model takes {graphs.taken_shape[0]}.")
    return values.astype(np.float32)


def outputs_of(graphs: LatentGraphs, data: DataSet, name: str) -> Array | None:
    """What a model of two kinds should draw, float32 in its unit; None for a model of one kind, and where the data does not hold it.

    Raises:
        InputError: OUTPUTS_DIFFER: in size; OUTPUTS_SCALE: integers, and no bundle says what they stand for on this side.
    """
    kind, shape = graphs.latent.output_kind, graphs.drawn.row_shape
    values = _of_kind(data, kind) if graphs.translates else None
    if values is None:
        return None
    values = values[..., 0] if values.shape[-1] == 1 and values.ndim == len(shape) + 2 else values
    if values.shape[1:] != shape:
        told, wanted = (" × ".join(map(str, size)) for size in (values.shape[1:], shape))
        raise InputError("OUTPUTS_DIFFER", f"{name} has {kind} of {told}, the model draws {wanted}; leave them out, or give those of that size.")
    if values.dtype.kind in "ui":
        raise InputError(
            "OUTPUTS_SCALE", f"{name} has {kind} as {values.dtype}; give them as real numbers in {graphs.drawn_unit}, or leave them out."
        )
    return values


def conditions_of(graphs: LatentGraphs, data: DataSet, name: str) -> Array | None:
    """The data's conditions (n, k) float32; None for a model without any.

    Raises:
        InputError: CONDITIONS_REQUIRED, CONDITIONS_SHAPE, NON_FINITE_CONDITIONS, CATEGORY_OUT_OF_RANGE.
    """
    columns = graphs.latent.conditions
    if not columns:
        return None
    wanted = ", ".join(f"{each.name} ({_categories(each.categories) or each.unit})" for each in columns)
    if "conditions" not in data.arrays:
        raise InputError(
            "CONDITIONS_REQUIRED",
            f"{name} has no array 'conditions' (n, {len(columns)}), which this model is told beside each row: {wanted}.",
        )
    with np.errstate(over="ignore"):  # what overflows is refused below
        values = _columns(data, "conditions", len(columns), wanted, name).astype(np.float32)
    for index, each in enumerate(columns):
        own = values[:, index]
        if not np.isfinite(own).all():
            row = int(np.argmin(np.isfinite(own)))
            raise InputError("NON_FINITE_CONDITIONS", f"conditions of {name}: {each.name} is {own[row]} in row {row}; every row needs a number.")
        wrong = (own < 0) | (own >= len(each.categories)) | (own != np.floor(own))
        if each.categories and wrong.any():
            row = int(np.argmax(wrong))
            told = _categories(each.categories)
            raise InputError("CATEGORY_OUT_OF_RANGE", f"conditions of {name}: {each.name} is {own[row]:g} in row {row}; its categories are {told}.")
    return values


def targets_of(graphs: LatentGraphs, data: DataSet, name: str) -> Array | None:
    """The data's targets (n, t) float64, NaN where not known; None for a model without any, and where the data has none.

    Raises:
        InputError: TARGETS_SHAPE.
    """
    columns = graphs.latent.targets
    if not columns or "targets" not in data.arrays:
        return None
    values = _columns(data, "targets", len(columns), ", ".join(f"{each.name} ({each.unit})" for each in columns), name)
    return np.where(np.isfinite(values), values, np.nan)


def _of_kind(data: DataSet, kind: str) -> Array | None:
    return data.arrays.get(kind, data.arrays.get("frames") if kind == "images" else None)


def _columns(data: DataSet, array: str, wanted: int, names: str, name: str) -> Array:
    values = data.arrays[array]
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != wanted:
        raise InputError(f"{array.upper()}_SHAPE", f"{array} of {name} have shape {data.arrays[array].shape}; this model has (n, {wanted}): {names}.")
    return values


def _categories(names: tuple[str, ...]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))
