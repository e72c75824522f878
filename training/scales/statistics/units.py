"""How much each latent unit is used at one length scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array

# Of a unit's variance over the windows, prior N(0, 1) (Burda et al., arXiv 1509.00519, who set this line).
ACTIVE_ABOVE = 0.01


@dataclass(frozen=True)
class UnitUse:
    """One number for each latent unit, (L,) float64.

    Attributes:
        variance: V_j = Var_i[μ_ij], unit 1; near 1 where the unit is used, near 0 where it is not.
        uncertainty: A_j = mean_i[σ²_ij], unit 1; V_j + A_j is near 1 where the aggregated posterior matches the prior.
        divergence_nats: KL_j = mean_i ½(μ_ij² + σ_ij² − 1 − ln σ_ij²) from the prior N(0, 1), ≥ 0.
    """

    variance: Array
    uncertainty: Array
    divergence_nats: Array

    @property
    def active(self) -> Array:
        """(L,) bool, V_j > 0.01."""
        return self.variance > ACTIVE_ABOVE

    @property
    def active_count(self) -> int:
        """How many units are active."""
        return int(self.active.sum())


def unit_use(mean: Array, sd: Array) -> UnitUse:
    """V_j, A_j and KL_j of latents on lines; angles are no such latents, leave them out.

    Args:
        mean: (n, L) posterior means, unit 1, n ≥ 1.
        sd: (n, L) posterior standard deviations, > 0.

    Raises:
        ValueError: shapes differ, no rows, or a standard deviation that is not above 0.
    """
    mu, sigma = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
    if mu.ndim != 2 or mu.shape != sigma.shape or not len(mu):
        raise ValueError(f"means and standard deviations are both (n, L) with n ≥ 1, not {mu.shape} and {sigma.shape}")
    if not (sigma > 0).all():
        raise ValueError("a posterior's standard deviation is above 0")
    square = sigma**2
    return UnitUse(mu.var(axis=0), square.mean(axis=0), (0.5 * (mu**2 + square - 1 - np.log(square))).mean(axis=0))
