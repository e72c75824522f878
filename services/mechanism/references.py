"""What a measurement would tell of all candidates: covariances of f at each of them with f at reference points, for the strategy mean_variance."""

from __future__ import annotations

import numpy as np

from dichroic.bundle.arrays import Arrays
from services.mechanism.answers import Float64, Int64
from services.mechanism.candidates import Candidates
from services.mechanism.state import FLOAT64_BYTES

# The graph `rows` is asked for so many covariances of every candidate: most of the time that the strategy takes.
MOST_REFERENCES = 256
# Candidates whose covariances are changed at once: few enough for a processor's cache.
CHUNK_CANDIDATES = 256


class References:
    """R of the candidates that stand for all of them, and what is known of f there together with f at each candidate.

    They are references whether or not they are taken. `fill` is asked for all candidates before anything else.

    Args:
        candidates: as they are now; nothing of them is changed.

    Attributes:
        index: (R,) which candidates; see reference_index.
        mean_square: (C,) mean over the references r of cov(f(r), f(c))², in (unit of y)⁴. The factors' own uncertainty is not in it.
    """

    def __init__(self, candidates: Candidates) -> None:
        self.index = reference_index(len(candidates))
        self.mean_square = np.zeros(len(candidates))
        self._candidates = candidates
        self._loads = candidates.loads_of(self.index)
        self._covariance = np.zeros((len(candidates), len(self.index)))

    @property
    def latents(self) -> Float64:
        """(R, D) of the references."""
        return self._candidates.latents[self.index]

    def fill(self, start: int, told: Arrays) -> None:
        """Tells the candidates from `start` on by what the graph `rows` says of them and the references' latents: `rows`, `factor`."""
        here = slice(start, start + len(told["rows"]))
        prior = np.einsum("mt,mtr->mr", told["factor"], told["rows"])
        self._covariance[here] = prior - self._candidates.loads_of(here) @ self._loads.T
        self._square(here)

    def condition(self, column: Float64) -> None:
        """Takes a candidate as measured; `column` (C,): its covariances with f, over the standard deviation of a measurement there."""
        at_references = column[self.index]
        for start in range(0, len(column), CHUNK_CANDIDATES):
            here = slice(start, start + CHUNK_CANDIDATES)
            self._covariance[here] -= column[here, None] * at_references
            self._square(here)

    def _square(self, here: slice) -> None:
        covariance = self._covariance[here]
        self.mean_square[here] = np.einsum("mr,mr->m", covariance, covariance) / len(self.index)


def reference_index(candidates: int) -> Int64:
    """(R,) ascending: all candidates, or MOST_REFERENCES of them in a random order that is the same for every call with as many candidates.

    By chance and not at even steps, which in a raster of candidates would take the same few columns of every line; and not by what the candidates
    are, so that the mean over the references is one over the candidates as they were given.
    """
    chosen: Int64 = np.sort(np.random.default_rng(0).permutation(candidates)[:MOST_REFERENCES])
    return chosen


def reference_bytes(candidates: int, rank: int) -> int:
    """What References of so many candidates take, where the posterior's root has so many rows."""
    references = min(candidates, MOST_REFERENCES)
    return FLOAT64_BYTES * (candidates * (references + 1) + references * (rank + 1))
