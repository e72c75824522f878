"""Points held out by place or by group: neighbours are alike, and a random point next to a training point flatters every model."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.errors import InputError

_BLOCKS_PER_AXIS = 6


def held_out_points(arrays: dict[str, Array], fraction: float, seed: int) -> tuple[Array, str]:
    """Which of the points are held out, (n,) bool, and how they were chosen, in words.

    Whole groups where there is `group` (n,), blocks of the plane where there is `position_um` (n, 2), random points otherwise.

    Raises:
        InputError: TOO_FEW_GROUPS: one group, or one block with points, cannot be split.
    """
    rng = np.random.default_rng(seed)
    if "group" in arrays:
        return by_group(arrays["group"], fraction, rng), "held-out groups"
    if "position_um" in arrays:
        return by_group(_blocks(arrays["position_um"]), fraction, rng), f"held-out blocks of the plane, {_BLOCKS_PER_AXIS} along each axis"
    count = len(next(iter(arrays.values())))
    return rng.permutation(count) < max(1, round(fraction * count)), "held-out points at random, which flatter where neighbours are alike"


def by_group(group: Array, fraction: float, rng: np.random.Generator) -> Array:
    """Groups are held out, in a random order, until they have the wanted share of the points or more.

    Raises:
        InputError: TOO_FEW_GROUPS.
    """
    names, counts = np.unique(group, return_counts=True)
    if len(names) < 2:
        raise InputError("TOO_FEW_GROUPS", "All points are of one group, or of one place: nothing can be held out. Leave out group and position_um.")
    order = rng.permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), fraction * len(group))) + 1
    return np.isin(group, names[order[: min(enough, len(names) - 1)]])


def _blocks(position_um: Array) -> Array:
    low, extent = position_um.min(axis=0), np.ptp(position_um, axis=0)
    cell = np.floor((position_um - low) / np.where(extent > 0, extent, 1) * _BLOCKS_PER_AXIS).clip(0, _BLOCKS_PER_AXIS - 1)
    blocks: Array = (cell[:, 0] * _BLOCKS_PER_AXIS + cell[:, 1]).astype(np.int64)
    return blocks
