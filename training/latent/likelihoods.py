"""The three pixel likelihoods: log-probability of values given the decoder's output, and the mean image that output stands for."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.latent.specification import Likelihood

# Below these |logit| the continuous Bernoulli's closed forms lose digits to cancellation; a series takes over, exact to float32 up to there.
_SERIES_BELOW = 0.1
_MEAN_SERIES_BELOW = 0.5


def log_probability(likelihood: Likelihood, output: Tensor, values: Tensor, noise_sd: Tensor) -> Tensor:
    """Log p(x|z), summed over nothing.

    Args:
        likelihood: which.
        output: any shape, the decoder's output: logits l, or the Gaussian's mean.
        values: the same shape, x in the normalised scale ([0, 1] for both Bernoulli kinds).
        noise_sd: scalar, the Gaussian's σ.

    Returns:
        The shape of `output`, nats.
    """
    if likelihood == "gaussian":
        # log N(x; μ, σ²) = −(x − μ)²/(2σ²) − log σ − ½ log 2π
        return -0.5 * torch.square((values - output) / noise_sd) - torch.log(noise_sd) - 0.5 * math.log(2 * math.pi)
    # x log λ + (1 − x) log(1 − λ), λ = sigmoid(l)
    bernoulli = -functional.binary_cross_entropy_with_logits(output, values, reduction="none")
    if likelihood == "bernoulli":
        return bernoulli
    return bernoulli + _log_normaliser(output)


def mean_image(likelihood: Likelihood, output: Tensor) -> Tensor:
    """E[x|z] for the decoder's output, same shape, in the normalised scale."""
    if likelihood == "gaussian":
        return output
    if likelihood == "bernoulli":
        return torch.sigmoid(output)
    # Continuous Bernoulli: E[x] = 1/(1 − e^{−l}) − 1/l; near 0: ½ + l/12 − l³/720 + l⁵/30240 − l⁷/1209600
    near = torch.abs(output) < _MEAN_SERIES_BELOW
    safe = torch.where(near, torch.ones_like(output), output)
    closed = 0.5 + 0.5 / torch.tanh(0.5 * safe) - 1 / safe  # the same by 1/(1 − e^{−l}) = ½ + ½ coth(l/2), which cannot overflow
    series = 0.5 + output / 12 - output**3 / 720 + output**5 / 30240 - output**7 / 1209600
    return torch.where(near, series, closed)


def entropy_floor(values: Tensor) -> Tensor:
    """−Σ x log x + (1 − x) log(1 − x): the Bernoulli cross-entropy that grey values cost even when predicted exactly, nats, same shape."""
    return -(torch.xlogy(values, values) + torch.xlogy(1 - values, 1 - values))  # 0 log 0 = 0


def _log_normaliser(logits: Tensor) -> Tensor:
    # log C = log(2 atanh(1 − 2λ)/(1 − 2λ)) = log(l / tanh(l/2)); near 0: log 2 + l²/12 − 7 l⁴/1440
    near = torch.abs(logits) < _SERIES_BELOW
    safe = torch.where(near, torch.ones_like(logits), logits)
    closed = torch.log(safe / torch.tanh(0.5 * safe))
    return torch.where(near, math.log(2) + torch.square(logits) / 12 - 7 * logits**4 / 1440, closed)
