"""Hyperparameters by the marginal likelihood with priors, stopped by held-out density, and the exact posterior of all training points."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from training.mechanism.figures import nlpd
from training.mechanism.gaussian_process import StructuredGP
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Array, Mechanism, Structure, Term

_ROUNDS, _STEPS = 20, 8
# Rounds without a better held-out density after which a start is given up.
_PATIENCE = 4
_MOST_CENTRES = 16


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        structure: in the unit of y.
        posterior: of all training points.
        noise_variance: σ² in the unit of y, squared.
        validation_nlpd: of the points set aside while the hyperparameters were fitted, nats per point.
        losses: −log posterior density per point after each round of the start that was kept.
    """

    structure: Structure
    posterior: Posterior
    noise_variance: float
    validation_nlpd: float
    losses: tuple[float, ...]


def fit(
    mechanisms: tuple[Mechanism, ...], terms: tuple[Term, ...], latents: Array, y: Array, *, seed: int, validation: Array, starts: int = 3
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
    """
    scale, centre = float(np.std(y)), float(np.mean(y))
    standard = (y - centre) / scale
    rng = np.random.default_rng(seed)
    factor_names = sorted({name for term in terms for name in term.factors})
    centres = {m.name: _spread_points(m.of(latents), _MOST_CENTRES, rng) for m in mechanisms if m.name in factor_names}
    best: tuple[float, StructuredGP, list[float]] | None = None
    for start in tqdm(range(starts), desc="hyperparameters", unit="start", delay=2, leave=False, disable=None):
        model = StructuredGP(mechanisms, terms, centres)
        if start:
            _scatter(model, rng)
        found = _one_start(model, latents, standard, validation)
        if best is None or found[0] < best[0]:
            best = found
    assert best is not None  # noqa: S101 (starts >= 1)
    value, model, losses = best
    structure = _in_unit(model, latents, standard, centre, scale)
    noise = float(model.noise.detach()) * scale**2
    posterior = Posterior(structure, latents, y, np.full(len(y), noise), np.full(len(y), 1 / len(y)))
    return Fitted(structure, posterior, noise, value + float(np.log(scale)), tuple(losses))


def _one_start(model: StructuredGP, latents: Array, y: Array, validation: Array) -> tuple[float, StructuredGP, list[float]]:
    """L-BFGS in rounds; the hyperparameters of the round with the best held-out density. `y` is standardised."""
    fitted = ~validation
    inputs, targets = torch.from_numpy(latents[fitted]), torch.from_numpy(y[fitted])
    weight = torch.ones(len(targets), dtype=torch.float64)
    optimiser = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = model(inputs, targets, weight)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    best, best_state, since, losses = np.inf, copy.deepcopy(model.state_dict()), 0, []
    for _ in range(_ROUNDS):
        try:
            losses.append(float(optimiser.step(closure).detach()))  # type: ignore[no-untyped-call]
        except torch.linalg.LinAlgError:
            break  # a step to where Σ is singular; what was found before stands
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            break
        value = _held_out(model, latents, y, validation) if validation.any() else losses[-1]
        if value < best - 1e-4:
            best, best_state, since = value, copy.deepcopy(model.state_dict()), 0
        else:
            since += 1
        if since >= _PATIENCE or (len(losses) > 1 and abs(losses[-2] - losses[-1]) < 1e-7):
            break
    model.load_state_dict(best_state)
    return best, model, losses


def _held_out(model: StructuredGP, latents: Array, y: Array, validation: Array) -> float:
    fitted = ~validation
    noise = float(model.noise.detach())
    structure = model.structure({name: np.zeros((len(f.weights), len(f.weights))) for name, f in model.factors.items()})
    count = int(fitted.sum())
    posterior = Posterior(structure, latents[fitted], y[fitted], np.full(count, noise), np.full(count, 1 / count))
    told = posterior.predict(latents[validation])
    return nlpd(told.total_mean, told.total_variance + noise, y[validation])


def _in_unit(model: StructuredGP, latents: Array, y: Array, centre: float, scale: float) -> Structure:
    """The structure for y in its own unit, with the factors' Laplace covariance."""
    covariance = {name: _laplace(model, name, latents, y) for name in model.factors}
    standard = model.structure(covariance)
    terms = tuple(replace(values, variance=values.variance * scale**2) for values in standard.terms)
    return replace(standard, terms=terms, mean=standard.mean * scale + centre)


def _laplace(model: StructuredGP, name: str, latents: Array, y: Array) -> Array:
    """Covariance (M, M) of a factor's weights: the inverse Hessian of −log p(w, y | the other hyperparameters)."""
    inputs, targets, factor = torch.from_numpy(latents), torch.from_numpy(y), model.factors[name]
    weight = torch.ones(len(targets), dtype=torch.float64)
    at = factor.weights.detach().clone()

    def negative(values: torch.Tensor) -> torch.Tensor:
        # The weights as this function's argument, everything else as it is.
        found: torch.Tensor = torch.func.functional_call(model, {f"factors.{name}.weights": values}, (inputs, targets, weight))
        return found * len(targets)

    hessian = torch.autograd.functional.hessian(negative, at).numpy()  # type: ignore[no-untyped-call]
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # The prior's curvature is a floor: the fit may have stopped early, on a slope.
    return (vectors / np.maximum(values, 1.0)) @ vectors.T


def _scatter(model: StructuredGP, rng: np.random.Generator) -> None:
    """Other lengthscales to begin with, a factor of e up or down."""
    for name, parameter in model.named_parameters():
        if name.endswith("raw_lengthscale"):
            parameter.data += torch.from_numpy(rng.normal(0.0, 0.7, tuple(parameter.shape)))


def _spread_points(latents: Array, most: int, rng: np.random.Generator) -> Array:
    """Up to `most` of the latents (n, d), each the farthest from those before it, until none is farther than a tenth of the spread."""
    chosen = [latents[int(rng.integers(len(latents)))]]
    apart = np.linalg.norm(latents - chosen[0], axis=1)
    enough = 0.1 * float(apart.max())
    while len(chosen) < most and apart.max() > enough:
        chosen.append(latents[int(apart.argmax())])
        apart = np.minimum(apart, np.linalg.norm(latents - chosen[-1], axis=1))
    return np.stack(chosen)
