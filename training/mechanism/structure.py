"""The declared form of f: which random functions it is the sum of, and how each mechanism enters them. No torch at import.

f(x) = μ + Σ_t Π_{m ∈ F_t} b_m(z^m) · g_t,   g_t ~ GP(0, s_t² Π_{m ∈ M_t} k_m(z^m, z'^m)),   y = f + ε.

One sum covers what science.md 3.1 calls additive (each M_t one mechanism), product (one term of all), mixed (both), scaled (one mechanism's
factor b_m on another's function) and a + b·h. Given the factors, f is Gaussian, so that the posterior is exact whatever the form.

Where a term could hold what belongs to another, its kernels are orthogonal to constants (Lu et al., ICML 2022, equation 4): with a measure p of
weighted points k̃(x, x') = k(x, x') − u(x) u(x'), u(x) = E_s k(x, s)/√(E_st k(s, t)), the kernel of g less its part along E_s g(s): every draw has
the mean zero over p.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
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
    """One random function. `mechanisms` M_t enter its kernel, `factors` F_t multiply it; `name` is that of its part in an answer.

    The kernels of the mechanisms `orthogonal` are k̃: a product of them has mean zero over each, whatever the others are.
    """

    name: str
    mechanisms: tuple[str, ...]
    factors: tuple[str, ...] = ()
    orthogonal: tuple[str, ...] = ()

    @property
    def centred(self) -> bool:
        """Whether the gauge takes its mean over the reference points: a function of one mechanism, which a constant could be added to."""
        return len(self.mechanisms) == 1 and not self.factors and not self.orthogonal

    @property
    def interaction(self) -> bool:
        """Whether it is of several mechanisms and holds no function of fewer than two: all its kernels are orthogonal."""
        return len(self.mechanisms) > 1 and set(self.orthogonal) == set(self.mechanisms)

    @property
    def products(self) -> tuple[tuple[str, ...], ...]:
        """Sets of mechanisms; the kernel is s_t² times the mean, over them, of the product of a set's kernels.

        One set of all; of an interaction every set of two or more, since the product of three orthogonal kernels alone holds nothing of two.
        """
        if not self.interaction:
            return (self.mechanisms,)
        return tuple(each for size in range(2, len(self.mechanisms) + 1) for each in combinations(self.mechanisms, size))


def additive(*names: str) -> tuple[Term, ...]:
    """Σ_m f_m(z^m)."""
    return tuple(Term(name, (name,)) for name in names)


def product(*names: str) -> tuple[Term, ...]:
    """One function of all mechanisms with the kernel s² Π k_m."""
    return (Term(INTERACTION, names),)


def mixed(*names: str) -> tuple[Term, ...]:
    """Σ_m f_m(z^m) and one function of all, which holds nothing that is a function of one."""
    return (*additive(*names), Term(INTERACTION, names, orthogonal=names))


def scaled(factor: str, of: str, *others: str) -> tuple[Term, ...]:
    """b(z^factor)·h(z^of), and a function of each other mechanism."""
    return (Term(of, (of,), (factor,)), *additive(*others))


def offset_scaled(factor: str, of: str, *others: str) -> tuple[Term, ...]:
    """a(z^factor) + b(z^factor)·h(z^of), and a function of each other mechanism. The mean of h is zero: b times it belongs to a."""
    return (Term(factor, (factor,)), Term(of, (of,), (factor,), orthogonal=(of,)), *additive(*others))


@dataclass(frozen=True)
class TermValues:
    """A term's fitted numbers: `variance` s_t² and the `lengthscales` (d_m,) of each of its mechanisms."""

    term: Term
    variance: float
    lengthscales: dict[str, Array]


@dataclass(frozen=True)
class Measure:
    """Where a mechanism's latents lie: `points` (R, d_m) with `weights` (R,) > 0, sum 1. Frozen with the model, as its gauge is."""

    points: Array
    weights: Array


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
        measures: by mechanism; one for each with an orthogonal kernel in a term.
    """

    mechanisms: tuple[Mechanism, ...]
    terms: tuple[TermValues, ...]
    mean: float
    factors: dict[str, FactorValues] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)

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
        kernels = {name: self._kernel(values, name, first, second) for name in values.term.mechanisms}
        return values.variance * np.outer(of_first, self.factor(values.term, second)) * _mean_product(values.term, kernels)

    def prior(self, values: TermValues, latents: Array) -> Array:
        """The prior variance (n,) of one term at latents (n, D), without its factors: s_t², or less where a kernel is orthogonal."""
        kernels = {name: np.ones(len(latents)) for name in values.term.mechanisms}
        for name in values.term.orthogonal:
            kernels[name] -= self._embedding(values, name, latents) ** 2
        return values.variance * _mean_product(values.term, kernels)

    def mean_weights(self, values: TermValues, name: str) -> Array:
        """(R,) a term's w/√(wᵀ k(S, S) w) of a mechanism's measure (S, w): u(x) = k(x, S) times these."""
        mechanism, measure = self.mechanism(name), self.measures[name]
        own = correlation(mechanism.family, measure.points, measure.points, values.lengthscales[name])
        weights: Array = measure.weights / np.sqrt(measure.weights @ own @ measure.weights)
        return weights

    def _embedding(self, values: TermValues, name: str, latents: Array) -> Array:
        """The function u (n,) at latents (n, D)."""
        mechanism = self.mechanism(name)
        rows = correlation(mechanism.family, mechanism.of(latents), self.measures[name].points, values.lengthscales[name])
        return rows @ self.mean_weights(values, name)

    def _kernel(self, values: TermValues, name: str, first: Array, second: Array) -> Array:
        """A mechanism's k or k̃ (n, m) in a term."""
        mechanism = self.mechanism(name)
        result = correlation(mechanism.family, mechanism.of(first), mechanism.of(second), values.lengthscales[name])
        if name in values.term.orthogonal:
            result -= np.outer(self._embedding(values, name, first), self._embedding(values, name, second))
        return result


def _mean_product(term: Term, kernels: dict[str, Array]) -> Array:
    """The mean over the term's sets of the products of their kernels, any shape."""
    found = sum(np.prod([kernels[name] for name in names], axis=0) for names in term.products)
    result: Array = found / len(term.products)
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
