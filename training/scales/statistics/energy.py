"""How far two samples of latents lie apart as distributions: energy distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array

# Rows of one piece: 512 × 10 000 distances are 40 MB.
_ROWS = 512


@dataclass(frozen=True)
class EnergyDistance:
    """Of samples x (n, L) and y (m, L), by Euclidean distances in the latents' own unit: nothing is rescaled here.

    Attributes:
        between: mean |x_i − y_k| over all n·m pairs.
        within_first: mean |x_i − x_k| over the n(n − 1) pairs of two different rows.
        within_second: the same of y.
        n: rows of x.
        m: rows of y.
    """

    between: float
    within_first: float
    within_second: float
    n: int
    m: int

    @property
    def unbiased(self) -> float:
        """D² = 2E|X − Y| − E|X − X′| − E|Y − Y′| (Székely & Rizzo 2013), its mean over samples exact; below 0 by chance where both are alike."""
        return 2 * self.between - self.within_first - self.within_second

    @property
    def biased(self) -> float:
        """The same with each row's distance 0 to itself among the pairs (V-statistic): ≥ 0, E|X − X′|(1/n + 1/m) on average for like ones."""
        return 2 * self.between - self.within_first * (self.n - 1) / self.n - self.within_second * (self.m - 1) / self.m

    @property
    def distance(self) -> float:
        """D = √max(unbiased, 0), in the latents' unit."""
        return math.sqrt(max(self.unbiased, 0.0))

    @property
    def coefficient(self) -> float:
        """D² / (2E|X − Y|), at most 1, the same in any unit of the latents; 0 where all rows are one."""
        return self.unbiased / (2 * self.between) if self.between > 0 else 0.0


def energy_distance(first: Array, second: Array) -> EnergyDistance:
    """Compares two samples; distances are made in pieces, so thousands of rows need little memory.

    Latents of a VAE share the scale of their prior N(0, 1) and go in as they are. Columns of other scales are divided first by one sd that both
    samples share, never by each sample's own: that would hide a difference of spread.

    Args:
        first: (n, L), n ≥ 2.
        second: (m, L), m ≥ 2, the same L columns.

    Raises:
        ValueError: other shapes, or a value that is not finite.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"samples are (n, L) and (m, L) of two rows or more, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a sample holds a value that is not finite; leave out windows that are not valid")
    centre = x.mean(axis=0)  # rounding of |x|² + |y|² − 2xy stays small about the middle
    x, y = x - centre, y - centre
    n, m = len(x), len(y)
    return EnergyDistance(_sum(x, y) / (n * m), _sum(x, x) / (n * (n - 1)), _sum(y, y) / (m * (m - 1)), n, m)


def _sum(x: Array, y: Array) -> float:
    """Σ_ik |x_i − y_k|; of a sample with itself the diagonal is exactly 0."""
    squares = (y**2).sum(axis=1)
    total = 0.0
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        found = (part**2).sum(axis=1)[:, None] + squares[None, :] - 2 * part @ y.T
        if x is y:
            np.fill_diagonal(found[:, start : start + len(part)], 0.0)
        total += float(np.sqrt(np.maximum(found, 0.0)).sum())
    return total
