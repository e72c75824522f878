"""Formats that rosettasciio reads. Named one by one: its netCDF reader evaluates text from the file, and others take .h5 for their own."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.dataset import Array
from training.data.readers.channels import Channel, ChannelInfo, Content, unique_names
from training.data.readers.lengths import nm_per, pixel_size
from training.data.readers.pixels import as_images
from training.errors import InputError

READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".hspy": "hspy",
    ".mrc": "mrc",
    ".sur": "digitalsurf",
}


def scan_rosetta(path: Path) -> list[Channel]:
    """One channel for each signal of the file."""
    signals = _read(path)
    titles = [str(signal.get("metadata", {}).get("General", {}).get("title", "")) for signal in signals]
    names = unique_names(titles, [f"signal {index}" for index in range(len(signals))])
    channels = []
    for name, title, signal in zip(names, titles, signals, strict=True):
        unit = _unit(signal)
        shape = tuple(int(length) for length in np.shape(signal["data"]))
        if 0 in shape:
            raise InputError("UNREADABLE_FILE", f"The header of {path.name} declares no pixels; it is damaged or of another format: copy it again.")
        channels.append(Channel(ChannelInfo(name, title, unit, shape), functools.partial(_arrange, signal)))
    return channels


def _read(path: Path) -> list[dict[str, Any]]:
    reader = importlib.import_module(f"rsciio.{READERS[path.suffix.lower()]}").file_reader
    with warnings.catch_warnings():
        # Its MRC reader leaves the file to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        signals: list[dict[str, Any]] = reader(str(path), lazy=False)
    return signals


def _unit(signal: dict[str, Any]) -> str:
    """The unit in brackets at the end of `Signal.quantity`, as in "Intensity (counts)"."""
    quantity = str(signal.get("metadata", {}).get("Signal", {}).get("quantity", ""))
    head, bracket, tail = quantity.rpartition("(")
    return tail.rstrip(") ") if bracket and head else "unknown"


def _arrange(signal: dict[str, Any]) -> Content:
    """The signal's axes: those to navigate come first, the signal's own last."""
    array = _plain(np.asarray(signal["data"]))
    axes: Sequence[dict[str, Any]] = signal["axes"]
    own = [axis for axis in axes if not axis.get("navigate", False)]
    if len(own) == 1:
        return Content({"spectra": array.reshape(-1, len_of(array, axes))})
    size, notes = pixel_size(*(_step_nm(axis) for axis in own[-2:]))
    if array.ndim > len(axes):  # the colours of an RGB image
        return Content({"images": array.reshape(-1, *array.shape[-3:])} | size, notes)
    return Content({"images": as_images(array) if array.ndim <= 3 else array.reshape(-1, *array.shape[-2:])} | size, notes)


def len_of(array: Array, axes: Sequence[dict[str, Any]]) -> int:
    """Length of the signal's one axis."""
    return int(array.shape[len(axes) - 1])


def _plain(array: Array) -> Array:
    """RGB comes as a structured dtype; its fields become a last axis."""
    if array.dtype.names:
        return np.stack([array[name] for name in array.dtype.names], axis=-1)
    return array


def _step_nm(axis: dict[str, Any]) -> float | None:
    factor = nm_per(str(axis.get("units", "")))
    return None if factor is None or "scale" not in axis else abs(float(axis["scale"])) * factor
