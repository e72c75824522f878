"""Which of many candidates to measure next, seen from the whole of them: what learning curves are drawn of. No torch.

Hyperparameters stand while a batch is picked, and a variance does not depend on what is measured: so picks are conditioned on those before them, and
no measurement is awaited in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from training.mechanism.structure import Array

Strategy = Literal["random", "space_filling", "total_sd", "part_sd", "mean_variance"]
STRATEGIES: tuple[Strategy, ...] = ("random", "space_filling", "total_sd", "part_sd", "mean_variance")


class Candidates:
    """What is known of f at C candidates once some of them are measured.

    Args:
        kernel: (C, C) prior covariance of f.
        noise_variance: (C,) of a measurement at each.
        part: (C, C) prior covariance of one part with f; the part's own where it has no factor. None: "part_sd" is not asked for.
    """

    def __init__(self, kernel: Array, noise_variance: Array, part: Array | None = None) -> None:
        self.covariance = kernel.copy()
        self._noise = noise_variance
        # Of the part less its mean over all candidates, with f: its level is no one's.
        self._with_part = None if part is None else part - part.mean(axis=0)
        self.part_variance = None if part is None else np.diag(part) - 2 * part.mean(axis=0) + part.mean()

    def condition(self, measured: Sequence[int]) -> None:
        """Several candidates are measured, at once: what `observe` of each in turn would come to."""
        chosen = list(measured)
        spread = self.covariance[np.ix_(chosen, chosen)] + np.diag(self._noise[chosen])
        half = solve_triangular(cholesky(spread, lower=True), self.covariance[chosen], lower=True)  # (n, C)
        if self._with_part is not None and self.part_variance is not None:
            of_part = solve_triangular(cholesky(spread, lower=True), self._with_part[:, chosen].T, lower=True)
            self.part_variance = self.part_variance - np.einsum("nc,nc->c", of_part, of_part)
            self._with_part -= of_part.T @ half
        self.covariance -= half.T @ half

    def observe(self, index: int) -> None:
        """One candidate is measured."""
        column, spread = self.covariance[:, index].copy(), self.covariance[index, index] + self._noise[index]
        if self._with_part is not None and self.part_variance is not None:
            with_part = self._with_part[:, index].copy()
            self.part_variance = self.part_variance - with_part**2 / spread
            self._with_part -= np.outer(with_part, column / spread)
        self.covariance -= np.outer(column, column / spread)

    def forget(self, index: int) -> None:
        """One candidate that was measured once is not measured after all; the part's variance, if asked for, is not told any more."""
        column, spread = self.covariance[:, index].copy(), self._noise[index] - self.covariance[index, index]
        self.covariance += np.outer(column, column / spread)
        self._with_part = self.part_variance = None

    def scores(self, strategy: Strategy) -> Array:
        """(C,), the greatest of which is the next pick.

        total_sd: variance of f. part_sd: of the part. mean_variance: how much less the variance of f, summed over all candidates, is once this one
        is measured, Σ_i cov_ij²/(cov_jj + σ²) (Cohn, Ghahramani and Jordan 1996).
        """
        if strategy == "total_sd":
            return np.diag(self.covariance).copy()
        if strategy == "part_sd":
            assert self.part_variance is not None  # noqa: S101 - given at the start where it is asked for
            return self.part_variance
        found: Array = np.einsum("ij,ij->j", self.covariance, self.covariance) / (np.diag(self.covariance) + self._noise)
        return found


def picks(  # noqa: PLR0917 - one order, one caller each
    strategy: Strategy,
    candidates: Candidates,
    latents: Array,
    measured: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[int]:
    """The next `count` candidates, none of them measured before.

    Args:
        strategy: random: any. space_filling: the farthest from all that are measured, in latents. The others: see `Candidates.scores`.
        candidates: before anything is measured; left conditioned on everything that is.
        latents: (C, D) standardised.
        measured: those before.
        count: how many.
        rng: of the strategy "random".
    """
    if strategy == "random":
        return rng.permutation(np.setdiff1d(np.arange(len(latents)), measured))[:count].tolist()
    if strategy == "space_filling":
        return _farthest(latents, measured, count)
    if len(measured):
        candidates.condition(measured)
    found: list[int] = []
    for _ in range(count):
        scores = candidates.scores(strategy)
        scores[[*measured, *found]] = -np.inf
        found.append(int(np.argmax(scores)))
        candidates.observe(found[-1])
    return found


def _farthest(latents: Array, measured: Sequence[int], count: int) -> list[int]:
    apart = np.full(len(latents), np.inf)
    for index in measured:
        apart = np.minimum(apart, np.square(latents - latents[index]).sum(axis=1))
    found: list[int] = []
    for _ in range(count):
        apart[[*measured, *found]] = -np.inf
        found.append(int(np.argmax(apart)))
        apart = np.minimum(apart, np.square(latents - latents[found[-1]]).sum(axis=1))
    return found
