"""The posterior of many points, told by few: M inducing points stand for N, in float64, by one pass over the N. numpy and scipy alone.

With u = f(U), of all terms together, the best Gaussian q(u) is known in closed form (Titsias, AISTATS 2009). With K = k(U, U) + jitter and
B = K + k(U, Z) D⁻¹ k(Z, U), D = diag(σ_i²): E f(x) = μ + k(x, U) α, α = B⁻¹ k(U, Z) D⁻¹ (y − μ), and cov f = k(x, x') − k(x, U)(K⁻¹ − B⁻¹)k(U, x');
of a term's own value k_t(x, U) takes the place of k(x, U). K⁻¹ − B⁻¹ = AᵀA, so that graph, gauge and sessions are those of an exact posterior of M
points. The jitter is no trick of rounding: it makes u the values at U with a little noise, of which all of this is as true.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from tqdm import tqdm

from training.mechanism.posterior import StructuredPosterior
from training.mechanism.structure import Array, Structure, correlation

# Of the mean prior variance at the inducing points.
JITTER = 1e-8
# Points of one step of a pass: with 512 inducing points 8 MB for each array.
_CHUNK = 2048
# Shares of the prior variance: where no point has more of it left, more inducing points would tell nothing.
_ENOUGH = 1e-7


class InducingPosterior(StructuredPosterior):
    """What N points tell, by M inducing ones.

    Args:
        structure: the fitted numbers.
        latents: (M, D) float64 U.
        alpha: (M,) α.
        inverse: (r, M) A.
        reference: (M,) the gauge's weights: see `gauge_weights`.
        bound: of what left-out directions of A change in a covariance of parts s and t, over s_s s_t (see truncate.py).
    """

    def __init__(self, structure: Structure, latents: Array, *, alpha: Array, inverse: Array, reference: Array, bound: float) -> None:
        self.structure, self.latents, self.alpha, self.reference, self.bound = structure, latents, alpha, reference, bound
        self._root = inverse
        self._gauge_rows = np.stack(
            [
                structure.covariance(values, latents, latents) @ reference if values.term.centred else np.zeros(len(latents))
                for values in structure.terms
            ]
        )

    @property
    def inverse(self) -> Array:
        """A (r, M)."""
        return self._root

    def _half(self, rows: Array) -> Array:
        half: Array = self._root @ rows.T
        return half

    def total(self, latents: Array) -> tuple[Array, Array]:
        """Mean and variance (n,) of f alone at latents (n, D), for many of them; without the uncertainty of factors."""
        means, variances = [], []
        for start in range(0, len(latents), _CHUNK):
            some = latents[start : start + _CHUNK]
            rows = _covariance(self.structure, some, self.latents)
            means.append(self.structure.mean + rows @ self.alpha)
            variances.append(_variance(self.structure, some) - np.square(self._half(rows)).sum(axis=0))
        return np.concatenate(means), np.concatenate(variances)


def condition(
    structure: Structure,
    points: Array,
    latents: Array,
    y: Array,
    noise_variance: Array,
    *,
    reference: Array,
    jitter: float = JITTER,
    tolerance: float = 1e-9,
) -> InducingPosterior:
    """The optimal posterior of inducing points (M, D) given latents (N, D), y (N,) and each point's noise variance (N,).

    `reference` (M,) are the gauge's weights: `gauge_weights`, or whatever where parts are not asked for.

    One pass over the points in pieces: memory is M² and M times a piece, whatever N. Directions of A that change no covariance of two parts by more
    than `tolerance` of s_s s_t are left out.

    Raises:
        numpy.linalg.LinAlgError: inducing points are so near to each other that the jitter does not tell them apart.
    """
    own = _covariance(structure, points, points)
    own[np.diag_indices_from(own)] += jitter * np.trace(own) / len(own)
    lower = cholesky(own, lower=True)
    gram, projected = np.zeros_like(own), np.zeros(len(own))
    for start in tqdm(range(0, len(y), _CHUNK), desc="posterior", unit="chunk", delay=2, leave=False, disable=None):
        piece = slice(start, start + _CHUNK)
        half = solve_triangular(lower, _covariance(structure, points, latents[piece]), lower=True)
        weighted = half / noise_variance[piece]
        gram += weighted @ half.T
        projected += weighted @ (y[piece] - structure.mean)
    # With C the Gram matrix L⁻¹ k(U, Z) D⁻¹ k(Z, U) L⁻ᵀ = Σ λ q qᵀ: B = L (1 + C) Lᵀ and K⁻¹ − B⁻¹ = L⁻ᵀ C (1 + C)⁻¹ L⁻¹.
    spectrum, vectors = np.linalg.eigh((gram + gram.T) / 2)
    shares = np.clip(spectrum, 0, None) / (1 + np.clip(spectrum, 0, None))
    kept = 2 * shares > tolerance
    whitened = solve_triangular(lower, np.eye(len(own)), lower=True)
    alpha = whitened.T @ (vectors @ ((vectors.T @ projected) / (1 + np.clip(spectrum, 0, None))))
    root = np.sqrt(shares[kept])[:, None] * (vectors[:, kept].T @ whitened)
    bound = 2 * float(shares[~kept].max(initial=0.0))
    return InducingPosterior(structure, points, alpha=alpha, inverse=root, reference=reference, bound=bound)


def gauge_weights(structure: Structure, points: Array, latents: Array) -> Array:
    """Weights (M,) >= 0, sum 1, with which means over points (M, D) are those over latents (N, D), for the functions that the gauge takes means of.

    These are functions of one mechanism each: parts and factors. The weights make the two means of every k_m(·, z) as equal as weights >= 0 can, by
    least squares in the norm of Σ_m k_m. The share of latents to which a point is the nearest makes them far less so.
    """
    of = _marginal_kernel(structure)
    target = np.zeros(len(points))
    for start in tqdm(range(0, len(latents), _CHUNK), desc="gauge", unit="chunk", delay=2, leave=False, disable=None):
        target += of(points, latents[start : start + _CHUNK]).sum(axis=1)
    own = of(points, points)
    own[np.diag_indices_from(own)] += JITTER * np.trace(own) / len(own)
    lower = cholesky(own, lower=True)
    # |Lᵀ w − L⁻¹ k̄|², with one more row that holds the sum at 1.
    wanted = solve_triangular(lower, target / len(latents), lower=True)
    firm = 10 * np.sqrt(own[0, 0])
    weights, _ = nnls(np.vstack((lower.T, np.full(len(points), firm))), np.append(wanted, firm), maxiter=30 * len(points))
    result: Array = weights / weights.sum()
    return result


def _marginal_kernel(structure: Structure) -> Callable[[Array, Array], Array]:
    """Σ_m k_m(z, z'), with the lengthscales of a term of its own where a mechanism has one, and of its factor where it has no term."""
    lengthscales = {name: (structure.mechanism(name).family, values.lengthscale) for name, values in structure.factors.items()}
    for values in sorted(structure.terms, key=lambda each: -len(each.term.mechanisms)):
        lengthscales |= {name: (structure.mechanism(name).family, values.lengthscales[name]) for name in values.term.mechanisms}

    def of(first: Array, second: Array) -> Array:
        total = np.zeros((len(first), len(second)))
        for name, (family, lengthscale) in lengthscales.items():
            mechanism = structure.mechanism(name)
            total += correlation(family, mechanism.of(first), mechanism.of(second), lengthscale)
        return total

    return of


def choose_points(structure: Structure, latents: Array, most: int, *, seed: int) -> Array:
    """Indices (M,), M <= `most`, of latents (N, D) that together tell most of f, and of a function of each mechanism.

    Each is drawn with a probability proportional to the variance which those before leave at it: a randomly pivoted Cholesky factor of the covariance
    (Chen et al., CPAM 2024), which leaves nearly as little in sum as any M points. The largest variance in turn would choose the outskirts first. f
    alone would leave out kinds whose factor is small, of which the gauge takes means. Fewer than `most` where nothing is left to tell. Memory: M
    times N.
    """
    rng, of_mechanisms = np.random.default_rng(seed), _marginal_kernel(structure)
    left = _variance(structure, latents)
    # Of f and of the mechanisms' functions as much.
    size, several = float(left.mean()), len(structure.mechanisms)
    left = left / size + np.full(len(latents), of_mechanisms(latents[:1], latents[:1])[0, 0] / several)
    enough, factor, chosen = _ENOUGH * float(left.max()), np.zeros((min(most, len(latents)), len(latents))), []
    for step in range(len(factor)):
        if left.max() <= enough:
            break
        pivot = int(rng.choice(len(left), p=left / left.sum()))
        one = latents[pivot : pivot + 1]
        row = _covariance(structure, one, latents)[0] / size + of_mechanisms(one, latents)[0] / several - factor[:step, pivot] @ factor[:step]
        factor[step] = row / np.sqrt(left[pivot])
        left = np.clip(left - factor[step] ** 2, 0, None)
        left[pivot] = 0.0
        # What rounding leaves is not there.
        left[left <= enough] = 0.0
        chosen.append(pivot)
    return np.array(chosen)


def _covariance(structure: Structure, first: Array, second: Array) -> Array:
    """The prior covariance of f (n, m)."""
    result: Array = sum((structure.covariance(values, first, second) for values in structure.terms), start=np.zeros(()))
    return result


def _variance(structure: Structure, latents: Array) -> Array:
    """The prior variance of f (n,)."""
    result = np.zeros(len(latents))
    for values in structure.terms:
        result += structure.prior(values, latents) * structure.factor(values.term, latents) ** 2
    return result
