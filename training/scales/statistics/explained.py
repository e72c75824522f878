"""How much of the descriptors' variance a stage explains: by its reconstructions, and linearly along the principal axes of its latent."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array

# Of a singular value beside the largest: below it a direction of the latents is rounding.
_RANK_TOLERANCE = 1e-10


def explained_fraction(descriptors: Array, reconstructions: Array) -> float:
    """1 − MSE/Var over all windows: 1 where all is drawn, 0 for the mean descriptor, below 0 for worse than that.

    MSE = mean_i,p (x_ip − x̂_ip)², Var = mean_i,p (x_ip − x̄_p)² about each pixel's mean over the windows: as in principal component analysis.

    Args:
        descriptors: (n, ...) any unit.
        reconstructions: (n, ...) in the same unit.

    Returns:
        The fraction; NaN where the descriptors are all equal.

    Raises:
        ValueError: the shapes differ.
    """
    x, drawn = _rows(descriptors), _rows(reconstructions)
    if x.shape != drawn.shape:
        raise ValueError(f"descriptors {np.shape(descriptors)} and reconstructions {np.shape(reconstructions)} have one shape")
    total = float(x.var(axis=0).mean())
    return 1 - float(((x - drawn) ** 2).mean()) / total if total > 0 else float("nan")


def explained_of_each(descriptors: Array, reconstructions: Array) -> Array:
    """1 − MSE/Var of each window alone, Var about the window's own mean, as `frame_k` graphs tell it: (n,) float64, 0 where a window is constant.

    Args:
        descriptors: (n, ...) any unit.
        reconstructions: (n, ...) in the same unit.
    """
    x, drawn = _rows(descriptors), _rows(reconstructions)
    variance = x.var(axis=1)
    constant = variance <= 0
    return np.where(constant, 0.0, 1 - ((x - drawn) ** 2).mean(axis=1) / np.where(constant, 1.0, variance))


def axes_explained(latents: Array, descriptors: Array) -> Array:
    """E_j: share of the descriptors' variance that the j-th principal axis of the latent explains, descending.

    Descriptors are regressed linearly on the latents, X̂ = P X with P the projection on the latents' columns (all centred); the axes are the
    directions of the latent space along which X̂ varies most, E_j = λ_j(X̂ᵀX̂) / tr(XᵀX). So E_j do not depend on how the latents are turned, scaled
    or ordered: the principal components of μ alone are not determined, since V_j ≈ 1 for every active unit. Σ_j E_j is the regression's R². For the
    latents of a linear VAE these are the descriptors' own first principal components.

    Known answer: stripes of period L, seen at a random phase through windows of length w whose sides lie along and across them, have two axes with
    E_2 / (E_1 + E_2) = (1 − |sinc(2w/L)|) / 2, sinc(x) = sin(πx)/(πx), which first reaches ½ at w = L/2.

    Args:
        latents: (n, L) posterior means, unit 1.
        descriptors: (n, ...) any unit, rows in the same order.

    Returns:
        (L,) float64, 0 beyond the latents' rank or the descriptors' size; NaN where the descriptors are all equal.

    Raises:
        ValueError: the rows differ in number.
    """
    z, x = _rows(latents), _rows(descriptors)
    if len(z) != len(x):
        raise ValueError(f"{len(z)} rows of latents for {len(x)} descriptors")
    z, x = z - z.mean(axis=0), x - x.mean(axis=0)
    found = np.zeros(z.shape[1])
    total = float((x**2).sum())
    if total <= 0:
        return np.full(z.shape[1], np.nan)
    left, singular, _ = np.linalg.svd(z, full_matrices=False)
    basis = left[:, singular > _RANK_TOLERANCE * max(float(singular.max(initial=0.0)), np.finfo(np.float64).tiny)]
    shares = np.linalg.svd(basis.T @ x, compute_uv=False) ** 2 / total
    found[: len(shares)] = shares[: len(found)]
    return found


def second_axis_share(shares: Array) -> float:
    """E_2 / (E_1 + E_2) of descending shares (L,), in [0, ½]; NaN without a second axis or without any variance."""
    if len(shares) < 2 or not shares[0] > 0:
        return float("nan")
    return float(shares[1] / (shares[0] + shares[1]))


def stripes_second_axis_share(window: Array | float, period: float) -> Array:
    """The known answer (1 − |sinc(2w/L)|) / 2 for windows and a period in one unit of length."""
    return np.asarray((1 - np.abs(np.sinc(2 * np.asarray(window, np.float64) / period))) / 2)


def _rows(values: Array) -> Array:
    array = np.asarray(values, np.float64)
    return array.reshape(len(array), -1)
