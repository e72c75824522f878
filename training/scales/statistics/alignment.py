"""Whether two stages say the same of the same places: Procrustes and canonical correlations of their latents on common centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.scales.statistics.units import ACTIVE_ABOVE


@dataclass(frozen=True)
class Alignment:
    """Of two stages. Nothing here changes when either's latents are turned, mirrored or reordered.

    Attributes:
        residual: of Procrustes, in [0, 1]: 0 where one stage's latents are the other's, turned, moved and scaled; 1 where they share nothing.
        correlations: (m,) canonical correlations, descending, in [0, 1]; m: active directions of the stage that has fewer, 0 where it has none.
        chance: root mean square of the canonical correlations that n independent rows would show, √(max(p, q)/(n − 1)); overlapping windows are
            not independent, and theirs lies higher.
    """

    residual: float
    correlations: Array
    chance: float

    @property
    def mean_correlation(self) -> float:
        """Mean canonical correlation; NaN without any."""
        return float(self.correlations.mean()) if len(self.correlations) else math.nan


def align(first: Array, second: Array, least_variance: float = ACTIVE_ABOVE) -> Alignment:
    """Compares the latents of two stages on the same centres.

    Procrustes: with A, B centred, filled with zero columns to one width and scaled to Frobenius norm 1, min over rotations (with mirrors) Q and
    scales s of ‖A − s B Q‖² = 1 − (Σ singular values of AᵀB)² (Gower 1975).

    Canonical correlations: singular values of U_Aᵀ U_B, U the left singular vectors of the centred latents (Björck & Golub 1973), which no invertible
    linear map of either changes. Regularised by leaving out directions of the latent space with variance up to `least_variance`: units that are
    not active carry noise about the prior's mean, and whitening would make that noise as loud as content.

    Args:
        first: (n, p) posterior means, unit 1.
        second: (n, q), rows at the same centres.
        least_variance: of a principal direction that takes part, unit 1; 0 for data that have no prior N(0, 1).

    Raises:
        ValueError: the rows differ in number, or there are fewer than 3.
    """
    if len(first) != len(second) or len(first) < 3:
        raise ValueError(f"two stages are compared on the same 3 centres or more, not on {len(first)} and {len(second)}")
    a, b = (np.asarray(each, np.float64) - np.mean(each, axis=0, dtype=np.float64) for each in (first, second))
    left, right = _active_directions(a, least_variance), _active_directions(b, least_variance)
    correlations = np.clip(np.linalg.svd(left.T @ right, compute_uv=False), 0, 1) if left.size and right.size else np.zeros(0)
    return Alignment(_residual(a, b), correlations, math.sqrt(max(left.shape[1], right.shape[1]) / (len(a) - 1)))


def alignments(stages: Sequence[Array]) -> tuple[Array, Array]:
    """Mean canonical correlation and Procrustes residual (K, K) of every two of K stages' latents (n, L_k) on the same centres."""
    size = len(stages)
    correlation, residual = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for row in range(size):
        for column in range(row, size):
            found = align(stages[row], stages[column])
            correlation[row, column] = correlation[column, row] = found.mean_correlation
            residual[row, column] = residual[column, row] = found.residual
    return correlation, residual


def _active_directions(centred: Array, least_variance: float) -> Array:
    """Orthonormal columns (n, r) that span the directions of variance above the least, and above rounding."""
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2 / len(centred)
    return left[:, variance > max(least_variance, 1e-12 * float(variance.max(initial=0.0)), np.finfo(np.float64).tiny)]


def _residual(a: Array, b: Array) -> float:
    norms = np.linalg.norm(a), np.linalg.norm(b)
    if min(norms) <= 0:
        return 1.0
    # Zero columns add no singular values.
    shared = np.linalg.svd(a.T @ b, compute_uv=False).sum() / (norms[0] * norms[1])
    return float(np.clip(1 - shared**2, 0, 1))
