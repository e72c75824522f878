"""From transitions to a fitted model: candidates trained and chosen by what their members have not seen, recalibrated, distilled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from training.errors import InputError
from training.transition.distil import Lesson, Student, distil
from training.transition.ensemble import Trained, Training, left_out_probabilities, member_probabilities, train
from training.transition.likelihood import Likelihood
from training.transition.measure import constant_probabilities, nll
from training.transition.networks import Canonical, Equivariant, RateNetwork
from training.transition.recalibrate import Recalibration, recalibrate
from training.transition.states import Array, Ranges, Scales, Transitions

Model = Literal["equivariant", "canonical"]
MODELS: dict[Model, type[Equivariant] | type[Canonical]] = {"equivariant": Equivariant, "canonical": Canonical}

# Fewer than this tell no rates at all; and beyond so many one way of training is as good as the other.
_FEWEST, _MANY = 50, 5000
# Transitions that candidates are compared on, at most.
_JUDGES = 4000
# And a constant rate is found on.
_CONSTANT = 2000
# What a constant rate may be, of the mean dwell's inverse.
_RATES = (1e-6, 1e2)


@dataclass(frozen=True)
class Fit:
    """How transitions are to be learned.

    Attributes:
        model: which network.
        likelihood: what outcomes are.
        candidates: ways of training, of which the best is kept; none given: those that suit the number of transitions.
        recalibrate: whether one scale of log rates is looked for.
        lesson: of the student; None: no student.
    """

    model: Model = "equivariant"
    likelihood: Likelihood = "end_of_dwell"
    candidates: tuple[Training, ...] = ()
    recalibrate: bool = True
    lesson: Lesson | None = None


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        network: the ensemble, float32, recalibrated where that was kept.
        student: in its place; None where none was asked for.
        training: how the ensemble was trained.
        trained: what training told.
        recalibration: None where none was asked for.
        scales: of the inputs.
        ranges: what was trained on.
        constant_rate: to each neighbour, 1/s: the best that does not look at the beam.
        held_out_nll: of the mean over the members that have not seen a transition, of every candidate; it chose among them.
        constant_nll: of the constant rate, on all transitions.
    """

    network: RateNetwork
    student: Student | None
    training: Training
    trained: Trained
    recalibration: Recalibration | None
    scales: Scales
    ranges: Ranges
    constant_rate: float
    held_out_nll: tuple[float, ...]
    constant_nll: float


def candidates_for(count: int) -> tuple[Training, ...]:
    """Ways of training that suit so many transitions: with few of them, how long to train is found by trying."""
    if count >= _MANY:
        return (Training(),)
    # More members: each transition is judged by the third of them that have not seen it.
    return tuple(Training(members=16, first_hop_steps=200, steps=40, learning_rate=rate) for rate in (0.005, 0.01))


def fit_transition(fit: Fit, arrays: Mapping[str, Array], *, seed: int, show: bool = True) -> Fitted:
    """Fits rates to transitions.

    Args:
        fit: how.
        arrays: as `Transitions.read` takes them.
        seed: the same seed, data and number of threads give the same model.
        show: progress bars.

    Raises:
        InputError: as `Transitions.read`; TOO_FEW_TRANSITIONS; NOTHING_HOPPED; TRAINING_DIVERGED.
    """
    data = Transitions.read(arrays, first_hop=fit.likelihood == "first_hop")
    if len(data) < _FEWEST:
        raise InputError("TOO_FEW_TRANSITIONS", f"{len(data)} transitions are too few to learn rates from; give {_FEWEST} or more.")
    if not (data.outcome != 0).any():
        raise InputError("NOTHING_HOPPED", "The atom stayed in all transitions, which tells no rates; add some in which it hopped.")
    scales = Scales.of(data)
    tried = []
    for training in fit.candidates or candidates_for(len(data)):
        rate, constant = constant_rate(data, fit.likelihood, training.shells)
        network = MODELS[fit.model](training.members, scales, rate, widths=training.widths, seed=seed)
        trained = train(network, data, training, fit.likelihood, seed, show=show)
        tried.append((_held_out_nll(network, data, trained, training, fit.likelihood), network, trained, training, rate, constant))
    _, network, trained, training, rate, constant = min(tried, key=lambda each: each[0])
    found = recalibrate(network, data, trained.left_out, fit.likelihood, training.shells) if fit.recalibrate else None
    student = None
    if fit.lesson is not None:
        student = distil(network, data, scales, training.shells, lesson=fit.lesson, seed=seed, show=show)
    told = tuple(each[0] for each in tried)
    return Fitted(network, student, training, trained, found, scales, Ranges.of(data), rate, told, constant)


def constant_rate(data: Transitions, likelihood: Likelihood, shells: int) -> tuple[float, float]:
    """The one rate to every neighbour, 1/s, that makes the data likeliest, and its NLL, nats per transition."""
    part = data.of(np.arange(min(len(data), _CONSTANT)))
    scale = math.log(float(part.dwell.mean()))

    def surprise(log_rate: float) -> float:
        return nll(constant_probabilities(math.exp(log_rate), part, likelihood, shells), part.outcome)

    low, high = (math.log(rate) - scale for rate in _RATES)
    found = minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    rate = math.exp(float(found.x))
    return rate, nll(constant_probabilities(rate, data, likelihood, shells), data.outcome)


def _held_out_nll(network: RateNetwork, data: Transitions, trained: Trained, training: Training, likelihood: Likelihood) -> float:
    rows = np.arange(min(len(data), _JUDGES))
    part = data.of(rows)
    mean, known = left_out_probabilities(member_probabilities(network, part, likelihood, training.shells), trained.left_out[:, rows])
    known_rows: Array = torch.where(known)[0].numpy()
    return nll(mean.numpy()[known_rows], part.outcome[known_rows]) if len(known_rows) else math.inf
