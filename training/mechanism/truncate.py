"""The posterior in low rank, with a certified bound on what that changes.

A prediction needs V_t(x) = L⁻¹ k_t(Z, x) of every term, N² products each. With G = L⁻¹ (Σ_t K_t) L⁻ᵀ = Σ_i λ_i u_i u_iᵀ, λ falling, and U its first r
eigenvectors, U Uᵀ V takes V's place: r·N products. For every x, seen or not, k_t(Z, x) = K_t^½ a with |a|² <= k_t(x, x), since the covariance of
Z and x together has no negative eigenvalue; k_t(x, x) is s_t², or less where a kernel is orthogonal; and L⁻¹ K_t L⁻ᵀ is no larger than G; so

    |V_t(x) − U Uᵀ V_t(x)|² <= s_t² λ_{r+1}.

What is left out is orthogonal to what is kept, for all terms alike: a covariance of terms s and t changes by no more than s_s s_t λ_{r+1}. Parts
are told less their means over the reference points: the same holds of them with the part's own prior variance, at most 2 s_t² (the kernels of
such parts are not orthogonal, and so nowhere negative), in place of s_t².
Bases of the terms' own would leave √λ_{r+1} in the covariances between them, which float64 cannot make small. Means do not change at all. Of terms
with factors, s_t is that of c·g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.mechanism.posterior import Posterior
from training.mechanism.structure import Array


@dataclass(frozen=True)
class LowRank:
    """A posterior in low rank.

    Attributes:
        loading: (r, N) Uᵀ L⁻¹.
        gauge_half: (r, T) Uᵀ of the gauge's.
        bound: 2 λ_{r+1}, rounding included: of the change of any variance or covariance of two parts, over s_s s_t.
    """

    loading: Array
    gauge_half: Array
    bound: float

    @property
    def rank(self) -> int:
        """The number of eigenvectors, r."""
        return len(self.loading)


def low_rank(posterior: Posterior, *, tolerance: float = 1e-6) -> LowRank | None:
    """The smallest rank whose bound is within `tolerance`, of s_s s_t.

    None where that is more than N/2, and exact is cheaper, or where so little noise stands against so much signal that rounding alone is more.
    """
    count = len(posterior.latents)
    # Σ_t K_t = L Lᵀ − diag(σ_i²).
    whitened = np.eye(count) - (posterior.inverse * posterior.noise_variance) @ posterior.inverse.T
    spectrum, vectors = np.linalg.eigh((whitened + whitened.T) / 2)
    # Rounding of K, carried through L⁻¹ on both sides.
    trace = float(np.sum(posterior.cholesky**2) - np.sum(posterior.noise_variance))
    rounding = 4 * float(np.finfo(np.float64).eps) * trace / float(posterior.noise_variance.min())
    rank = int(np.sum(2 * (spectrum + rounding) > tolerance))  # ascending
    if rank > count // 2:
        return None
    basis = vectors[:, count - rank :]
    loading = basis.T @ posterior.inverse
    return LowRank(loading, basis.T @ posterior.gauge.half, 2 * (float(max(spectrum[count - rank - 1], 0)) + rounding))
