"""Noise with outliers, as one noise variance for each point, so that the posterior stays Gaussian.

ε ~ (1 − π) N(0, σ²) + π N(0, s²): most points are good, a share π is not, such as failed fits of loops. Given what the posterior says of f at a
point, that it is good has the probability r; expectation maximisation alternates between these with π, and the fit, in which the point's
precision is its mean r/σ² + (1 − r)/s²; σ², s² and the hyperparameters have one objective there, the expected likelihood
(`gaussian_process.StructuredGP.forward`). A point far from what the others say counts for next to nothing. Student's t, which knows all that lies
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

    def mean_variance(self, noise_variance: float) -> float:
        """Of the noise of a point of unknown kind."""
        return (1 - self.share) * noise_variance + self.share * self.variance

    def rank(self, mean: Array, variance: Array, truth: Array, noise_variance: float) -> Array:
        """Probability (n,) that y is no more than `truth`, where f is N(mean, variance)."""
        good, bad = (norm.cdf(truth, mean, np.sqrt(variance + noise)) for noise in (noise_variance, self.variance))
        result: Array = (1 - self.share) * good + self.share * bad
        return result

    def reach(self, mean: Array, variance: Array, truth: Array, noise_variance: float) -> Array:
        """Probability (n,) of the central interval of y that just holds `truth`, where f is N(mean, variance): 0.9 and less is inside the 90 %."""
        result: Array = np.abs(2 * self.rank(mean, variance, truth, noise_variance) - 1)
        return result


def of_residuals(residual: Array, variance: Array) -> tuple[float, Outliers]:
    """σ² and the outliers of residuals y − E f (n,) alone, f of known variances (n,): the mixture's own expectation maximisation, with f open.

    For models of which only predictions are at hand.
    """
    middle = max(float(np.median(residual**2)) / 0.455, 1e-12)  # of a χ² with one degree of freedom
    noise, found = middle, Outliers(0.1, 20 * middle)
    for _ in range(200):
        good = found.good(residual, variance, noise)
        means = []
        for weight, own in ((good, noise), (1 - good, found.variance)):
            # Of ε given its kind: mean shrunk by gain = own/(own + var f), and what stays open of it.
            gain = own / (own + variance)
            means.append(float(np.sum(weight * (np.square(gain * residual) + own * (1 - gain))) / max(float(np.sum(weight)), 1e-9)))
        noise, found = means[0], Outliers(share_of(good), max(means[1], 10 * means[0]))
    return noise, found


def share_of(good: Array) -> float:
    """π of points (n,) that are good with these probabilities, in [0.001, 0.5]."""
    return float(np.clip(np.mean(1 - good), 1e-3, 0.5))


def first_guess(y: Array) -> tuple[Outliers, Array]:
    """Of standardised y (n,), before anything is fitted: far from the middle by more than four spreads is bad."""
    far = np.abs(y) > 4
    good = np.where(far, 0.0, 0.99)
    return Outliers(float(np.clip(np.mean(far), 0.01, 0.5)), max(10.0, float(np.mean(y[far] ** 2)) if far.any() else 10.0)), good


def middle_and_spread(y: Array) -> tuple[float, float]:
    """Median, and 1.4826 times the median distance from it: the standard deviation of a Gaussian, which outliers do not move. Unit of y."""
    middle = float(np.median(y))
    return middle, 1.4826 * float(np.median(np.abs(y - middle)))
