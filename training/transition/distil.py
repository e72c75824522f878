"""One small network in place of the ensemble: the mean and the standard deviation, over the members, of the logarithm of each rate.

It is asked like an ensemble: its members stand at fixed places of the normal distribution, ln r_k = μ + z_k σ, so that whatever is made of rates
has a spread, at the cost of one network. All its neighbours' rates are high together or low together, which those of members need not be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor
from tqdm import tqdm

from training.data.drawing import random_stream
from training.transition.networks import Equivariant, Prepared, RateNetwork
from training.transition.states import Array, Ranges, Scales, Transitions

_STREAM = 10
# A member's log rate is no lower than this in the lesson: what never happens is as good as what happens once in a day.
_LEAST_LOG_RATE = -12.0
_LEAST_SD = 1e-3
# The second output is ln σ + SD_SHIFT, so that a network begins with little spread; and what ln σ may be.
SD_SHIFT, LEAST_LOG_SD, MOST_LOG_SD = 2.0, -7.0, 1.5
# What a hop that never happens counts in the lesson, of what the fastest does; and steps in which the learning rate rises.
_FORGOTTEN, _RISE = 0.02, 100


@dataclass(frozen=True)
class Lesson:
    """How the student is taught.

    Attributes:
        widths: units of its hidden layers.
        learning_rate: Adam's, at first.
        steps: in all.
        batch: states in each.
        places: members that it stands for.
    """

    widths: tuple[int, ...] = (32, 32)
    learning_rate: float = 0.02
    steps: int = 1500
    batch: int = 256
    places: int = 4


class Student(RateNetwork):
    """One network with two outputs, μ and ln σ of ln r, asked as an ensemble of `places` members. Equivariant, whatever its teacher is."""

    offsets: Tensor

    def __init__(self, scales: Scales, constant_rate: float, lesson: Lesson, seed: int = 0) -> None:
        super().__init__(lesson.places, scales, constant_rate)
        self.network = Equivariant(1, scales, constant_rate, widths=lesson.widths, outputs=2, seed=seed)
        self.register_buffer("offsets", torch.from_numpy(places_of(lesson.places)))

    def prepare(self, beam: Tensor, neighbours: Tensor, context: Tensor) -> Prepared:
        """See RateNetwork."""
        return self.network.prepare(beam, neighbours, context)

    def mean_and_sd(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Of ln(r s), over the ensemble: (..., 3) each."""
        told = self.network.outputs(prepared)[0]
        return told[..., 0], torch.exp(torch.clamp(told[..., 1] - SD_SHIFT, LEAST_LOG_SD, MOST_LOG_SD))

    def raw_log_rates(self, prepared: Prepared) -> Tensor:
        """See RateNetwork."""
        mean, sd = self.mean_and_sd(prepared)
        return mean + self.offsets.to(mean).reshape(-1, *[1] * mean.ndim) * sd


def places_of(count: int) -> Array:
    """(count,) quantiles of N(0, 1) at the middle of as many equal shares, stretched to the standard deviation 1; 0 of one alone."""
    quantiles = norm.ppf((np.arange(count) + 0.5) / count)
    found: Array = quantiles / max(float(quantiles.std()), 1e-12) if count > 1 else np.zeros(1)
    return found


def distil(network: RateNetwork, data: Transitions, scales: Scales, shells: int, *, lesson: Lesson, seed: int, show: bool = True) -> Student:
    """Teaches a student what an ensemble tells of states like those it was trained on, and of the sites around them.

    Loss: w [(μ − m)² + (ln σ − ln s)²/4], m and s the members' mean and standard deviation of ln r. w: e^m over its largest, and a
    little, so that slow hops are not forgotten.

    Args:
        network: the ensemble, recalibrated if it is to be.
        data: gives neighbours and contexts; beams are drawn anew.
        scales: of the ensemble.
        shells: sites so many hops away see the beam from farther than it was ever placed: half of all lessons are about such states.
        lesson: how.
        seed: of the states and the first weights.
        show: a progress bar.
    """
    student = Student(scales, math.exp(float(network.pivot)), lesson, seed)
    optimiser = torch.optim.Adam(student.parameters(), lr=lesson.learning_rate, betas=(0.9, 0.99))
    drawing, ranges = random_stream(seed, _STREAM), Ranges.of(data)
    far = np.where(np.arange(lesson.batch) % 2, shells * ranges.neighbour_angstrom[1], 0.0)
    for step in tqdm(range(lesson.steps), desc="student", unit="step", delay=2, leave=False, disable=None if show else True):
        for group in optimiser.param_groups:
            group["lr"] = lesson.learning_rate * 0.5 * (1 + math.cos(math.pi * step / lesson.steps)) * min(1.0, (step + 1) / _RISE)
        rows = drawing.integers(0, len(data), lesson.batch)
        reach, angle = (ranges.beam_radius_angstrom + far) * np.sqrt(drawing.random(lesson.batch)), 2 * math.pi * drawing.random(lesson.batch)
        beam = torch.from_numpy(np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1))
        states = beam, torch.from_numpy(data.neighbours[rows]), torch.from_numpy(data.context[rows])
        with torch.no_grad():
            told = torch.clamp(network.log_rates(network.prepare(*states)), min=_LEAST_LOG_RATE)
            wanted, spread = told.mean(dim=0), torch.clamp(told.std(dim=0, correction=0), min=_LEAST_SD)
            weight = torch.exp(wanted - wanted.amax()) + _FORGOTTEN
        mean, sd = student.mean_and_sd(student.prepare(*states))
        off = torch.square(mean - wanted) + torch.square(torch.log(sd / spread)) / 4
        loss = (weight * off).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return student
