"""zarr: a folder (.zarr) or the same zipped (.zarr.zip), versions 2 and 3, plain or OME-Zarr."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore, ZipStore

from training.data.dataset import TEXT_NAMES, Array
from training.data.readers.channels import Channel, ChannelInfo, Content, unique_names
from training.data.readers.lengths import nm_per, pixel_size
from training.data.readers.named_arrays import is_ours, named_channel
from training.data.readers.pixels import as_images
from training.data.readers.stacks import MOVIE_NAMES, Stack, movie_order, stack_of
from training.errors import InputError


def scan_zarr(path: Path) -> list[Channel]:
    """Numeric arrays of two axes and more; of an OME-Zarr pyramid the finest level, one channel for each of its own.

    Raises:
        InputError: PICKLE_REFUSED.
    """
    with _opened(path) as root:
        if isinstance(root, zarr.Array):
            _refuse_pickle(root, path.name)
            return [Channel(_info("images", root), functools.partial(_load, path, ""), open_stack=functools.partial(_open_stack, path, ""))]
        # Sorted by name: a store lists its members in any order.
        members = sorted(root.members(max_depth=None), key=lambda member: member[0])
        arrays = {name: item for name, item in members if isinstance(item, zarr.Array)}
        for name, item in arrays.items():
            _refuse_pickle(item, f"{name} in {path.name}")
        pyramid = _pyramid(root)
        if pyramid is not None:
            return _pyramid_channels(path, root, pyramid)
        texts = {name: str(root.attrs[name]) for name in TEXT_NAMES if name in root.attrs}
        whole = named_channel({name: item.shape for name, item in arrays.items() if is_ours(name)}, texts, functools.partial(_read, path))
        if whole is not None:
            frames = next((name for name in MOVIE_NAMES if name in arrays), None)
            return [whole if frames is None else replace(whole, open_stack=functools.partial(_open_stack, path, frames))]
        found = {name: item for name, item in arrays.items() if item.ndim >= 2 and item.dtype.kind in "biufc"}
        quantities = [str(item.attrs.get("quantity", "")) for item in found.values()]
        names = unique_names(quantities, list(found))
        return [
            Channel(_info(name, found[key]), functools.partial(_load, path, key), open_stack=functools.partial(_open_stack, path, key))
            for name, key in zip(names, found, strict=True)
        ]


def _store(path: Path) -> LocalStore | ZipStore:
    return LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r", read_only=True)


@contextmanager
def _opened(path: Path) -> Iterator[zarr.Array[Any] | zarr.Group]:
    store = _store(path)
    try:
        yield zarr.open(store=store, mode="r")
    finally:
        store.close()


def _info(name: str, item: zarr.Array[Any]) -> ChannelInfo:
    unit = str(item.attrs.get("units", item.attrs.get("unit", "unknown")))
    return ChannelInfo(name, str(item.attrs.get("quantity", "")), unit, item.shape)


def _refuse_pickle(item: zarr.Array[Any], where: str) -> None:
    # A pickle filter runs code even where the dtype is a number. zarr itself refuses it since 3.1, not before. As json because filters
    # nest differently in versions 2 and 3 of the format.
    if item.dtype.kind == "O" or "pickle" in json.dumps(item.metadata.to_dict(), default=str).lower():
        raise InputError("PICKLE_REFUSED", f"{where} holds Python objects (a pickle), which can run code when loaded; save plain numbers instead.")


def _read(path: Path, name: str) -> Array:
    with _opened(path) as root:
        item = root if isinstance(root, zarr.Array) else root[name]
        array: Array = np.asarray(item[...])  # type: ignore[index]
        return array


def _load(path: Path, name: str) -> Content:
    return Content({"images": as_images(_read(path, name))})


def _open_stack(path: Path, name: str, **arrangement: Any) -> Stack:
    """The frames of one array; `arrangement` as stack_of's. Our own names bring their pixel size along."""
    store = _store(path)
    root = zarr.open(store=store, mode="r")
    if isinstance(root, zarr.Array):
        return stack_of(root, store.close, **arrangement)
    if name in MOVIE_NAMES and "pixel_size_nm" in root:
        arrangement["pixel_size_nm"] = {"pixel_size_nm": np.asarray(root["pixel_size_nm"][...])}  # type: ignore[index]
    return stack_of(root[name], store.close, **arrangement)


def _pyramid(root: zarr.Group) -> dict[str, Any] | None:
    """OME-Zarr's description of the image: under `ome` since version 0.5."""
    facts: dict[str, Any] = root.attrs.asdict()
    inner = facts.get("ome", facts)
    scales = inner.get("multiscales") if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) and isinstance(scales, list) and scales else None


def _pyramid_channels(path: Path, root: zarr.Group, facts: dict[str, Any]) -> list[Channel]:
    scale = facts["multiscales"][0]
    finest = scale["datasets"][0]
    shape = next(item.shape for name, item in root.arrays() if name == finest["path"])
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scale["axes"]]
    letters = [str(axis["name"]) for axis in axes]
    steps = next((list(t["scale"]) for t in finest.get("coordinateTransformations", []) if t.get("type") == "scale"), None)
    factors = [nm_per(str(axis.get("unit", ""))) for axis in axes]
    spacing = {
        letter: None if steps is None or factor is None else steps[index] * factor
        for index, (letter, factor) in enumerate(zip(letters, factors, strict=True))
    }
    size, notes = pixel_size(spacing.get("y"), spacing.get("x"))
    channel_axis = letters.index("c") if "c" in letters else None
    count = 1 if channel_axis is None else shape[channel_axis]
    labels = [str(channel.get("label", "")) for channel in facts.get("omero", {}).get("channels", [])]
    labels = labels if len(labels) == count else [""] * count
    names = unique_names(labels, [f"channel {index}" for index in range(count)])

    def load(index: int) -> Content:
        array = _read(path, finest["path"])
        if channel_axis is not None:
            array = array.take(index, axis=channel_axis)
        # OME-Zarr's axes are always in the order t, c, z, y, x.
        return Content({"images": array.reshape(-1, *array.shape[-2:])} | size, notes)

    def open_stack(index: int) -> Stack:
        taken = {} if channel_axis is None else {channel_axis: index}
        order, others = movie_order(shape, [axis for axis in range(len(shape) - 2) if axis != channel_axis], (len(shape) - 2, len(shape) - 1))
        return _open_stack(path, finest["path"], order=order, taken=taken | others, pixel_size_nm=size, notes=notes)

    infos = [ChannelInfo(name, label, "unknown", shape) for name, label in zip(names, labels, strict=True)]
    return [Channel(info, functools.partial(load, index), open_stack=functools.partial(open_stack, index)) for index, info in enumerate(infos)]
