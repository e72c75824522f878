"""What surrounds a place on a map, without the place; and places held out so far away that no patch shows one side to the other."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.data.splits import block_split
from training.errors import InputError

# A patch with fewer neighbours than this share of its pixels (corners have a third) says nothing of its surroundings.
_LEAST_PRESENT = 0.25


def neighbour_patches(values: Array, half_width: int, missing: Array) -> tuple[Array, Array]:
    """For each place of a map the patch around it, without the place itself: it cannot tell what was measured there.

    The centre, pixels beyond the map's edge and missing ones get the mean of the patch's other pixels.

    Args:
        values: (rows, columns) float64.
        half_width: pixels on each side of the centre, >= 1.
        missing: (rows, columns) bool: pixels that no patch may show. NaN pixels are missing anyway.

    Returns:
        (rows·columns, k, k) float64 with k = 2 half_width + 1, row by row of the map, and (rows·columns,) bool: whether at least a quarter of the
        patch's k² − 1 pixels is there. Patches where it is not are NaN.

    Raises:
        InputError: INVALID_OPTION.
    """
    if values.ndim != 2 or missing.shape != values.shape or half_width < 1:
        raise InputError(
            "INVALID_OPTION",
            f"Neighbours are cut from a map (rows, columns) with a half-width of at least 1, not {values.shape} and {half_width}.",
        )
    k = 2 * half_width + 1
    padded = np.pad(np.where(missing, np.nan, values.astype(np.float64)), half_width, constant_values=np.nan)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (k, k)).reshape(-1, k, k).copy()
    patches[:, half_width, half_width] = np.nan
    present = np.isfinite(patches)
    count = present.sum(axis=(1, 2))
    enough = count >= _LEAST_PRESENT * (k * k - 1)
    mean = np.where(present, patches, 0.0).sum(axis=(1, 2)) / np.maximum(count, 1)
    filled = np.where(present, patches, np.where(enough, mean, np.nan)[:, None, None])
    filled[~enough] = np.nan
    return filled, enough


def split_places(grid: tuple[int, int], half_width: int, held_out_fraction: float, seed: int) -> tuple[Array, Array]:
    """Training and held-out places of a grid by spatial blocks, farther apart than a patch's half-width along one axis or the other.

    So no training patch shows a held-out loop and no held-out patch a training loop; places in between belong to neither side.

    Args:
        grid: rows and columns.
        half_width: of the patches, pixels, >= 0.
        held_out_fraction: wanted share, in (0, 1).
        seed: chooses the blocks.

    Returns:
        Indices (int64, ascending) into the grid's places, row by row.

    Raises:
        InputError: as `block_split`.
    """
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    # Windows of half_width + 1 from each place downwards and to the right share no pixel exactly if the places are more than half_width apart.
    shape = (grid[0] + half_width, grid[1] + half_width)
    return block_split(row, column, half_width + 1, shape, held_out_fraction, seed)
