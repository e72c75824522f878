"""How good predictions and their uncertainty are. numpy and scipy alone."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from training.mechanism.structure import Array


def rmse(predicted: Array, truth: Array) -> float:
    """Root mean square error, in the unit of both (n,)."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def coverage(mean: Array, variance: Array, truth: Array, probability: float) -> float:
    """The share of `truth` (n,) inside the central interval of N(mean, variance) that should hold `probability` of it."""
    half = norm.ppf(0.5 + probability / 2) * np.sqrt(variance)
    return float(np.mean(np.abs(truth - mean) <= half))


def nlpd(mean: Array, variance: Array, truth: Array) -> float:
    """Mean negative log predictive density, nats per point; in the logarithm of the unit."""
    return float(np.mean(0.5 * np.log(2 * np.pi * variance) + 0.5 * (truth - mean) ** 2 / variance))


def crps(mean: Array, variance: Array, truth: Array) -> float:
    """Mean continuous ranked probability score of a Gaussian: σ [u (2Φ(u) − 1) + 2φ(u) − 1/√π], u = (y − μ)/σ; in the unit of y."""
    sd = np.sqrt(variance)
    u = (truth - mean) / sd
    return float(np.mean(sd * (u * (2 * norm.cdf(u) - 1) + 2 * norm.pdf(u) - 1 / np.sqrt(np.pi))))


def r_squared(predicted: Array, truth: Array) -> float:
    """1 − Σ(t − p)²/Σ(t − mean t)². Both are in the same gauge already; nothing is fitted."""
    return float(1 - np.sum((truth - predicted) ** 2) / np.sum((truth - truth.mean()) ** 2))
