"""How learning rate and the weights of the objective's parts change over a fit."""

from __future__ import annotations

from dataclasses import dataclass

from training.recipe import Training

# The learning rate stays up for this share of the fit and falls exponentially over the rest.
_PLATEAU = 0.6


@dataclass(frozen=True)
class Weights:
    """Of one step: learning rate, β of pose, content and discrete latents, weights of the equivariance error and of the classes' entropy."""

    learning_rate: float
    pose_beta: float
    content_beta: float
    discrete_beta: float
    equivariance: float
    choice: float


def weights_at(training: Training, fraction: float) -> Weights:
    """The weights after `fraction` in [0, 1) of the fit (without the equivariance stage).

    The content's β falls linearly from `content_beta_start` (None: `beta` all along) to `beta`: held off at first, content leaves pose to
    the pose latents.
    """
    decay = max(0.0, fraction - _PLATEAU) / (1 - _PLATEAU)
    rate = training.learning_rate * (training.learning_rate_end / training.learning_rate) ** decay
    ahead = max(0.0, 1 - fraction / training.content_beta_until)
    start = training.beta if training.content_beta_start is None else training.content_beta_start
    content_beta = training.beta + (start - training.beta) * ahead
    equivariance = training.equivariance.weight * max(0.0, 1 - fraction / training.equivariance.weight_until)
    classes = training.classes
    discrete_beta = 1 + (classes.beta_start - 1) * max(0.0, 1 - fraction / classes.beta_until)
    choice = classes.choice_weight * max(0.0, 1 - fraction / classes.choice_until)
    return Weights(rate, training.beta, content_beta, discrete_beta, equivariance, choice)
