"""Which dopant goes to which target, so that the sum of what it takes is least: exact, by dynamic programming over sets of targets."""

from __future__ import annotations

import math

import numpy as np

from services.transition.arrays import Float64

MOST_TARGETS = 12


def assign(cost: Float64) -> list[tuple[int, int]] | None:
    """Gives each target one dopant of its own.

    best[T] after d dopants is the least cost of serving the targets in T by some of them; the next one serves one target more, or none.

    Args:
        cost: (d, g) float64, of dopant and target; infinite where no way leads. g at most MOST_TARGETS, and at most d.

    Returns:
        (dopant, target) for each target, in the order of the dopants; None where it cannot be done.

    Raises:
        ValueError: more targets than dopants or than MOST_TARGETS.
    """
    dopants, targets = cost.shape
    if targets > min(dopants, MOST_TARGETS):
        raise ValueError(f"{targets} targets cannot be assigned to {dopants} dopants; {MOST_TARGETS} is the most")
    sets = np.arange(1 << targets)
    best = np.full(len(sets), np.inf)
    best[0] = 0
    served = np.full((dopants, len(sets)), -1, np.int64)
    for dopant in range(dopants):
        following = best.copy()
        for target in range(targets):
            with_it = sets[(sets >> target) & 1 == 1]
            offered = best[with_it ^ (1 << target)] + cost[dopant, target]
            better = offered < following[with_it]
            following[with_it[better]] = offered[better]
            served[dopant, with_it[better]] = target
        best = following
    if not math.isfinite(best[-1]):
        return None
    pairs, left = [], len(sets) - 1
    for dopant in reversed(range(dopants)):
        target = int(served[dopant, left])
        if target >= 0:
            pairs.append((dopant, target))
            left ^= 1 << target
    return pairs[::-1]
