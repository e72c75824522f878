"""Thompson sampling by paths: functions drawn from the prior, and what the observations make of each (Wilson et al., JMLR 22:105, 2021).

A path of f is Σ_t factor_t Σ_j φ_tj w_tj with w ~ N(0, 1) from the prior. With A the root and v = f(Z) + ε what the path would have been measured as,
q = A v ~ N(0, 1), and the path given what was measured indeed is mean(x) + f(x) − cov(f(x), f(Z)) Aᵀ q. A new point adds (f(*) + ε − l·q)/d to q.
"""

from __future__ import annotations

import numpy as np

from services.mechanism.answers import Float64
from services.mechanism.state import Block, View

# Paths that are drawn at once. A pick takes one: more picks in one call there cannot be.
POOL = 128
# What a random stream is for, beside the seed, so that no two are the same.
_WEIGHTS, _MEASURED, _OBSERVED = 1, 2, 3


class Paths:
    """A pool of S paths.

    Args:
        seed: of everything drawn: the same seed gives the same paths.
        terms: T.
        features: F, of the graph `features`.
        candidates: C.

    Attributes:
        prior: (S, C) f of each path at the candidates, before any observation.
        loads: (S, r + k) q.
    """

    def __init__(self, seed: int, terms: int, features: int, candidates: int) -> None:
        self.seed = seed
        self.weights = self._stream(_WEIGHTS).standard_normal((terms * features, POOL))
        self.prior = np.zeros((POOL, candidates))
        self.loads = np.zeros((POOL, 0))

    @property
    def memory_bytes(self) -> int:
        """Of all arrays."""
        return self.weights.nbytes + self.prior.nbytes + self.loads.nbytes

    def values(self, features: Float64, factor: Float64) -> Float64:
        """(S, m) f of each path where the features are (m, T, F) and the factors (m, T)."""
        weighted = features * factor[:, :, None]
        values: Float64 = (weighted.reshape(len(features), -1) @ self.weights).T
        return values

    def measure(self, at_points: Float64, view: View) -> None:
        """Gives every path the posterior's points: `at_points` (S, N), f of each path there."""
        first = len(view.points) - len(view.added_noise)
        drawn = self._stream(_MEASURED).standard_normal((POOL, view.noise_root.shape[-1]))
        noise = drawn * view.noise_root if view.noise_root.ndim == 1 else drawn @ view.noise_root.T
        measured = at_points.copy()
        measured[:, :first] += noise
        for place, variance in enumerate(view.added_noise):
            measured[:, first + place] += self._noise_at(place, float(variance))
        self.loads = measured @ view.root.T

    def advance(self, block: Block, at_points: Float64, added: int) -> None:
        """Gives every path a block of k points: `at_points` (S, k), f of each path there; `added`: points observed before the block."""
        for j in range(len(block)):
            noise = self._noise_at(added + j, float(block.noise_variance[j]))
            explained = self.loads @ block.loads[j, : self.loads.shape[1]]
            new = (at_points[:, j] + noise - explained) / block.scale[j]
            self.loads = np.concatenate((self.loads, new[:, None]), axis=1)

    def _noise_at(self, place: int, variance: float) -> Float64:
        noise: Float64 = np.sqrt(variance) * self._stream(_OBSERVED, place).standard_normal(POOL)
        return noise

    def _stream(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])
