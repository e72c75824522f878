"""The hyperparameters of a process with inducing points: points are chosen by what is known, and the bound descends from there, in turn."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from training.mechanism import robust
from training.mechanism.bound import negative_bound
from training.mechanism.figures import nlpd
from training.mechanism.gaussian_process import StructuredGP
from training.mechanism.inducing import choose_points, condition
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, Structure

# Rounds of L-BFGS after a choice of inducing points, at most, steps of each, and rounds without a better density after which it is given up.
_ROUNDS, _STEPS, _PATIENCE = 8, 8, 2


@dataclass(frozen=True)
class Points:
    """Standardised: `latents` (n, D), `y` (n,), and where there may be outliers the probabilities of being `good` (n,) and their `share` π."""

    latents: Array
    y: Array
    good: Array | None = None
    share: float = 0.0

    def of(self, rows: Array) -> Points:
        """Some of them."""
        return replace(self, latents=self.latents[rows], y=self.y[rows], good=None if self.good is None else self.good[rows])


@dataclass(frozen=True)
class Start:
    """One beginning, after `choices` of inducing points: the best hyperparameters so far, the points as judged then, the density of those aside."""

    start: int
    choices: int
    state: dict[str, torch.Tensor]
    points: Points
    held_out: float
    losses: tuple[float, ...]


def one_choice(model: StructuredGP, found: Start, aside: Points, inducing: int, seed: int) -> Start:
    """New inducing points, by the best hyperparameters so far, and rounds of descent from there."""
    model.load_state_dict(found.state)
    points, losses, since = found.points, list(found.losses), 0
    u = points.latents[choose_points(structure_of(model), points.latents, inducing, seed=seed + found.choices)]
    for _ in range(_ROUNDS):
        loss = _descend(model, u, points)
        if loss is None:
            break
        losses.append(loss)
        value = _held_out(model, u, points, aside) if len(aside.y) else loss
        if points.good is not None:
            points = judged(model, u, points)
        if value < found.held_out - 1e-4:
            found, since = replace(found, state=copy.deepcopy(model.state_dict()), points=points, held_out=value), 0
        else:
            since += 1
        if since >= _PATIENCE or (len(losses) > 1 and abs(losses[-2] - loss) < 1e-6):
            break
    return replace(found, choices=found.choices + 1, losses=tuple(losses))


def _descend(model: StructuredGP, u: Array, points: Points) -> float | None:
    """Steps of L-BFGS on the bound; None where they left what can be factorised, and the model is not to be used."""
    inputs, targets, inducing = (torch.from_numpy(values) for values in (points.latents, points.y, u))
    good = None if points.good is None else torch.from_numpy(points.good)
    optimiser = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = negative_bound(model, inducing, inputs, targets, good)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    try:
        loss = float(optimiser.step(closure).detach())  # type: ignore[no-untyped-call]
    except torch.linalg.LinAlgError:
        return None
    return loss if all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()) else None


def structure_of(model: StructuredGP) -> Structure:
    """As it is now, without the factors' own uncertainty."""
    return model.structure({name: np.zeros((len(f.weights), len(f.weights))) for name, f in model.factors.items()})


def noise_of(model: StructuredGP, points: Points) -> Array:
    """Each point's noise variance (n,)."""
    noise = float(model.noise.detach())
    if points.good is None:
        return np.full(len(points.y), noise)
    return noise * outliers_of(model, points).noise_weight(points.good, noise)


def outliers_of(model: StructuredGP, points: Points) -> Outliers:
    """As they are known so far."""
    return Outliers(points.share, float(model.outlier_noise.detach()))


def of_f(model: StructuredGP, u: Array, points: Points, latents: Array) -> tuple[Array, Array]:
    """Mean and variance (n,) of f at latents (n, D), given points."""
    no_gauge = np.full(len(u), 1 / len(u))
    return condition(structure_of(model), u, points.latents, points.y, noise_of(model, points), reference=no_gauge).total(latents)


def _held_out(model: StructuredGP, u: Array, points: Points, aside: Points) -> float:
    (mean, variance), noise = of_f(model, u, points, aside.latents), float(model.noise.detach())
    if points.good is None:
        return nlpd(mean, variance + noise, aside.y)
    return -float(np.mean(outliers_of(model, points).log_density(mean, variance, aside.y, noise)))


def judged(model: StructuredGP, u: Array, points: Points) -> Points:
    """Who is an outlier, by what the others say of it."""
    noise, outliers = noise_of(model, points), outliers_of(model, points)
    mean, variance = of_f(model, u, points, points.latents)
    # Leave one out: with the posterior's variance v of f_i, 1 − v/σ_i² is what the others do not already say of y_i.
    alone = np.clip(1 - variance / noise, 1e-3, 1)
    good = outliers.good((points.y - mean) / alone, variance / alone, float(model.noise.detach()))
    return replace(points, good=good, share=robust.share_of(good))
