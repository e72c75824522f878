"""The fit of a structure to more points than an exact posterior bears: hyperparameters by the collapsed bound, the posterior of all by one pass.

The hyperparameters are a dozen numbers: a random part of the points says them to about a hundredth. A factor's weights are part of the prediction and
take one Newton step on all points, whose curvature is their Laplace covariance.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from training.errors import InputError
from training.mechanism import robust
from training.mechanism.bound import negative_bound
from training.mechanism.figures import nlpd
from training.mechanism.fit import MOST_CENTRES, scatter, spread_points
from training.mechanism.gaussian_process import FACTOR_SD, StructuredGP
from training.mechanism.inducing import InducingPosterior, choose_points, condition, gauge_weights
from training.mechanism.measure import measure_of
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, Mechanism, Structure, Term

# With exact inference up to here; see decision 0013.
MOST_EXACT = 5000
# Of the points: how many tell the hyperparameters, are set aside, or may be inducing points, at most.
_OF_BOUND, _ASIDE, _CANDIDATES = 10_000, 2000, 20_000
# Inducing points are chosen anew, by the hyperparameters there are, so many times; each time L-BFGS has rounds of steps.
_CHOICES, _ROUNDS, _STEPS, _PATIENCE = 3, 8, 8, 2
# Changes of a weight by which the curvature is measured: small to a weight's spread, large to rounding.
_STEP = 1e-5
_SETTLED = 2e-3


@dataclass(frozen=True)
class FittedInducing:
    """See fit.Fitted; `posterior` stands for all points by its inducing ones."""

    structure: Structure
    posterior: InducingPosterior
    noise_variance: float
    outliers: Outliers | None
    validation_nlpd: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class _Points:
    """Standardised: `latents` (n, D), `y` (n,), and where there may be outliers the probabilities of being `good` (n,) and their `share` π."""

    latents: Array
    y: Array
    good: Array | None = None
    share: float = 0.0

    def of(self, rows: Array) -> _Points:
        """Some of them."""
        return replace(self, latents=self.latents[rows], y=self.y[rows], good=None if self.good is None else self.good[rows])


def fit_inducing(
    mechanisms: tuple[Mechanism, ...],
    terms: tuple[Term, ...],
    latents: Array,
    y: Array,
    *,
    seed: int,
    validation: Array,
    inducing: int = 512,
    starts: int = 1,
    outliers: bool = False,
) -> FittedInducing:
    """Fits a structure to N points, of which M = `inducing` or fewer stand for all.

    Args:
        mechanisms: whose latents are which columns.
        terms: the form.
        latents: (N, D) float64 z of the training points, each column standardised.
        y: (N,) float64.
        seed: of the starts, the random parts and the inducing points.
        validation: (N,) bool, points that do not enter the bound; they choose when to stop, and then join the posterior.
        inducing: M at most.
        starts: beginnings of the hyperparameters, of which the best on the validation points is kept.
        outliers: whether some points may be far off; see `robust.py`.

    Raises:
        InputError: CONSTANT_TARGET.
    """
    centre, scale = robust.middle_and_spread(y) if outliers else (float(np.mean(y)), float(np.std(y)))
    if not scale > 0:
        raise InputError("CONSTANT_TARGET", "y has the same value at half of the points or more: there is nothing to explain. Look into the data.")
    points = _Points(latents, (y - centre) / scale)
    if outliers:
        guess, good = robust.first_guess(points.y)
        points = replace(points, good=good, share=guess.share)
    rng = np.random.default_rng(seed)
    told, aside = (points.of(_some(np.flatnonzero(rows), most, rng)) for rows, most in ((~validation, _OF_BOUND), (validation, _ASIDE)))
    factor_names = {name for term in terms for name in term.factors}
    orthogonal = {name for term in terms for name in term.orthogonal}
    centres = {m.name: spread_points(m.of(latents), MOST_CENTRES, rng) for m in mechanisms if m.name in factor_names}
    measures = {m.name: measure_of(m.of(latents), seed=seed) for m in mechanisms if m.name in orthogonal}
    best: _Start | None = None
    for start in tqdm(range(starts), desc="hyperparameters", unit="start", delay=2, leave=False, disable=None):
        model = StructuredGP(mechanisms, terms, centres, measures, outliers=outliers)
        if outliers:
            model.outlier_noise = guess.variance
        if start:
            scatter(model, rng)
        found = _one_start(model, told, aside, inducing, seed)
        if best is None or found.held_out < best.held_out:
            best = found
    assert best is not None  # noqa: S101 (starts >= 1)
    model = best.model
    chosen = latents[_some(np.arange(len(y)), _CANDIDATES, rng)]
    chosen = chosen[choose_points(_structure(model), chosen, inducing, seed=seed)]
    if outliers:
        points = _all_judged(model, chosen, best.points, points)
    covariance = {name: _refined(model, name, chosen, points) for name in model.factors}
    structure = model.structure(covariance)
    in_unit = tuple(replace(values, variance=values.variance * scale**2) for values in structure.terms)
    structure = replace(structure, terms=in_unit, mean=structure.mean * scale + centre)
    reference = gauge_weights(structure, chosen, latents)
    posterior = condition(structure, chosen, latents, y, _noise(model, points) * scale**2, reference=reference)
    mixture = Outliers(points.share, float(model.outlier_noise.detach()) * scale**2) if outliers else None
    noise = float(model.noise.detach()) * scale**2
    return FittedInducing(structure, posterior, noise, mixture, best.held_out + float(np.log(scale)), tuple(best.losses))


@dataclass(frozen=True)
class _Start:
    """A fitted model, the points that told it as they are judged, and its density of those set aside."""

    model: StructuredGP
    points: _Points
    held_out: float
    losses: list[float]


def _one_start(model: StructuredGP, points: _Points, aside: _Points, inducing: int, seed: int) -> _Start:
    """Inducing points and hyperparameters in turn; the hyperparameters of the round with the best held-out density."""
    best, losses = _Start(model, points, np.inf, []), []
    state = copy.deepcopy(model.state_dict())
    for choice in range(_CHOICES):
        u = points.latents[choose_points(_structure(model), points.latents, inducing, seed=seed + choice)]
        if points.good is not None and choice:
            points = _judged(model, u, points)
        since = 0
        for _ in range(_ROUNDS):
            loss = _descend(model, u, points)
            if loss is None:
                break
            losses.append(loss)
            value = _held_out(model, u, points, aside) if len(aside.y) else loss
            if value < best.held_out - 1e-4:
                best, state, since = replace(best, points=points, held_out=value), copy.deepcopy(model.state_dict()), 0
            else:
                since += 1
            if points.good is not None:
                points = _judged(model, u, points)
            if since >= _PATIENCE or (len(losses) > 1 and abs(losses[-2] - loss) < 1e-6):
                break
        model.load_state_dict(state)
    return replace(best, losses=losses)


def _descend(model: StructuredGP, u: Array, points: _Points) -> float | None:
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


def _structure(model: StructuredGP) -> Structure:
    """As it is now, without the factors' own uncertainty."""
    return model.structure({name: np.zeros((len(f.weights), len(f.weights))) for name, f in model.factors.items()})


def _noise(model: StructuredGP, points: _Points) -> Array:
    """Each point's noise variance (n,)."""
    noise = float(model.noise.detach())
    if points.good is None:
        return np.full(len(points.y), noise)
    return noise * _outliers(model, points).noise_weight(points.good, noise)


def _outliers(model: StructuredGP, points: _Points) -> Outliers:
    return Outliers(points.share, float(model.outlier_noise.detach()))


def _of_f(model: StructuredGP, u: Array, points: _Points, latents: Array) -> tuple[Array, Array]:
    """Mean and variance (n,) of f at latents (n, D), given points."""
    no_gauge = np.full(len(u), 1 / len(u))
    return condition(_structure(model), u, points.latents, points.y, _noise(model, points), reference=no_gauge).total(latents)


def _held_out(model: StructuredGP, u: Array, points: _Points, aside: _Points) -> float:
    (mean, variance), noise = _of_f(model, u, points, aside.latents), float(model.noise.detach())
    if points.good is None:
        return nlpd(mean, variance + noise, aside.y)
    return -float(np.mean(_outliers(model, points).log_density(mean, variance, aside.y, noise)))


def _judged(model: StructuredGP, u: Array, points: _Points) -> _Points:
    """Who is an outlier, by what the others say of it."""
    noise, outliers = _noise(model, points), _outliers(model, points)
    mean, variance = _of_f(model, u, points, points.latents)
    # Leave one out: with the posterior's variance v of f_i, 1 − v/σ_i² is what the others do not already say of y_i.
    alone = np.clip(1 - variance / noise, 1e-3, 1)
    good = outliers.good((points.y - mean) / alone, variance / alone, float(model.noise.detach()))
    return replace(points, good=good, share=robust.share_of(good))


def _all_judged(model: StructuredGP, u: Array, told: _Points, points: _Points) -> _Points:
    """All points: first by what a part of them says, then each by what all others say."""
    mean, variance = _of_f(model, u, told, points.latents)
    outliers = _outliers(model, told)
    points = replace(points, share=told.share, good=outliers.good(points.y - mean, variance, float(model.noise.detach())))
    return _judged(model, u, points)


def _refined(model: StructuredGP, name: str, u: Array, points: _Points) -> Array:
    """One Newton step of a factor's weights on all points; returns their Laplace covariance (W, W). W + 1 passes."""
    inputs, targets, inducing = (torch.from_numpy(values) for values in (points.latents, points.y, u))
    good = None if points.good is None else torch.from_numpy(points.good)
    weights = model.factors[name].weights
    at = weights.detach().clone()

    def slope(values: torch.Tensor) -> Array:
        weights.data = values
        model.zero_grad()
        (negative_bound(model, inducing, inputs, targets, good) * len(targets)).backward()  # type: ignore[no-untyped-call]
        found: Array = weights.grad.numpy().copy()
        return found

    steps = _STEP * torch.eye(len(at), dtype=torch.float64)
    base = slope(at)
    rows = [slope(at + step) - base for step in tqdm(steps, desc=f"factor {name}", unit="pass", delay=2, leave=False, disable=None)]
    hessian = np.stack(rows) / _STEP
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    covariance: Array = (vectors / np.maximum(values, FACTOR_SD**-2)) @ vectors.T
    step = covariance @ base
    # Where the curvature was no more than the prior's, or the step is larger than a factor is, the quadratic is none.
    weights.data = at - torch.from_numpy(step) if np.abs(step).max() < FACTOR_SD / 2 else at
    return covariance


def _some(rows: Array, most: int, rng: np.random.Generator) -> Array:
    """Up to `most` of the indices (n,), in their order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
