"""NumPy's .npy and .npz. Pickles are refused, not loaded."""

from __future__ import annotations

import functools
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from training.data.dataset import TEXT_NAMES, Array
from training.data.readers.channels import Channel, ChannelInfo, Content
from training.data.readers.named_arrays import is_ours, named_channel, texts_in
from training.data.readers.pixels import as_images
from training.data.readers.stacks import Stack, stack_of
from training.errors import InputError


def scan_npy(path: Path) -> list[Channel]:
    """One array: (h, w), (n, h, w) or (n, h, w, c).

    Raises:
        InputError: PICKLE_REFUSED.
    """
    with path.open("rb") as file:
        shape, dtype = _header(file)
    _refuse_objects(dtype, path.name)
    info = ChannelInfo("images", "", "unknown", shape)
    return [Channel(info, lambda: Content({"images": as_images(np.load(path, allow_pickle=False))}), open_stack=functools.partial(_open_stack, path))]


def scan_npz(path: Path) -> list[Channel]:
    """A data set by its named arrays or, where no name is ours, each array of two axes and more as a channel.

    Raises:
        InputError: PICKLE_REFUSED.
    """
    with zipfile.ZipFile(path) as archive:
        shapes = {}
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    shape, dtype = _header(file)
                _refuse_objects(dtype, f"{member.removesuffix('.npy')} in {path.name}")
                shapes[member.removesuffix(".npy")] = shape
    load = functools.partial(_load_member, path)
    whole = named_channel({name: shape for name, shape in shapes.items() if is_ours(name)}, texts_in(load, set(shapes) & set(TEXT_NAMES)), load)
    if whole is not None:
        return [whole]
    return [
        Channel(ChannelInfo(name, "", "unknown", shape), functools.partial(_load_image, path, name))
        for name, shape in shapes.items()
        if len(shape) >= 2
    ]


def _open_stack(path: Path) -> Stack:
    # A memory map of the whole would count every page it has touched as this process's memory; one of each run is let go after it.
    whole = np.load(path, mmap_mode="r", allow_pickle=False)
    stack = stack_of(whole, lambda: None)

    def read(start: int, stop: int) -> Array:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[start:stop])

    return replace(stack, read=read)


def _load_member(path: Path, name: str) -> Array:
    with np.load(path, allow_pickle=False) as archive:
        array: Array = archive[name]
        return array


def _load_image(path: Path, name: str) -> Content:
    return Content({"images": as_images(_load_member(path, name))})


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype


def _refuse_objects(dtype: np.dtype[np.generic], where: str) -> None:
    if dtype.hasobject:
        raise InputError("PICKLE_REFUSED", f"{where} holds Python objects (a pickle), which can run code when loaded; save plain numbers instead.")
