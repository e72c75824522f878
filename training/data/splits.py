"""Hold out by place, never by patch: neighbouring windows overlap, and a held-out patch that shares pixels with a training patch is seen."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.errors import InputError

# Blocks much larger than a window lose few patches at their borders; blocks much smaller than the image represent it better.
_WINDOWS_PER_BLOCK = 2.5
_MOST_BLOCKS = 16  # along one axis


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
    if not 0 < held_out_fraction < 1:
        raise InputError("INVALID_FRACTION", f"The held-out fraction lies between 0 and 1, not at {held_out_fraction}.")
    block_px = round(_WINDOWS_PER_BLOCK * window_px)
    rows, columns = (min(_MOST_BLOCKS, max(1, round(side / block_px))) for side in image_shape[:2])
    if rows * columns < 2:  # a small image: two halves along its longer side
        rows, columns = (2, 1) if image_shape[0] >= image_shape[1] else (1, 2)
    touched = (_touched(np.asarray(top_px), window_px, image_shape[0], rows), _touched(np.asarray(left_px), window_px, image_shape[1], columns))
    order = np.random.default_rng(seed).permutation(rows * columns)

    best: tuple[Array, Array] | None = None
    best_miss = np.inf
    held = np.zeros(rows * columns, dtype=bool)
    for block in order[:-1]:
        held[block] = True
        count = _held_blocks(held.reshape(rows, columns), *touched)
        size = (touched[0][1] - touched[0][0]) * (touched[1][1] - touched[1][0])
        train, out = np.flatnonzero(count == 0), np.flatnonzero(count == size)
        if train.size and out.size:
            share = out.size / (out.size + train.size)
            if abs(share - held_out_fraction) < best_miss:
                best, best_miss = (train, out), abs(share - held_out_fraction)
            if share >= held_out_fraction:  # with every further block the share only grows
                break
    if best is None:
        raise InputError(
            "IMAGE_TOO_SMALL",
            f"An image of {image_shape[0]} × {image_shape[1]} px cannot be split into training and held-out blocks for windows of {window_px} px "
            f"({len(top_px)} patches); give a larger image, a smaller window, or a second file to validate on.",
        )
    return best


def _touched(start_px: Array, window_px: int, side_px: int, blocks: int) -> tuple[Array, Array]:
    """First block that each patch touches along one axis, and one past the last."""
    edges = np.round(np.linspace(0, side_px, blocks + 1)).astype(np.int64)
    first = np.searchsorted(edges, start_px, side="right") - 1
    last = np.searchsorted(edges, start_px + window_px - 1, side="right") - 1
    return first, last + 1


def _held_blocks(held: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """How many held-out blocks each patch touches, by the summed-area table."""
    table = np.zeros((held.shape[0] + 1, held.shape[1] + 1), dtype=np.int64)
    table[1:, 1:] = held.cumsum(axis=0).cumsum(axis=1)
    (top, bottom), (left, right) = rows, columns
    count: Array = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return count
