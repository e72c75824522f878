"""From an array whose axes are labelled to images in rows and columns, or to one spectrum for each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.readers.channels import Content, Sweep
from training.data.readers.lengths import axis_spacing_nm, nm_per, pixel_size
from training.data.readers.pixels import as_images
from training.errors import InputError


@dataclass(frozen=True)
class Axis:
    """One axis as the file describes it.

    Attributes:
        label: such as "x"; empty when there is none.
        kind: sidpy's dimension type ("SPATIAL", "SPECTRAL", "TEMPORAL", "RECIPROCAL", ...); empty when there is none.
        unit: of the positions.
        positions: (k,), or None when the file has none.
    """

    label: str
    kind: str
    unit: str
    positions: Array | None


def arrange(array: Array, axes: Sequence[Axis]) -> Content:
    """Rows become y and columns x, whatever the order in the file.

    Two places and nothing else: `images` (1, h, w). Two places and a spectral axis: `spectra` (h·w, l), rows first, with `position_um`
    where the file has it, and the sweep. Two places and any other axis (time, layer): `images` (n, h, w).

    Raises:
        InputError: UNSUPPORTED_SHAPE.
    """
    found = _places(axes)
    if found is None:
        return Content({"images": as_images(array)})
    others, down, right = found
    if not others:
        size, notes = pixel_size(_spacing(axes[down]), _spacing(axes[right]))
        return Content({"images": array.transpose(down, right)[None]} | size, notes)
    along = axes[others[0]]
    if along.kind == "SPECTRAL":
        spectra = array.transpose(down, right, others[0]).reshape(-1, array.shape[others[0]])
        sweep = None if along.positions is None else Sweep(along.positions, along.unit)
        return Content({"spectra": spectra} | _positions(axes[down], axes[right]), sweep=sweep)
    size, notes = pixel_size(_spacing(axes[down]), _spacing(axes[right]))
    return Content({"images": array.transpose(others[0], down, right)} | size, notes)


def stack_axes(axes: Sequence[Axis]) -> tuple[tuple[int, int, int] | None, dict[str, Array], tuple[str, ...]]:
    """What a movie's axes are, as `arrange` would order them: which are time, rows and columns (None: as they stand), pixel size and notes.

    Raises:
        InputError: UNSUPPORTED_SHAPE.
    """
    found = _places(axes)
    if found is None:
        return None, {}, ()
    others, down, right = found
    if not others or axes[others[0]].kind == "SPECTRAL":
        what = f"a spectral axis {axes[others[0]].label}" if others else "none"
        raise InputError("UNSUPPORTED_SHAPE", f"A movie has two axes of places and one of time; beside its places this array has {what}.")
    size, notes = pixel_size(_spacing(axes[down]), _spacing(axes[right]))
    return (others[0], down, right), size, notes


def _places(axes: Sequence[Axis]) -> tuple[list[int], int, int] | None:
    """The further axis, or none; rows; columns. None where no axis is of places.

    Raises:
        InputError: UNSUPPORTED_SHAPE.
    """
    places = [index for index, axis in enumerate(axes) if axis.kind == "SPATIAL" or axis.label.lower() in {"x", "y"}]
    if not places:
        places = [index for index, axis in enumerate(axes) if axis.kind == "RECIPROCAL"]
    if not places:
        return None
    others = [index for index in range(len(axes)) if index not in places]
    if len(places) != 2 or len(others) > 1:
        labels = ", ".join(f"{axis.label or '?'} ({axis.kind.lower() or 'unknown kind'})" for axis in axes)
        raise InputError("UNSUPPORTED_SHAPE", f"The array has the axes {labels}; two places and at most one further axis were expected.")
    first, second = places
    # sidpy's convention: where the labels do not say, the first place is x, across.
    rows_first = axes[first].label.lower() == "y" or axes[second].label.lower() == "x"
    down, right = (first, second) if rows_first else (second, first)
    return others, down, right


def _spacing(axis: Axis) -> float | None:
    return None if axis.positions is None else axis_spacing_nm(axis.positions, axis.unit)


def _positions(down: Axis, right: Axis) -> dict[str, Array]:
    """`position_um` (h·w, 2), x right and y down, rows first."""
    factors = (nm_per(right.unit), nm_per(down.unit))
    if right.positions is None or down.positions is None or factors[0] is None or factors[1] is None:
        return {}
    y, x = np.meshgrid(down.positions * factors[1] * 1e-3, right.positions * factors[0] * 1e-3, indexing="ij")
    return {"position_um": np.stack([x.ravel(), y.ravel()], axis=1)}
