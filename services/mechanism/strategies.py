"""Which candidate to measure next: scores of all, and greedy batches in which each pick takes those before it as measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.mechanism.answers import Bool, Float64
from services.mechanism.candidates import Candidates
from services.mechanism.noise import normal_cdf, normal_density
from services.mechanism.references import References, reference_bytes
from services.mechanism.state import FLOAT64_BYTES, View

STRATEGIES = ("total_sd", "part_sd", "mean_variance", "ucb", "ei", "thompson")
GOALS = ("maximise", "minimise")
KAPPA = 2.0


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        strategy: one of STRATEGIES.
        part: index among the parts without the constant, of part_sd.
        count: picks.
        kappa: of ucb: mean + kappa · sd.
        sign: 1 to maximise, −1 to minimise.
        incumbent: of ei, the value to improve on; None: the best posterior mean among the candidates.
        first_path: of thompson: the pool's path that the first pick takes.
    """

    strategy: str
    part: int = 0
    count: int = 1
    kappa: float = KAPPA
    sign: int = 1
    incumbent: float | None = None
    first_path: int = 0


@dataclass(frozen=True)
class Pick:
    """One candidate, and what made it the best; see answers.Suggested."""

    index: int
    score: float
    total_mean: float
    total_sd: float
    part_sd: float


def batch_bytes(wish: Wish, candidates: int, view: View) -> int:
    """What the picks take beside so many candidates: a column (T, C) each, or of thompson what its path is made of; and the references, if any."""
    references = reference_bytes(candidates, len(view.root)) if wish.strategy == "mean_variance" else 0
    return FLOAT64_BYTES * wish.count * candidates * len(view.centred) + references


class Batch:
    """Picks one by one. The means stay as they are; the variances take every pick as measured with the noise variance σ².

    Args:
        candidates: as they are now; nothing of them is changed.
        wish: what was asked for.
        view: the posterior now.
        noise_variance: σ².
        references: of mean_variance, told of all candidates; every pick changes them.
    """

    def __init__(self, candidates: Candidates, wish: Wish, view: View, noise_variance: float, references: References | None = None) -> None:
        self._candidates, self._wish, self._references = candidates, wish, references
        self._gauge_half, self._centred, self._noise_variance = view.gauge_half, view.centred, noise_variance
        self._mean = candidates.total_mean()
        self._of_factors = candidates.of_factors()
        self._left = candidates.variance_left.copy()
        self._part_left = candidates.part_variance_left[wish.part].copy()
        self._open: Bool = np.ones(len(candidates), bool)
        self._columns: list[Float64] = []
        self._gauge_columns: list[Float64] = []
        self._paths = self._drawn() if wish.strategy == "thompson" else None
        self.picks: list[Pick] = []

    @property
    def conditions(self) -> bool:
        """Whether a pick changes the scores of the next one by more than being taken."""
        return self._wish.strategy != "thompson"

    def pick(self) -> int:
        """Takes the best candidate that is not taken yet."""
        scores = self._scores()
        index = int(np.argmax(np.where(self._open, scores, -np.inf)))
        self._open[index] = False
        part_sd = float(np.sqrt(max(self._part_left[index], 0.0))) if self._wish.strategy == "part_sd" else 0.0
        self.picks.append(Pick(index, float(scores[index]), float(self._mean[index]), float(self._sd()[index]), part_sd))
        return index

    def condition(self, index: int, rows: Float64) -> None:
        """Takes candidate `index` as measured; `rows` (C, T): covariances of each part of each candidate with f at it."""
        candidates, place = self._candidates, len(self._columns)
        factor = candidates.factor[:, index]
        column = rows.T - candidates.across(index)
        gauge = candidates.with_gauge[:, index] - self._gauge_half.T @ candidates.load_of(index) * self._centred
        for before in range(place):
            own = float(factor @ self._columns[before][:, index])
            column -= self._columns[before] * own
            gauge -= self._gauge_columns[before] * own
        scale = np.sqrt(max(self._left[index], 0.0) + self._noise_variance)
        column, gauge = column / scale, gauge / scale
        of_total = np.sum(candidates.factor * column, axis=0)
        self._left -= of_total**2
        self._part_left -= (column[self._wish.part] - self._centred[self._wish.part] * gauge[self._wish.part]) ** 2
        self._columns.append(column)
        self._gauge_columns.append(gauge)
        if self._references is not None:
            self._references.condition(of_total)

    def _scores(self) -> Float64:
        wish = self._wish
        if self._paths is not None:
            path: Float64 = wish.sign * self._paths[len(self.picks)]
            return path
        if wish.strategy == "part_sd":
            part: Float64 = np.sqrt(np.clip(self._part_left, 0, None))
            return part
        if self._references is not None:
            lowered: Float64 = self._references.mean_square / (np.clip(self._left, 0, None) + self._noise_variance)
            return lowered
        sd = self._sd()
        if wish.strategy == "total_sd":
            return sd
        mean = wish.sign * self._mean
        if wish.strategy == "ucb":
            bound: Float64 = mean + wish.kappa * sd
            return bound
        best = float(mean.max()) if wish.incumbent is None else wish.sign * wish.incumbent
        return self._improvement(mean - best, sd)

    def _improvement(self, gain: Float64, sd: Float64) -> Float64:
        """E max(f − best, 0) = gain Φ(gain/sd) + sd φ(gain/sd)."""
        steps = gain / np.maximum(sd, 1e-300)
        expected = np.where(sd > 0, gain * normal_cdf(steps) + sd * normal_density(steps), np.maximum(gain, 0))
        # Where all of it is too small for a number, the least hopeless one.
        if not np.any(np.where(self._open, expected, 0) > 0):
            return np.where(np.isfinite(steps), steps, -np.inf)
        return expected

    def _sd(self) -> Float64:
        sd: Float64 = np.sqrt(np.clip(self._left, 0, None) + self._of_factors)
        return sd

    def _drawn(self) -> Float64:
        """(count, C) the paths that the picks take, given what was observed."""
        paths = self._candidates.paths
        if paths is None:
            raise ValueError("candidates without paths cannot be drawn by them")
        taken = (self._wish.first_path + np.arange(self._wish.count)) % len(paths.prior)
        drawn: Float64 = self._mean + paths.prior[taken] - self._candidates.explained(paths.loads[taken])
        return drawn
