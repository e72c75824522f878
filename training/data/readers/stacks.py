"""A movie's array as its file holds it: opened, not read; any run of its frames on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.data.dataset import Array
from training.errors import InputError

# Which of a DataSet's arrays is the movie, where a file has our names at its root.
MOVIE_NAMES = ("frames", "images")


@dataclass(frozen=True)
class Stack:
    """An open array (t, h, w[, c]) of a file; `close` closes the file.

    Attributes:
        shape: (t, h, w) or (t, h, w, c).
        dtype: as stored.
        read: start and stop to the frames (n, h, w[, c]) between them, as stored.
        close: frees the file.
        chunk_frames: so many frames are stored as one piece, and decoded together; 1 where each is on its own.
        chunk_bytes: what one piece takes when it is decoded; 0 where nothing is.
        pixel_size_nm: side of a pixel, nm; None where the file does not say.
        notes: what a person should know about how it is read.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int, int], Array] = field(repr=False)
    close: Callable[[], None] = field(repr=False)
    chunk_frames: int = 1
    chunk_bytes: int = 0
    pixel_size_nm: float | None = None
    notes: tuple[str, ...] = ()


def stack_of(
    item: Any,
    close: Callable[[], None],
    *,
    order: Sequence[int] | None = None,
    taken: Mapping[int, int] | None = None,
    pixel_size_nm: Mapping[str, Array] | None = None,
    notes: tuple[str, ...] = (),
) -> Stack:
    """The stack of an array that reads only what it is indexed with: of zarr, h5py, a memory map.

    Args:
        item: the array.
        close: frees its file.
        order: which of its axes are time, rows, columns[, channels]; None: they stand in this order.
        taken: of every other axis, the one index that is read.
        pixel_size_nm: as `lengths.pixel_size` tells it: `pixel_size_nm` () or nothing.
        notes: see Stack.

    Raises:
        InputError: UNSUPPORTED_SHAPE.
    """
    kept, left_out = tuple(range(item.ndim) if order is None else order), dict(taken or {})
    if len(kept) not in (3, 4) or {*kept, *left_out} != set(range(item.ndim)) or 0 in item.shape:
        raise InputError("UNSUPPORTED_SHAPE", f"A movie is (t, h, w) or (t, h, w, c), none of them empty; this array has shape {tuple(item.shape)}.")
    among_kept = np.argsort(np.argsort(kept))

    def read(start: int, stop: int) -> Array:
        index: list[slice | int] = [slice(None)] * item.ndim
        index[kept[0]] = slice(start, stop)
        for axis, place in left_out.items():
            index[axis] = place
        return np.asarray(item[tuple(index)]).transpose(among_kept)

    chunks = getattr(item, "chunks", None)
    size = (pixel_size_nm or {}).get("pixel_size_nm")
    return Stack(
        shape=tuple(int(item.shape[axis]) for axis in kept),
        dtype=np.dtype(item.dtype),
        read=read,
        close=close,
        chunk_frames=1 if chunks is None else int(chunks[kept[0]]),
        chunk_bytes=0 if chunks is None else int(np.prod(chunks, dtype=np.int64)) * np.dtype(item.dtype).itemsize,
        pixel_size_nm=None if size is None or np.ndim(size) else float(size),
        notes=notes,
    )


def movie_order(shape: Sequence[int], leading: Sequence[int], image: Sequence[int]) -> tuple[tuple[int, ...], dict[int, int]]:
    """Which axis is time, of those that are no part of an image: the only one longer than 1. The others' one index is 0.

    Args:
        shape: of the array.
        leading: the axes that are none of the image's.
        image: its rows, columns and, where there are any, channels.

    Returns:
        `order` and `taken` of stack_of.

    Raises:
        InputError: UNSUPPORTED_SHAPE: there is no such axis, or several are longer than 1.
    """
    long = [axis for axis in leading if shape[axis] > 1] or list(leading[:1])
    if len(long) != 1:
        what = "two axes of an image" if not long else f"{len(long)} axes beside those of an image"
        raise InputError("UNSUPPORTED_SHAPE", f"A movie is (t, h, w) or (t, h, w, c); this array of shape {tuple(shape)} has {what}.")
    return (long[0], *image), {axis: 0 for axis in leading if axis != long[0]}
