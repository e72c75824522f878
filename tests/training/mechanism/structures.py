"""Small structures with made-up numbers, and points for them."""

from __future__ import annotations

import numpy as np

from training.mechanism.posterior import Posterior
from training.mechanism.structure import (
    RESIDUAL,
    FactorValues,
    Measure,
    Mechanism,
    Structure,
    Term,
    TermValues,
    additive,
    correlation,
    mixed,
    offset_scaled,
    product,
    scaled,
)

MECHANISMS = (Mechanism("patch", 0, 2), Mechanism("position", 2, 2), Mechanism("age", 4, 1, "matern52"))
FORMS: dict[str, tuple[Term, ...]] = {
    "additive": additive("patch", "position", "age"),
    "product": product("patch", "position", "age"),
    "mixed": mixed("patch", "position", "age"),
    "scaled": scaled("patch", "position", "age"),
    "offset_scaled": offset_scaled("patch", "position", "age"),
    "scaled and the rest": (*scaled("patch", "position", "age"), Term(RESIDUAL, ("patch", "position", "age"))),
}
COUNT = 40


def points(count: int, seed: int = 0) -> np.ndarray:
    """Latents (n, 5)."""
    return np.random.default_rng(seed).normal(size=(count, 5))


def factor_values(seed: int = 3) -> FactorValues:
    """Of `patch`."""
    rng = np.random.default_rng(seed)
    root, centres, lengthscale = 0.05 * rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), np.array([0.9, 1.2])
    whitening = np.linalg.inv(np.linalg.cholesky(correlation("rbf", centres, centres, lengthscale) + 1e-8 * np.eye(3)))
    return FactorValues(centres, lengthscale, whitening, 0.4 * rng.normal(size=3), 1.0, root @ root.T, 0.5)


def measure(mechanism: Mechanism) -> Measure:
    """Seven points with different weights."""
    rng = np.random.default_rng(mechanism.start + 20)
    weights = rng.random(7)
    return Measure(rng.normal(size=(7, mechanism.size)), weights / weights.sum())


def structure(form: str) -> Structure:
    """With a different number for everything."""
    lengthscales = {"patch": np.array([0.7, 1.4]), "position": np.array([0.5, 0.9]), "age": np.array([0.8])}
    terms = tuple(
        TermValues(term, 0.5 + 0.3 * index, {name: lengthscales[name] for name in term.mechanisms}) for index, term in enumerate(FORMS[form])
    )
    used = {name for term in FORMS[form] for name in term.factors}
    orthogonal = {name for term in FORMS[form] for name in term.orthogonal}
    measures = {mechanism.name: measure(mechanism) for mechanism in MECHANISMS if mechanism.name in orthogonal}
    return Structure(MECHANISMS, terms, 0.4, {name: factor_values() for name in used}, measures)


def posterior(form: str, count: int = COUNT) -> Posterior:
    """Of random y with a different noise at every point, and a gauge over the first half of the points."""
    rng = np.random.default_rng(1)
    reference = np.zeros(count)
    reference[: count // 2] = 2 / count
    return Posterior(structure(form), points(count), rng.normal(size=count), 0.01 + 0.1 * rng.random(count), reference)
