"""The fit of a structure to more points than an exact posterior bears: hyperparameters by the collapsed bound, the posterior of all by one pass.

The hyperparameters are a dozen numbers: a random part of the points says them to about a hundredth. A factor's weights are part of the prediction and
take one Newton step on all points, whose curvature is their Laplace covariance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from training.errors import InputError
from training.mechanism import robust
from training.mechanism.bound import negative_bound
from training.mechanism.checkpoint import FitFile, fingerprint_of
from training.mechanism.descent import Points, Start, judged, noise_of, of_f, one_choice, outliers_of, structure_of
from training.mechanism.fit import MOST_CENTRES, scatter, spread_points
from training.mechanism.gaussian_process import FACTOR_SD, StructuredGP
from training.mechanism.inducing import InducingPosterior, choose_points, condition, gauge_weights
from training.mechanism.reference_measure import measure_of
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, Mechanism, Structure, Term

# Of the points: how many tell the hyperparameters, are set aside, or may be inducing points, at most.
_OF_BOUND, _ASIDE, _CANDIDATES = 10_000, 2000, 20_000
# Inducing points are chosen anew, by the hyperparameters there are, so many times.
_CHOICES = 3
# Changes of a weight by which the curvature is measured: small to a weight's spread, large to rounding.
_STEP = 1e-5


@dataclass(frozen=True)
class FittedInducing:
    """See fit.Fitted; `posterior` stands for all points by its inducing ones."""

    structure: Structure
    posterior: InducingPosterior
    noise_variance: float
    outliers: Outliers | None
    validation_nlpd: float
    losses: tuple[float, ...]


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
    file: FitFile | None = None,
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
        file: where what was found is kept each time that inducing points are chosen. The same fit goes on from there after an interrupt, to the
            same numbers.

    Raises:
        InputError: CONSTANT_TARGET; of `file`, see checkpoint.py.
        KeyboardInterrupt: as it comes.
    """
    centre, scale = robust.middle_and_spread(y) if outliers else (float(np.mean(y)), float(np.std(y)))
    if not scale > 0:
        raise InputError("CONSTANT_TARGET", "y has the same value at half of the points or more: there is nothing to explain. Look into the data.")
    points = Points(latents, (y - centre) / scale)
    if outliers:
        guess, good = robust.first_guess(points.y)
        points = replace(points, good=good, share=guess.share)
    rng = np.random.default_rng(seed)
    told, aside = (points.of(_some(np.flatnonzero(rows), most, rng)) for rows, most in ((~validation, _OF_BOUND), (validation, _ASIDE)))
    factor_names = {name for term in terms for name in term.factors}
    orthogonal = {name for term in terms for name in term.orthogonal}
    centres = {m.name: spread_points(m.of(latents), MOST_CENTRES, rng) for m in mechanisms if m.name in factor_names}
    measures = {m.name: measure_of(m.of(latents), seed=seed) for m in mechanisms if m.name in orthogonal}

    def begin(start: int) -> StructuredGP:
        model = StructuredGP(mechanisms, terms, centres, measures, outliers=outliers)
        if outliers:
            model.outlier_noise = guess.variance
        if start:
            scatter(model, np.random.default_rng((seed, start)))
        return model

    options = (mechanisms, terms, seed, inducing, starts, outliers)
    kept = None if file is None else _Kept(file, fingerprint_of((latents, y, validation), options))
    model, best = _best_start(begin, told, aside, inducing=inducing, seed=seed, starts=starts, kept=kept)
    chosen = latents[_some(np.arange(len(y)), _CANDIDATES, np.random.default_rng((seed, starts)))]
    chosen = chosen[choose_points(structure_of(model), chosen, inducing, seed=seed)]
    if outliers:
        points = _all_judged(model, chosen, best.points, points)
    covariance = {name: _refined(model, name, chosen, points) for name in model.factors}
    structure = model.structure(covariance)
    in_unit = tuple(replace(values, variance=values.variance * scale**2) for values in structure.terms)
    structure = replace(structure, terms=in_unit, mean=structure.mean * scale + centre)
    reference = gauge_weights(structure, chosen, latents)
    posterior = condition(structure, chosen, latents, y, noise_of(model, points) * scale**2, reference=reference)
    mixture = Outliers(points.share, float(model.outlier_noise.detach()) * scale**2) if outliers else None
    noise = float(model.noise.detach()) * scale**2
    if file is not None:
        file.clear()
    return FittedInducing(structure, posterior, noise, mixture, best.held_out + float(np.log(scale)), best.losses)


def _best_start(
    begin: Callable[[int], StructuredGP], told: Points, aside: Points, *, inducing: int, seed: int, starts: int, kept: _Kept | None
) -> tuple[StructuredGP, Start]:
    """The start with the best density of the points set aside, and a model with its hyperparameters."""
    best, running = (None, None) if kept is None else kept.load(told)
    first = 0 if running is None else running.start
    for start in tqdm(range(first, starts), desc="hyperparameters", unit="start", delay=2, leave=False, disable=None):
        model = begin(start)
        found = running or Start(start, 0, copy.deepcopy(model.state_dict()), told, np.inf, ())
        running = None
        while found.choices < _CHOICES:
            found = one_choice(model, found, aside, inducing, seed)
            if kept is not None:
                kept.save(best, found)
        if best is None or found.held_out < best.held_out:
            best = found
    assert best is not None  # noqa: S101 (starts >= 1)
    model.load_state_dict(best.state)
    return model, best


@dataclass(frozen=True)
class _Kept:
    """The best finished start and the running one, on disk."""

    file: FitFile
    fingerprint: str

    def save(self, best: Start | None, running: Start) -> None:
        arrays, facts = {}, {}
        for name, each in (("best", best), ("running", running)):
            if each is None:
                continue
            arrays |= {f"{name}/{key}": tensor.numpy() for key, tensor in each.state.items()}
            if each.points.good is not None:
                arrays[f"{name}.good"] = each.points.good
            # A float's repr is all of it, and JSON's.
            facts[name] = {"start": each.start, "choices": each.choices, "share": each.points.share, "held_out": each.held_out, "losses": each.losses}
        self.file.save(self.fingerprint, arrays, facts)

    def load(self, points: Points) -> tuple[Start | None, Start | None]:
        """Of a fit to `points`; None where there is none."""
        arrays, facts = self.file.load(self.fingerprint) or ({}, {})
        found: list[Start | None] = []
        for name in ("best", "running"):
            if name not in facts:
                found.append(None)
                continue
            told = facts[name]
            state = {key.removeprefix(f"{name}/"): torch.from_numpy(array) for key, array in arrays.items() if key.startswith(f"{name}/")}
            judged_then = replace(points, good=arrays.get(f"{name}.good"), share=told["share"])
            found.append(Start(told["start"], told["choices"], state, judged_then, told["held_out"], tuple(told["losses"])))
        return found[0], found[1]


def _all_judged(model: StructuredGP, u: Array, told: Points, points: Points) -> Points:
    """All points: first by what a part of them says, then each by what all others say."""
    mean, variance = of_f(model, u, told, points.latents)
    outliers = outliers_of(model, told)
    points = replace(points, share=told.share, good=outliers.good(points.y - mean, variance, float(model.noise.detach())))
    return judged(model, u, points)


def _refined(model: StructuredGP, name: str, u: Array, points: Points) -> Array:
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
