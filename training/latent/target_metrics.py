"""How well targets and outputs are told, on rows that the fit did not have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

COVERAGE = 0.9


@dataclass(frozen=True)
class TargetFigures:
    """Of one target over the rows where it is known.

    Attributes:
        rmse: root mean square of mean − truth, in the target's unit.
        r2: 1 − squared error over the spread about the truth's own mean; NaN where the truth does not vary.
        nlpd: mean −log N(truth; mean, sd²) in nats, of the target in its unit.
        coverage: share of truths within the central 90 % interval.
    """

    rmse: float
    r2: float
    nlpd: float
    coverage: float


def target_figures(mean: Array, sd: Array, truth: Array) -> TargetFigures:
    """Compares predictions `mean` and `sd` (n,) of one target with the truth (n,), n >= 1, none of it NaN; all in one unit."""
    z = (truth - mean) / sd
    nlpd = 0.5 * np.square(z) + np.log(sd) + 0.5 * math.log(2 * math.pi)
    within = np.abs(z) <= NormalDist().inv_cdf(0.5 + COVERAGE / 2)
    return TargetFigures(float(np.sqrt(np.mean(np.square(truth - mean)))), r2(mean, truth), float(nlpd.mean()), float(within.mean()))


def r2(predicted: Array, truth: Array) -> float:
    """1 − Σ (truth − predicted)² / Σ (truth − mean over rows)², over all elements (n, …); NaN where the truth does not vary."""
    truth = truth.astype(np.float64)
    spread = np.sum(np.square(truth - truth.mean(axis=0)))
    return float(1 - np.sum(np.square(truth - predicted)) / spread) if spread > 0 else math.nan
