"""Hold out by place, never by patch: neighbouring windows overlap, and a held-out patch that shares pixels with a training patch is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.errors import InputError

# Blocks much larger than a window lose few patches at their borders; blocks much smaller than the image represent it better.
_WINDOWS_PER_BLOCK = 2.5
_MOST_BLOCKS = 16  # along one axis


# Along one axis: the first pixel that each patch touches (n,) int64, and one past the last.
Span = tuple[Array, Array]


@dataclass(frozen=True)
class Blocks:
    """An image divided into blocks, some of them held out.

    Attributes:
        row_edges: (R + 1,) int64, first row of each block, and one past the last of all.
        column_edges: (C + 1,) int64, likewise.
        held: (R, C) bool, which are held out.
    """

    row_edges: Array
    column_edges: Array
    held: Array

    def sides(self, rows: Span, columns: Span) -> tuple[Array, Array]:
        """Indices (int64, ascending) of patches that touch training blocks alone, and of those that touch held-out blocks alone; others: neither."""
        return _sides(self.held, _touched(rows, self.row_edges), _touched(columns, self.column_edges))


def block_split(  # noqa: PLR0917 - one signature for every caller, positions or keywords
    top_px: Array, left_px: Array, window_px: int, image_shape: tuple[int, ...], held_out_fraction: float, seed: int
) -> tuple[Array, Array]:
    """Splits the patches of one image into training and held-out ones that share no pixel.

    The image is divided into blocks, some are held out by the seed; a patch that touches blocks of both sides belongs to neither and
    is dropped. The number of blocks is the one that brings the held-out share of the patches kept nearest to `held_out_fraction`.

    Args:
        top_px: (n,) integer, row of each patch's first row.
        left_px: (n,) integer, column of each patch's first column.
        window_px: side of a patch, pixels.
        image_shape: (h, w[, c]) of the image the patches came from.
        held_out_fraction: wanted share of held-out patches, in (0, 1).
        seed: chooses the blocks.

    Returns:
        Indices (int64, ascending) of the training patches and of the held-out patches; neither is empty.

    Raises:
        InputError: INVALID_FRACTION; IMAGE_TOO_SMALL when no choice of blocks leaves patches on both sides.
    """
    rows, columns = ((np.asarray(start), np.asarray(start) + window_px) for start in (top_px, left_px))
    return hold_out_blocks(rows, columns, window_px, image_shape, held_out_fraction, seed).sides(rows, columns)


def hold_out_blocks(  # noqa: PLR0917 - as block_split
    rows: Span, columns: Span, window_px: float, image_shape: tuple[int, ...], held_out_fraction: float, seed: int
) -> Blocks:
    """The blocks that `block_split` holds out, for callers with windows of several lengths.

    Args:
        rows: the rows that each patch touches.
        columns: the columns that each patch touches.
        window_px: side of a patch, pixels; blocks are some of it long.
        image_shape: (h, w[, c]) of the image the patches came from.
        held_out_fraction: wanted share of held-out patches, in (0, 1).
        seed: chooses the blocks.

    Raises:
        InputError: INVALID_FRACTION; IMAGE_TOO_SMALL when no choice of blocks leaves patches on both sides.
    """
    if not 0 < held_out_fraction < 1:
        raise InputError("INVALID_FRACTION", f"The held-out fraction lies between 0 and 1, not at {held_out_fraction}.")
    block_px = round(_WINDOWS_PER_BLOCK * window_px)
    down, right = (min(_MOST_BLOCKS, max(1, round(side / block_px))) for side in image_shape[:2])
    if down * right < 2:  # a small image: two halves along its longer side
        down, right = (2, 1) if image_shape[0] >= image_shape[1] else (1, 2)
    edges = [np.round(np.linspace(0, side, count + 1)).astype(np.int64) for side, count in zip(image_shape[:2], (down, right), strict=True)]
    touched = (_touched(rows, edges[0]), _touched(columns, edges[1]))

    best: Array | None = None
    best_miss = np.inf
    held = np.zeros((down, right), dtype=bool)
    for block in np.random.default_rng(seed).permutation(down * right)[:-1]:
        held.flat[block] = True
        train, out = _sides(held, *touched)
        if train.size and out.size:
            share = out.size / (out.size + train.size)
            if abs(share - held_out_fraction) < best_miss:
                best, best_miss = held.copy(), abs(share - held_out_fraction)
            if share >= held_out_fraction:  # with every further block the share only grows
                break
    if best is None:
        raise InputError(
            "IMAGE_TOO_SMALL",
            f"An image of {image_shape[0]} × {image_shape[1]} px cannot be split into training and held-out blocks for windows of {window_px:g} px "
            f"({len(rows[0])} patches); give a larger image, a smaller window, or a second file to validate on.",
        )
    return Blocks(*edges, best)


def _touched(span: Span, edges: Array) -> Span:
    """First block that each patch touches along one axis, and one past the last."""
    start, stop = span
    first = np.searchsorted(edges, start, side="right") - 1
    last = np.searchsorted(edges, stop - 1, side="right") - 1
    return first, last + 1


def _sides(held: Array, rows: Span, columns: Span) -> tuple[Array, Array]:
    """Patches in training blocks alone, and in held-out ones alone, by the blocks that they touch."""
    count = _held_blocks(held, rows, columns)
    size = (rows[1] - rows[0]) * (columns[1] - columns[0])
    return np.flatnonzero(count == 0), np.flatnonzero(count == size)


def _held_blocks(held: Array, rows: Span, columns: Span) -> Array:
    """How many held-out blocks each patch touches, by the summed-area table."""
    table = np.zeros((held.shape[0] + 1, held.shape[1] + 1), dtype=np.int64)
    table[1:, 1:] = held.cumsum(axis=0).cumsum(axis=1)
    (top, bottom), (left, right) = rows, columns
    count: Array = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return count
