"""HDF5: the pyNSID layout with its labelled axes, plain files, and files with a DataSet's names at the root."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np

from training.data.dataset import TEXT_NAMES, Array
from training.data.readers.channels import Channel, ChannelInfo, Content, unique_names
from training.data.readers.labelled_axes import Axis, arrange, stack_axes
from training.data.readers.named_arrays import is_ours, named_channel
from training.data.readers.pixels import as_images
from training.data.readers.stacks import MOVIE_NAMES, Stack, stack_of


def scan_hdf5(path: Path) -> list[Channel]:
    """Numeric datasets of two axes and more; only those with a `quantity` where any has one."""
    with h5py.File(path, "r") as file:
        whole = _named(path, file)
        if whole is not None:
            return [whole]
        found: list[h5py.Dataset] = []
        # visititems follows hard links alone, so it neither loops nor leaves the file.
        file.visititems(lambda _, item: found.append(item) if _is_data(item) else None)
        if any("quantity" in item.attrs for item in found):
            found = [item for item in found if "quantity" in item.attrs]
        quantities = [_text(item, "quantity") for item in found]
        names = unique_names(quantities, [item.name.lstrip("/") for item in found])
        return [
            Channel(
                ChannelInfo(name, quantity, _text(item, "units") or "unknown", item.shape),
                functools.partial(_load, path, item.name),
                open_stack=functools.partial(_open_stack, path, item.name),
            )
            for name, quantity, item in zip(names, quantities, found, strict=True)
        ]


def _is_data(item: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "biufc" and not item.is_scale


def _text(item: h5py.Dataset, name: str) -> str:
    value = item.attrs.get(name, "")
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _named(path: Path, file: h5py.File) -> Channel | None:
    shapes = {name: item.shape for name, item in file.items() if is_ours(name) and isinstance(item, h5py.Dataset)}
    content = next((name for name in shapes if len(shapes[name]) >= 2 and name in ("images", "spectra", "frames")), None)
    texts = {name: _text(file[content], name) for name in ("quantity", "source")} | {"unit": _text(file[content], "units")} if content else {}
    texts |= {name: str(file.attrs[name]) for name in TEXT_NAMES if name in file.attrs}
    whole = named_channel(shapes, {name: text for name, text in texts.items() if text}, functools.partial(_read, path))
    frames = next((name for name in MOVIE_NAMES if name in shapes), None)
    return whole if whole is None or frames is None else replace(whole, open_stack=functools.partial(_open_stack, path, frames))


def _read(path: Path, name: str) -> Array:
    with h5py.File(path, "r") as file:
        array: Array = np.asarray(file[name][()])
        return array


def _load(path: Path, name: str) -> Content:
    with h5py.File(path, "r") as file:
        item = file[name]
        axes = [_axis(item, index) for index in range(item.ndim)]
        array = np.asarray(item[()])
    if any(axis.label or axis.kind for axis in axes):
        return arrange(array, axes)
    return Content({"images": as_images(array)})


def _open_stack(path: Path, name: str) -> Stack:
    file = h5py.File(path, "r")
    try:
        item = file[name]
        axes = [_axis(item, index) for index in range(item.ndim)]
        order, size, notes = stack_axes(axes) if any(axis.label or axis.kind for axis in axes) else (None, {}, ())
        if name in MOVIE_NAMES and "pixel_size_nm" in file:
            size = {"pixel_size_nm": np.asarray(file["pixel_size_nm"][()])}
        return stack_of(item, file.close, order=order, pixel_size_nm=size, notes=notes)
    except BaseException:
        file.close()
        raise


def _axis(item: h5py.Dataset, index: int) -> Axis:
    """One axis of a dataset, by its first dimension scale where it has one."""
    dimension = item.dims[index]
    scales = dimension.values()
    if not scales:
        return Axis(dimension.label, "", "", None)
    scale = scales[0]
    # sidpy writes the kind in upper case since 0.12 and as DimensionType.SPATIAL before.
    kind = _text(scale, "dimension_type").rpartition(".")[2].upper()
    return Axis(dimension.label or _text(scale, "name"), kind, _text(scale, "units"), np.asarray(scale[()]))
