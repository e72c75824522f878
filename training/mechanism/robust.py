"""Noise with outliers, as one noise variance for each point, so that the posterior stays Gaussian.

ε ~ (1 − π) N(0, σ²) + π N(0, s²): most points are good, a share π is not, such as failed fits of loops. Given what the posterior says of f at a
point, that it is good has the probability r; expectation maximisation alternates between these, π and s², and the fit, in which the point's
precision is its mean r/σ² + (1 − r)/s². A point far from what the others say counts for next to nothing. Student's t, which knows all that lies
between good and bad, would need hundreds of such rounds where a quarter of the points is bad.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from training.mechanism.structure import Array


@dataclass(frozen=True)
class Outliers:
    """Their share π in (0, 1) and the variance s² of their noise, in the unit of y, squared."""

    share: float
    variance: float

    def good(self, residual: Array, variance: Array, noise_variance: float) -> Array:
        """How probable it is that a point is none, r (n,): y − E f is `residual`, var f is `variance`, and σ² is `noise_variance`."""
        good = np.log1p(-self.share) + norm.logpdf(residual, scale=np.sqrt(variance + noise_variance))
        bad = np.log(self.share) + norm.logpdf(residual, scale=np.sqrt(variance + self.variance))
        result: Array = np.exp(good - np.logaddexp(good, bad))
        return result

    def noise_weight(self, good: Array, noise_variance: float) -> Array:
        """Each point's noise variance over σ², (n,), >= 1: 1/(r + (1 − r) σ²/s²)."""
        weight: Array = 1 / (good + (1 - good) * noise_variance / self.variance)
        return weight

    def log_density(self, mean: Array, variance: Array, truth: Array, noise_variance: float) -> Array:
        """Log p(y) (n,) at new points, natural, where f is N(mean, variance)."""
        good = np.log1p(-self.share) + norm.logpdf(truth, mean, np.sqrt(variance + noise_variance))
        bad = np.log(self.share) + norm.logpdf(truth, mean, np.sqrt(variance + self.variance))
        result: Array = np.logaddexp(good, bad)
        return result


def fitted_outliers(residual: Array, variance: Array, good: Array, noise_variance: float) -> Outliers:
    """π and s² of points (n,) that are good with the probabilities `good`; s² is at least ten times σ², or the two kinds could change places."""
    bad = 1 - good
    square = float(np.sum(bad * (residual**2 + variance)) / max(float(np.sum(bad)), 1e-9))
    return Outliers(float(np.clip(np.mean(bad), 1e-3, 0.5)), max(square, 10 * noise_variance))


def first_guess(y: Array) -> tuple[Outliers, Array]:
    """Of standardised y (n,), before anything is fitted: far from the middle by more than four spreads is bad."""
    far = np.abs(y) > 4
    good = np.where(far, 0.01, 0.99)
    return Outliers(float(np.clip(np.mean(far), 0.01, 0.5)), max(10.0, float(np.mean(y[far] ** 2)) if far.any() else 10.0)), good


def middle_and_spread(y: Array) -> tuple[float, float]:
    """Median, and 1.4826 times the median distance from it: the standard deviation of a Gaussian, which outliers do not move. Unit of y."""
    middle = float(np.median(y))
    return middle, 1.4826 * float(np.median(np.abs(y - middle)))
