"""How learning rate and the weights of the objective's parts change over a fit."""

from __future__ import annotations

from dataclasses import dataclass

from training.latent.objective import CapacityNow
from training.recipe import Training
from training.recipe_sections import Capacity

# The learning rate stays up for this share of the fit and falls exponentially over the rest.
_PLATEAU = 0.6


@dataclass(frozen=True)
class Weights:
    """Of one step: learning rate, β of pose, content and discrete latents (or a capacity), weight of the classes' entropy."""

    learning_rate: float
    pose_beta: float
    content_beta: float | CapacityNow
    discrete_beta: float | CapacityNow
    choice: float


def weights_at(training: Training, fraction: float) -> Weights:
    """The weights after `fraction` in [0, 1) of the fit (without what is taught before).

    The content's β falls linearly from `content_beta_start` (None: `beta` all along) to `beta`: held off at first, content leaves pose to
    the pose latents. A capacity stands in place of β, see recipe_sections.Capacity.
    """
    decay = max(0.0, fraction - _PLATEAU) / (1 - _PLATEAU)
    rate = training.learning_rate * (training.learning_rate_end / training.learning_rate) ** decay
    start = training.beta if training.content_beta_start is None else training.content_beta_start
    content_beta: float | CapacityNow = training.beta + falling(start - training.beta, training.content_beta_until, fraction)
    classes = training.classes
    discrete_beta: float | CapacityNow = 1 + falling(classes.beta_start - 1, classes.beta_until, fraction)
    if training.content_capacity is not None:
        content_beta = _risen(training.content_capacity, fraction)
    if training.class_capacity is not None:
        discrete_beta = _risen(training.class_capacity, fraction)
    choice = falling(classes.choice_weight, classes.choice_until, fraction)
    return Weights(rate, training.beta, content_beta, discrete_beta, choice)


def _risen(capacity: Capacity, fraction: float) -> CapacityNow:
    return CapacityNow(capacity.nats * min(1.0, fraction / capacity.until), capacity.weight)


def falling(start: float, until: float, fraction: float) -> float:
    """A weight that falls linearly from `start` to 0 at the share `until` of the fit."""
    return start * max(0.0, 1 - fraction / until)
