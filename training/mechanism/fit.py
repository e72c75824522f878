"""Hyperparameters by the marginal likelihood with priors, stopped by held-out density, and the exact posterior of all training points."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from training.errors import InputError
from training.mechanism import robust
from training.mechanism.figures import nlpd
from training.mechanism.gaussian_process import FACTOR_SD, StructuredGP
from training.mechanism.posterior import Posterior
from training.mechanism.reference_measure import measure_of
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, Mechanism, Structure, Term

_ROUNDS, _STEPS = 20, 8
# Rounds without a better held-out density after which a start is given up.
_PATIENCE = 4
MOST_CENTRES = 16
# Where there may be outliers: short fits with new probabilities, at most; the mean change of these under which another would tell nothing; and
# the rounds of each. And how often all points are judged at last.
_REWEIGHTINGS, _SETTLED, _SHORT_ROUNDS, _LAST_JUDGEMENTS = 12, 2e-3, 2, 2


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        structure: in the unit of y.
        posterior: of all training points.
        noise_variance: σ² in the unit of y, squared: that of a point that is no outlier.
        outliers: of the noise; None: it is Gaussian.
        validation_nlpd: of the points set aside while the hyperparameters were fitted, nats per point; it chose among rounds and starts, so it is
            too good to be reported.
        losses: −log posterior density per point before each round of the start that was kept.
    """

    structure: Structure
    posterior: Posterior
    noise_variance: float
    outliers: Outliers | None
    validation_nlpd: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class _Points:
    """Standardised: `latents` (N, D), `y` (N,) and which are for `validation` (N,).

    Where there may be outliers: the probabilities that each is `good` (N,), and the outliers' `share` π.
    """

    latents: Array
    y: Array
    validation: Array
    good: Array | None = None
    share: float = 0.0


def fit(
    mechanisms: tuple[Mechanism, ...],
    terms: tuple[Term, ...],
    latents: Array,
    y: Array,
    *,
    seed: int,
    validation: Array,
    starts: int = 3,
    outliers: bool = False,
) -> Fitted:
    """Fits a structure.

    Args:
        mechanisms: whose latents are which columns.
        terms: the form.
        latents: (N, D) float64 z of the training points, each column standardised.
        y: (N,) float64.
        seed: of the starts and the factors' centres.
        validation: (N,) bool, points that do not enter the likelihood while the hyperparameters are fitted; they choose when to stop, and then
            join the posterior.
        starts: beginnings of the hyperparameters, of which the best on the validation points is kept.
        outliers: whether some points may be far off, as failed fits are; see `robust.py`.

    Raises:
        InputError: CONSTANT_TARGET.
    """
    centre, scale = robust.middle_and_spread(y) if outliers else (float(np.mean(y)), float(np.std(y)))
    if not scale > 0:
        raise InputError("CONSTANT_TARGET", "y has the same value at half of the points or more: there is nothing to explain. Look into the data.")
    points = _Points(latents, (y - centre) / scale, validation)
    if outliers:
        guess, good = robust.first_guess(points.y)
        points = replace(points, good=good, share=guess.share)
    rng = np.random.default_rng(seed)
    factor_names = sorted({name for term in terms for name in term.factors})
    centres = {m.name: spread_points(m.of(latents), MOST_CENTRES, rng) for m in mechanisms if m.name in factor_names}
    orthogonal = {name for term in terms for name in term.orthogonal}
    measures = {m.name: measure_of(m.of(latents), seed=seed) for m in mechanisms if m.name in orthogonal}
    best: tuple[float, StructuredGP, list[float]] | None = None
    for start in tqdm(range(starts), desc="hyperparameters", unit="start", delay=2, leave=False, disable=None):
        model = StructuredGP(mechanisms, terms, centres, measures, outliers=outliers)
        if outliers:
            model.outlier_noise = guess.variance
        if start:
            scatter(model, rng)
        found, own = _with_outliers(model, points) if outliers else (_one_start(model, points), points)
        if best is None or found[0] < best[0]:
            best, chosen = found, own
    assert best is not None  # noqa: S101 (starts >= 1)
    value, model, losses = best
    if outliers:
        chosen = _with_those_aside(model, chosen)
    structure = _in_unit(model, chosen, centre, scale)
    posterior = Posterior(structure, latents, y, _noise(model, chosen) * scale**2, np.full(len(y), 1 / len(y)))
    told = replace(_outliers(model, chosen), variance=float(model.outlier_noise.detach()) * scale**2) if outliers else None
    return Fitted(structure, posterior, float(model.noise.detach()) * scale**2, told, value + float(np.log(scale)), tuple(losses))


def _noise(model: StructuredGP, points: _Points) -> Array:
    """Each point's noise variance (N,)."""
    noise = float(model.noise.detach())
    if points.good is None:
        return np.full(len(points.y), noise)
    return noise * _outliers(model, points).noise_weight(points.good, noise)


def _outliers(model: StructuredGP, points: _Points) -> Outliers:
    return Outliers(points.share, float(model.outlier_noise.detach()))


def _one_start(model: StructuredGP, points: _Points, rounds: int = _ROUNDS) -> tuple[float, StructuredGP, list[float]]:
    """L-BFGS in rounds; the hyperparameters of the round with the best held-out density."""
    fitted = ~points.validation
    inputs, targets = (torch.from_numpy(values[fitted]) for values in (points.latents, points.y))
    good = None if points.good is None else torch.from_numpy(points.good[fitted])
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.LBFGS(free, lr=1.0, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss: torch.Tensor = model(inputs, targets, good)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    best, best_state, since, losses = np.inf, copy.deepcopy(model.state_dict()), 0, []
    for _ in range(rounds):
        try:
            losses.append(float(optimiser.step(closure).detach()))  # type: ignore[no-untyped-call]
        except torch.linalg.LinAlgError:
            break  # a step to where Σ is singular; what was found before stands
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            break
        value = _held_out(model, points) if points.validation.any() else losses[-1]
        if value < best - 1e-4:
            best, best_state, since = value, copy.deepcopy(model.state_dict()), 0
        else:
            since += 1
        if since >= _PATIENCE or (len(losses) > 1 and abs(losses[-2] - losses[-1]) < 1e-7):
            break
    model.load_state_dict(best_state)
    return best, model, losses


def _with_outliers(model: StructuredGP, points: _Points) -> tuple[tuple[float, StructuredGP, list[float]], _Points]:
    """One start where who is an outlier has to be found too: short fits and judgements in turn, and then a whole one."""
    for _ in range(_REWEIGHTINGS):
        _one_start(model, points, _SHORT_ROUNDS)
        before, points = points, _judged(model, points)
        if _change(before, points) < _SETTLED:
            break
    found = _one_start(model, points)
    return found, _judged(model, points)


def _with_those_aside(model: StructuredGP, points: _Points) -> _Points:
    """σ², s², π and the mean once more from all points, kernels held: how noisy points are differs from place to place, and half may be set aside."""
    kernels = [parameter for name, parameter in model.named_parameters() if name not in {"mean", "raw_noise", "raw_outlier"}]
    for parameter in kernels:
        parameter.requires_grad_(False)
    everyone = replace(points, validation=np.zeros(len(points.y), dtype=bool))
    for _ in range(_LAST_JUDGEMENTS):
        everyone = _judged(model, everyone)
        _one_start(model, everyone, 1)
    for parameter in kernels:
        parameter.requires_grad_(True)
    return _judged(model, everyone)


def _posterior(model: StructuredGP, points: _Points, rows: Array) -> Posterior:
    """Of the standardised points `rows` (N,) bool, without the factors' own uncertainty."""
    structure = model.structure({name: np.zeros((len(f.weights), len(f.weights))) for name, f in model.factors.items()})
    count = int(rows.sum())
    return Posterior(structure, points.latents[rows], points.y[rows], _noise(model, points)[rows], np.full(count, 1 / count))


def _held_out(model: StructuredGP, points: _Points) -> float:
    told = _posterior(model, points, ~points.validation).predict(points.latents[points.validation])
    noise, truth = float(model.noise.detach()), points.y[points.validation]
    if points.good is None:
        return nlpd(told.total_mean, told.total_variance + noise, truth)
    return -float(np.mean(_outliers(model, points).log_density(told.total_mean, told.total_variance, truth, noise)))


def _judged(model: StructuredGP, points: _Points) -> _Points:
    """Who is an outlier, and how many are: each point is judged by what the others say, as a new point will be.

    By itself, a lonely wrong point would be good for ever. Those set aside are judged too, and tell nothing of π.
    """
    fitted, noise = ~points.validation, float(model.noise.detach())
    given, outliers = _posterior(model, points, fitted), _outliers(model, points)
    # Leave one out: y_i − E[f_i | the others] = α_i/d_i and var[y_i | the others] = 1/d_i with d = diag Σ⁻¹.
    precision = np.einsum("ji,ji->i", given.inverse, given.inverse)
    residual, variance = given.alpha / precision, np.clip(1 / precision - given.noise_variance, 0, None)
    good = np.empty(len(points.y))
    good[fitted] = outliers.good(residual, variance, noise)
    share = robust.share_of(good[fitted])
    if points.validation.any():
        told = given.predict(points.latents[points.validation])
        aside = replace(outliers, share=share)
        good[points.validation] = aside.good(points.y[points.validation] - told.total_mean, told.total_variance, noise)
    return replace(points, good=good, share=share)


def _change(before: _Points, after: _Points) -> float:
    """How far the probabilities moved, in the mean."""
    assert before.good is not None and after.good is not None  # noqa: S101, PT018 (asked for)
    return float(np.mean(np.abs(after.good - before.good)))


def _in_unit(model: StructuredGP, points: _Points, centre: float, scale: float) -> Structure:
    """The structure for y in its own unit, with the factors' Laplace covariance."""
    covariance = {name: _laplace(model, name, points) for name in model.factors}
    standard = model.structure(covariance)
    terms = tuple(replace(values, variance=values.variance * scale**2) for values in standard.terms)
    return replace(standard, terms=terms, mean=standard.mean * scale + centre)


def _laplace(model: StructuredGP, name: str, points: _Points) -> Array:
    """Covariance (M, M) of a factor's weights: the inverse Hessian of −log p(w, y | the other hyperparameters)."""
    inputs, targets = (torch.from_numpy(values) for values in (points.latents, points.y))
    good = None if points.good is None else torch.from_numpy(points.good)
    at = model.factors[name].weights.detach().clone()

    def negative(values: torch.Tensor) -> torch.Tensor:
        # The weights as this function's argument, everything else as it is.
        found: torch.Tensor = torch.func.functional_call(model, {f"factors.{name}.weights": values}, (inputs, targets, good))
        return found * len(targets)

    hessian = torch.autograd.functional.hessian(negative, at).numpy()  # type: ignore[no-untyped-call]
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # The prior's curvature is a floor: the fit may have stopped early, where the likelihood's is negative.
    return (vectors / np.maximum(values, FACTOR_SD**-2)) @ vectors.T


def scatter(model: StructuredGP, rng: np.random.Generator) -> None:
    """Other lengthscales to begin with, from about half to twice as long."""
    for name, parameter in model.named_parameters():
        if name.endswith("raw_lengthscale"):
            parameter.data += torch.from_numpy(rng.normal(0.0, 0.7, tuple(parameter.shape)))


def spread_points(latents: Array, most: int, rng: np.random.Generator) -> Array:
    """Up to `most` of the latents (n, d), each the farthest from those before it, until none is farther than a tenth of the spread."""
    chosen = [latents[int(rng.integers(len(latents)))]]
    apart = np.linalg.norm(latents - chosen[0], axis=1)
    enough = 0.1 * float(apart.max())
    while len(chosen) < most and apart.max() > enough:
        chosen.append(latents[int(apart.argmax())])
        apart = np.minimum(apart, np.linalg.norm(latents - chosen[-1], axis=1))
    return np.stack(chosen)
