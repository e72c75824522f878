"""Titsias' collapsed bound on the log marginal likelihood, with gradients, in pieces: what inducing points say of the hyperparameters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from training.mechanism.gaussian_process import StructuredGP
from training.mechanism.inducing import JITTER

_CHUNK = 2048


def negative_bound(
    model: StructuredGP, points: Tensor, latents: Tensor, y: Tensor, good: Tensor | None = None, *, jitter: float = JITTER, chunk: int = _CHUNK
) -> Tensor:
    """−(log N(y; μ, Q + D) − ½ tr D⁻¹(k(Z, Z) − Q)) − log p(hyperparameters), per point, scalar; Q = k(Z, U) K⁻¹ k(U, Z).

    It is StructuredGP.forward of the exact process, or more. Pieces are computed again on the way back, so that memory is M times a piece.

    Args:
        model: the process.
        points: (M, D) U.
        latents: (N, D).
        y: (N,) standardised.
        good: (N,) probabilities that a point is no outlier; None: all are good.
        jitter: see inducing.py.
        chunk: points of a piece.
    """
    noise, beside = model.noise_of(y, good)
    own = model.cross(points, points)
    eye = torch.eye(len(points), dtype=own.dtype)
    lower = torch.linalg.cholesky(own + jitter * torch.trace(own) / len(points) * eye)
    residual = y - model.mean

    def piece(factor: Tensor, some: Tensor, apart: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = torch.linalg.solve_triangular(factor, model.cross(points, some), upper=False)  # (M, c)
        weighted = half / spread
        left = (model.variance(some) - torch.square(half).sum(dim=0)) / spread
        return weighted @ half.T, weighted @ apart, left.sum()

    gram, projected, left = torch.zeros_like(own), torch.zeros(len(points), dtype=own.dtype), torch.zeros((), dtype=own.dtype)
    for start in range(0, len(y), chunk):
        rows = slice(start, start + chunk)
        found = checkpoint(piece, lower, latents[rows], residual[rows], noise[rows], use_reentrant=False, preserve_rng_state=False)
        gram, projected, left = gram + found[0], projected + found[1], left + found[2]
    # Q + D by the matrix inversion and determinant lemmas: only (M, M) is factorised.
    inner = torch.linalg.cholesky(eye + gram)
    seen = torch.linalg.solve_triangular(inner, projected[:, None], upper=False)
    square = (torch.square(residual) / noise).sum() - torch.square(seen).sum()
    determinant = torch.log(noise).sum() + 2 * torch.log(torch.diagonal(inner)).sum()
    negative = 0.5 * (square + determinant + len(y) * np.log(2 * np.pi) + left) + beside
    result: Tensor = (negative - model.log_prior()) / len(y)
    return result
