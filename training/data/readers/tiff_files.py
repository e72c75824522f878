"""TIFF through tifffile: pages, channels, and the pixel sizes that ImageJ and OME write."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import tifffile
import zarr

from training.data.readers.channels import Channel, ChannelInfo, Content, unique_names
from training.data.readers.lengths import nm_per, pixel_size
from training.data.readers.stacks import Stack, movie_order, stack_of
from training.errors import InputError


def scan_tiff(path: Path) -> list[Channel]:
    """One channel for each channel axis entry of each series; samples of a pixel (RGB) stay together as the last axis."""
    with tifffile.TiffFile(path) as file:
        channels = []
        for number, series in enumerate(file.series):
            count = series.shape[series.axes.index("C")] if "C" in series.axes else 1
            labels = _labels(file, number, count)
            prefix = f"series {number}" if len(file.series) > 1 else ""
            paths = [" ".join(filter(None, (prefix, f"channel {index}" if count > 1 else ""))) or "images" for index in range(count)]
            names = unique_names(labels, paths) if not prefix else paths
            for index, (name, label) in enumerate(zip(names, labels, strict=True)):
                info = ChannelInfo(name, label, "unknown", tuple(series.shape))
                open_stack = functools.partial(_open_stack, path, number, index)
                channels.append(Channel(info, functools.partial(_load, path, number, index), open_stack=open_stack))
        return channels


def _load(path: Path, number: int, index: int) -> Content:
    with tifffile.TiffFile(path) as file:
        series = file.series[number]
        axes = series.axes
        if "Y" not in axes or "X" not in axes:
            raise InputError("UNSUPPORTED_SHAPE", f"Series {number} of {path.name} has the axes {axes}; Y and X were expected.")
        array = series.asarray()
        size, notes = pixel_size(*_spacing_nm(file, number))
    if "C" in axes:
        array = array.take(index, axis=axes.index("C"))
        axes = axes.replace("C", "")
    samples = "S" in axes
    rest = [k for k, axis in enumerate(axes) if axis not in "YXS"]
    order = [*rest, axes.index("Y"), axes.index("X"), *([axes.index("S")] if samples else [])]
    array = array.transpose(order)
    return Content({"images": array.reshape(-1, *array.shape[len(rest) :])} | size, notes)


def _open_stack(path: Path, number: int, index: int) -> Stack:
    """Page by page, through tifffile's view of a series as a zarr array."""
    file = tifffile.TiffFile(path)
    try:
        series = file.series[number]
        axes = series.axes
        image = [axes.index(axis) for axis in "YXS" if axis in axes]
        leading = [k for k, axis in enumerate(axes) if axis not in "YXSC"]
        order, taken = movie_order(series.shape, leading, image)
        size, notes = pixel_size(*_spacing_nm(file, number))
        pages = zarr.open(store=series.aszarr(level=0), mode="r")
        taken |= {axes.index("C"): index} if "C" in axes else {}
        return stack_of(pages, file.close, order=order, taken=taken, pixel_size_nm=size, notes=notes)
    except BaseException:
        file.close()
        raise


def _ome_pixels(file: tifffile.TiffFile, number: int) -> dict[str, Any]:
    """The attributes of <Pixels> of one image; empty when the file is not OME-TIFF."""
    if not file.is_ome or file.ome_metadata is None:
        return {}
    images = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", [])
    images = images if isinstance(images, list) else [images]
    pixels = images[number].get("Pixels", {}) if number < len(images) else {}
    return pixels if isinstance(pixels, dict) else {}


def _labels(file: tifffile.TiffFile, number: int, count: int) -> list[str]:
    entries = _ome_pixels(file, number).get("Channel", [])
    labels = [str(entry.get("Name", "")) for entry in (entries if isinstance(entries, list) else [entries])]
    if not any(labels) and file.imagej_metadata is not None:
        found = file.imagej_metadata.get("Labels", [])
        labels = [str(label) for label in (found if isinstance(found, list) else [found])]
    return labels if len(labels) == count else [""] * count


def _spacing_nm(file: tifffile.TiffFile, number: int) -> tuple[float | None, float | None]:
    """Spacing down and right. A plain TIFF's resolution is the printer's, not the microscope's, and is not believed."""
    ome = _ome_pixels(file, number)
    if ome:
        sizes = []
        for axis in "YX":
            factor = nm_per(str(ome.get(f"PhysicalSize{axis}Unit", "µm")))
            value = ome.get(f"PhysicalSize{axis}")
            sizes.append(None if factor is None or value is None else float(value) * factor)
        return sizes[0], sizes[1]
    factor = nm_per(str((file.imagej_metadata or {}).get("unit", "")))
    tags = file.series[number].keyframe.tags
    if factor is None or "XResolution" not in tags or "YResolution" not in tags:
        return None, None
    down, right = (tags[name].value for name in ("YResolution", "XResolution"))  # pixels per unit, as a fraction
    return (factor * down[1] / down[0] if down[0] else None), (factor * right[1] / right[0] if right[0] else None)
