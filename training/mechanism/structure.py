"""The declared form of f: which random functions it is the sum of, and how each mechanism enters them. No torch at import.

f(x) = μ + Σ_t Π_{m ∈ F_t} b_m(z^m) · g_t,   g_t ~ GP(0, s_t² Π_{m ∈ M_t} k_m(z^m, z'^m)),   y = f + ε.

One sum covers what science.md 3.1 calls additive (each M_t one mechanism), product (one term of all), mixed (both) and scaled (one mechanism's
factor b_m on another's function). Given the factors, f is Gaussian, so that the posterior is exact whatever the form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist

Array = np.ndarray
Family = Literal["rbf", "matern52"]

RESIDUAL = "residual"
INTERACTION = "interaction"
CONSTANT = "constant"


@dataclass(frozen=True)
class Mechanism:
    """One cause. Its latents are the columns `start` to `start + size` of z.

    Attributes:
        name: as the recipe and the wire name it.
        start: first column.
        size: d_m >= 1.
        family: of its kernel k_m, with one lengthscale for each latent (ARD).
        shared: one lengthscale for all its latents instead, as pixels of one picture should have.
        shortest: the least lengthscale, in the unit of the latents. Where mechanisms are correlated in space, what varies faster than this is
            another's to tell.
    """

    name: str
    start: int
    size: int
    family: Family = "rbf"
    shared: bool = False
    shortest: float = 0.0

    @property
    def columns(self) -> slice:
        """Its columns of z."""
        return slice(self.start, self.start + self.size)

    def of(self, latents: Array) -> Array:
        """Its own columns (n, d_m) of z (n, D)."""
        return latents[:, self.columns]


@dataclass(frozen=True)
class Term:
    """One random function. `mechanisms` M_t enter its kernel, `factors` F_t multiply it; `name` is that of its part in an answer."""

    name: str
    mechanisms: tuple[str, ...]
    factors: tuple[str, ...] = ()

    @property
    def centred(self) -> bool:
        """Whether the gauge takes its mean over the reference points: a function of one mechanism, which a constant could be added to."""
        return len(self.mechanisms) == 1 and not self.factors


def additive(*names: str) -> tuple[Term, ...]:
    """Σ_m f_m(z^m)."""
    return tuple(Term(name, (name,)) for name in names)


def product(*names: str) -> tuple[Term, ...]:
    """One function of all mechanisms with the kernel s² Π k_m."""
    return (Term(INTERACTION, names),)


def mixed(*names: str) -> tuple[Term, ...]:
    """Σ_m f_m(z^m) and one function of all."""
    return (*additive(*names), Term(INTERACTION, names))


def scaled(factor: str, of: str, *others: str) -> tuple[Term, ...]:
    """b(z^factor)·h(z^of), and a function of each other mechanism."""
    return (Term(of, (of,), (factor,)), *additive(*others))


@dataclass(frozen=True)
class TermValues:
    """A term's fitted numbers: `variance` s_t² and the `lengthscales` (d_m,) of each of its mechanisms."""

    term: Term
    variance: float
    lengthscales: dict[str, Array]


@dataclass(frozen=True)
class FactorValues:
    """b(z) = offset + Σ_j weights_j φ_j(z), φ(z) = L_u⁻¹ k(U, z): a Gaussian process through its values at `centres`, seen as a linear model.

    Attributes:
        centres: (M, d_m) U.
        lengthscale: (d_m,) of k, RBF with variance 1.
        whitening: (M, M) L_u⁻¹.
        weights: (M,).
        offset: b where the weights are 0.
        covariance: (M, M) of the weights, Laplace's.
        prior_sd: of a weight, and so of b where its centres tell nothing.
    """

    centres: Array
    lengthscale: Array
    whitening: Array
    weights: Array
    offset: float
    covariance: Array
    prior_sd: float

    def features(self, latents: Array) -> Array:
        """φ (n, M) of the mechanism's own latents (n, d_m)."""
        return correlation("rbf", latents, self.centres, self.lengthscale) @ self.whitening.T

    def values(self, latents: Array) -> Array:
        """The factor b at latents (n, d_m): (n,)."""
        b: Array = self.offset + self.features(latents) @ self.weights
        return b


@dataclass(frozen=True)
class Structure:
    """All that prediction needs beside the training points.

    Attributes:
        mechanisms: in the order of their columns.
        terms: in the order of the answer's parts.
        factors: by mechanism; one for each that is a factor in a term.
        mean: μ.
    """

    mechanisms: tuple[Mechanism, ...]
    terms: tuple[TermValues, ...]
    mean: float
    factors: dict[str, FactorValues] = field(default_factory=dict)

    def mechanism(self, name: str) -> Mechanism:
        """By its name."""
        return next(mechanism for mechanism in self.mechanisms if mechanism.name == name)

    def factor(self, term: Term, latents: Array, *, but: str = "") -> Array:
        """Π b_m (n,) of a term, `but` one; ones where it has no factor."""
        value = np.ones(len(latents))
        for name in term.factors:
            if name != but:
                value = value * self.factors[name].values(self.mechanism(name).of(latents))
        return value

    def covariance(self, values: TermValues, first: Array, second: Array, *, bare: bool = False) -> Array:
        """The prior covariance (n, m) of one term between latents (n, D) and (m, D), factors included; `bare`: on the second side alone."""
        of_first = np.ones(len(first)) if bare else self.factor(values.term, first)
        result = values.variance * np.outer(of_first, self.factor(values.term, second))
        for name in values.term.mechanisms:
            mechanism = self.mechanism(name)
            result *= correlation(mechanism.family, mechanism.of(first), mechanism.of(second), values.lengthscales[name])
        return result


def correlation(family: Family, first: Array, second: Array, lengthscale: Array) -> Array:
    """Correlations (n, m) in [0, 1] between latents (n, d) and (m, d), with r = |(x − x')/ℓ|.

    RBF: k = exp(−r²/2). Matérn-5/2: k = (1 + √5 r + 5r²/3) exp(−√5 r).
    """
    # Differences, not |x|² + |x'|² − 2x·x': near points must come out at 1 to the last digit.
    square = cdist(first / lengthscale, second / lengthscale, "sqeuclidean")
    if family == "rbf":
        return np.exp(-0.5 * square)
    distance = np.sqrt(5 * square)
    result: Array = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return result
