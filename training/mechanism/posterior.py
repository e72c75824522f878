"""The posterior of a structure in float64: parts, their covariances, the total; exact by one Cholesky factor. numpy and scipy alone.

With Σ = Σ_t K_t + diag(σ_i²) = L Lᵀ and α = Σ⁻¹(y − μ): mean_t = K_t(*, Z) α, cov_st = δ_st K_t(*, *) − K_s(*, Z) Σ⁻¹ K_t(Z, *).
The gauge: a centred term's part is its value less its mean r_t over the reference points; the constant is μ + Σ_t r_t, a part of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from training.mechanism.structure import CONSTANT, Array, Structure, Term


@dataclass(frozen=True)
class Prediction:
    """What the posterior says of n points.

    Attributes:
        names: P parts: the constant, then the terms in their order.
        mean: (n, P) of each part; of a term with factors, of h, its function times the factors' root mean square over the reference points.
        covariance: (n, P, P) between a point's parts.
        factor: (n, P) what each part is multiplied by in the total: 1, or Π b_m normalised to E[b²] = 1 and E[b] > 0 over the reference points.
        factor_variance: (n, P) of that; 0 where there is no factor.
        total_mean: (n,) of f.
        total_variance: (n,) of f, with all cross terms, and the factors' own uncertainty to first order.
    """

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    factor: Array
    factor_variance: Array
    total_mean: Array
    total_variance: Array


@dataclass(frozen=True)
class Gauge:
    """Of r_t = Σ_i w_i v_t(x_i), the mean of a term over the reference points; zeros for terms that are not centred.

    Attributes:
        half: (r, T) A cov(Z, r).
        mean: (T,) posterior mean.
        prior_variance: (T,).
    """

    half: Array
    mean: Array
    prior_variance: Array


class StructuredPosterior(ABC):
    """What N points tell of a structure: α, and a root A of what they take from the prior, cov = K(*, *) − K(*, Z) AᵀA K(Z, *).

    Attributes:
        structure: the fitted numbers.
        latents: (N, D) float64 z of the points.
        reference: (N,) their weights in the gauge's means, >= 0, sum 1.
        alpha: (N,) what rows of the prior's covariance with the points' values are multiplied with to give means.
    """

    structure: Structure
    latents: Array
    reference: Array
    alpha: Array
    _gauge_rows: Array  # covariance of r_t with the points' values, (T, N)

    @property
    @abstractmethod
    def inverse(self) -> Array:
        """The root A (r, N)."""

    @abstractmethod
    def _half(self, rows: Array) -> Array:
        """A times the transpose of rows (n, N) of covariances with the points' values: (r, n)."""

    @cached_property
    def gauge(self) -> Gauge:
        """Of the means r_t that the gauge takes."""
        rows = self._gauge_rows
        return Gauge(self._half(rows), rows @ self.alpha, rows @ self.reference)

    @cached_property
    def factor_scales(self) -> Array:
        """(T,) c_t with b = c_t · (normalised factor): the root mean square over the reference points, with the mean's sign; 1 without factors."""
        scales = []
        for values in self.structure.terms:
            b = self.structure.factor(values.term, self.latents)
            scales.append(np.sqrt(b**2 @ self.reference) * (1.0 if b @ self.reference >= 0 else -1.0) if values.term.factors else 1.0)
        return np.array(scales)

    def predict(self, latents: Array) -> Prediction:
        """Parts and total at latents (n, D)."""
        structure, terms = self.structure, self.structure.terms
        count, size = len(latents), len(terms)
        gauge_half, of_gauge, gauge_variance = self.gauge.half, self.gauge.mean, self.gauge.prior_variance
        centred = np.array([values.term.centred for values in terms])

        scale = self.factor_scales
        b = np.stack([structure.factor(values.term, latents) for values in terms], axis=1) / scale  # (n, T)
        mean, halves, prior, with_gauge = np.empty((count, size)), [], np.empty((count, size)), np.zeros((count, size))
        for index, values in enumerate(terms):
            # Of g_t times c_t, without the factor of the point itself.
            rows = structure.covariance(values, latents, self.latents, bare=True) * scale[index]
            mean[:, index] = rows @ self.alpha
            halves.append(self._half(rows))
            prior[:, index] = structure.prior(values, latents) * scale[index] ** 2
            if values.term.centred:
                with_gauge[:, index] = rows @ self.reference
        # Of the values v (n, T) and the gauge's means r (T,) together: cov = prior − halvesᵀ halves.
        half = np.stack(halves, axis=2) - np.where(centred, 1.0, 0.0) * gauge_half[:, None, :]  # (r, n, T) of v − r
        covariance = -np.einsum("jns,jnt->nst", half, half)
        covariance[:, np.arange(size), np.arange(size)] += prior + np.where(centred, gauge_variance - 2 * with_gauge, 0.0)
        sum_half = gauge_half.sum(axis=1)
        constant_variance = gauge_variance.sum() - sum_half @ sum_half
        beside = -np.einsum("j,jnt->nt", sum_half, half) + np.where(centred, with_gauge - gauge_variance, 0.0)

        mean = mean - np.where(centred, of_gauge, 0.0)
        parts = np.concatenate((np.full((count, 1), structure.mean + of_gauge.sum()), mean), axis=1)
        whole = np.empty((count, size + 1, size + 1))
        whole[:, 0, 0], whole[:, 0, 1:], whole[:, 1:, 0], whole[:, 1:, 1:] = constant_variance, beside, beside, covariance
        factor = np.concatenate((np.ones((count, 1)), b), axis=1)
        spread = np.concatenate((np.zeros((count, 1)), self._factor_variance(latents)), axis=1)
        total_variance = np.einsum("ns,nst,nt->n", factor, whole, factor) + np.sum(spread * parts**2, axis=1)
        names = (CONSTANT, *(values.term.name for values in terms))
        return Prediction(names, parts, whole, factor, spread, np.sum(factor * parts, axis=1), total_variance)

    @cached_property
    def mean_slopes(self) -> dict[tuple[int, str], Array]:
        """E[b ∂b/∂w] (M,) over the reference points, by term and factor."""
        found = {}
        for index, values in enumerate(self.structure.terms):
            whole = self.structure.factor(values.term, self.latents)
            for name in values.term.factors:
                found[index, name] = (self.reference * whole) @ self._slope(name, self.latents, values.term)
        return found

    def _factor_variance(self, latents: Array) -> Array:
        """(n, T) of the normalised factors b/c, to first order in the weights: ∂(b/c) = (φ − (b/c²) E[b φ])/c with c² = E[b²].

        And what no weight tells, far from the factor's centres.

        A larger b with a smaller h is the same f, and normalising takes that direction out of the weights' covariance.
        """
        columns = []
        for index, values in enumerate(self.structure.terms):
            total, c = np.zeros(len(latents)), self.factor_scales[index]
            whole = self.structure.factor(values.term, latents)
            for name in values.term.factors:
                gradient = (self._slope(name, latents, values.term) - whole[:, None] * self.mean_slopes[index, name] / c**2) / c
                total += np.einsum("nm,mk,nk->n", gradient, self.structure.factors[name].covariance, gradient)
                total += (self.structure.factor(values.term, latents, but=name) / c) ** 2 * self._unseen(name, latents)
            columns.append(total)
        return np.stack(columns, axis=1)

    def _slope(self, name: str, latents: Array, term: Term) -> Array:
        """∂(Π b)/∂w (n, M) of one factor's weights at latents (n, D)."""
        own = self.structure.mechanism(name).of(latents)
        return self.structure.factor(term, latents, but=name)[:, None] * self.structure.factors[name].features(own)

    def _unseen(self, name: str, latents: Array) -> Array:
        """What the values at the centres leave open of b, (n,): prior_sd² (1 − |φ|²), all of the prior far from them."""
        factor = self.structure.factors[name]
        features = factor.features(self.structure.mechanism(name).of(latents))
        open_: Array = factor.prior_sd**2 * np.clip(1 - np.einsum("nm,nm->n", features, features), 0, None)
        return open_


class Posterior(StructuredPosterior):
    """A structure conditioned on data. Its root is L⁻¹.

    Args:
        structure: the fitted numbers.
        latents: (N, D) float64 z of the training points.
        y: (N,) float64.
        noise_variance: (N,) σ_i² > 0, one for each point.
        reference: (N,) weights, >= 0, sum 1: the points over which the gauge takes means, frozen with the model.

    Raises:
        numpy.linalg.LinAlgError: Σ is not positive definite: a noise variance is too small for the rounding of near duplicates.
    """

    def __init__(self, structure: Structure, latents: Array, y: Array, noise_variance: Array, reference: Array) -> None:
        self.structure, self.latents, self.y, self.noise_variance, self.reference = structure, latents, y, noise_variance, reference
        total, rows = np.diag(noise_variance), []
        for values in structure.terms:
            kernel = structure.covariance(values, latents, latents)
            rows.append(kernel @ reference * values.term.centred)
            total += kernel
        self._gauge_rows = np.stack(rows)
        self.cholesky = cholesky(total, lower=True)
        half = solve_triangular(self.cholesky, y - structure.mean, lower=True)
        self.alpha = solve_triangular(self.cholesky.T, half, lower=False)

    @cached_property
    def inverse(self) -> Array:
        """L⁻¹ (N, N)."""
        result: Array = solve_triangular(self.cholesky, np.eye(len(self.y)), lower=True)
        return result

    def _half(self, rows: Array) -> Array:
        # Not the inverse's product: it is not there where only predictions are wanted.
        result: Array = solve_triangular(self.cholesky, rows.T, lower=True)
        return result
