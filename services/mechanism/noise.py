"""The noise of a measurement: how much a new one counts, and the quantiles of what would be measured.

ε ~ (1 − π) N(0, σ²) + π N(0, s²), as training/mechanism/robust.py fits it; π = 0 where the model knows no outliers.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from dichroic.bundle.mechanism_section import Noise
from services.mechanism.answers import Float64

PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Bisections of a quantile's bracket: 2⁻⁶⁰ of it is no more than rounding.
BISECTIONS = 60


def normal_cdf(x: Float64) -> Float64:
    """Φ, accurate in both tails."""
    flat = np.ravel(x) * -math.sqrt(0.5)
    return 0.5 * np.fromiter(map(math.erfc, flat.tolist()), np.float64, flat.size).reshape(np.shape(x))


def normal_density(x: Float64) -> Float64:
    """φ."""
    density: Float64 = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return density


def total_variance(noise: Noise) -> float:
    """Of ε: that of the mixture where there are outliers."""
    return noise.variance + noise.outlier_share * ((noise.outlier_variance or noise.variance) - noise.variance)


def noise_variance_for(noise: Noise, residual: float, variance: float) -> float:
    """The noise variance that a new point is given, >= σ².

    r, that it is no outlier, by the density of y under N(0, v + σ²) and N(0, v + s²); its precision is then the mean r/σ² + (1 − r)/s².

    Args:
        noise: the model's.
        residual: y less the mean of f there, before the point.
        variance: v of f there, before the point.
    """
    if noise.outlier_variance is None:
        return noise.variance
    good = math.log1p(-noise.outlier_share) + _log_density(residual, variance + noise.variance)
    bad = math.log(noise.outlier_share) + _log_density(residual, variance + noise.outlier_variance)
    # r = 1/(1 + exp(bad − good)), without overflow.
    share = 1 / (1 + math.exp(min(bad - good, 700.0)))
    return noise.variance / (share + (1 - share) * noise.variance / noise.outlier_variance)


def quantiles(mean: Float64, variance: Float64, noise: Noise | None) -> Float64:
    """(n, 5) at PROBABILITIES: of N(mean, variance), or with `noise` of that and the noise together."""
    if noise is None or noise.outlier_variance is None:
        sd = np.sqrt(variance + (0.0 if noise is None else noise.variance))
        standard = np.array([NormalDist().inv_cdf(each) for each in PROBABILITIES])
        result: Float64 = mean[:, None] + sd[:, None] * standard
        return result
    narrow, wide = np.sqrt(variance + noise.variance), np.sqrt(variance + noise.outlier_variance)
    columns = [mean + _mixture_quantile(each, narrow, wide, noise.outlier_share) for each in PROBABILITIES]
    return np.stack(columns, axis=1)


def _mixture_quantile(probability: float, narrow: Float64, wide: Float64, share: float) -> Float64:
    """(n,) where (1 − π) Φ(q/narrow) + π Φ(q/wide) = p: between the two Gaussians' own quantiles."""
    if probability == 0.5:
        return np.zeros_like(narrow)
    if probability < 0.5:
        return -_mixture_quantile(1 - probability, narrow, wide, share)
    standard = NormalDist().inv_cdf(probability)
    low, high = standard * narrow, standard * wide
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = (1 - share) * normal_cdf(middle / narrow) + share * normal_cdf(middle / wide) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
        if np.all(high - low <= 4e-16 * high):
            break
    return (low + high) / 2


def _log_density(residual: float, variance: float) -> float:
    """Of N(0, variance), less a constant that both kinds of point have."""
    return -0.5 * (math.log(variance) + residual * residual / variance)
