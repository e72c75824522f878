"""A bundle's posterior as its graphs and sessions need it, in float64: made once, when the bundle is loaded, from `posterior.safetensors`.

The arithmetic is that of training/mechanism/posterior.py and truncate.py: with Σ = Σ_t K_t + diag(σ_i²) = L Lᵀ, a root of Σ⁻¹ is L⁻¹, and in low rank
Uᵀ L⁻¹ with U the leading eigenvectors of L⁻¹ (Σ_t K_t) L⁻ᵀ. The graph `rows` tells the kernels, so that no hyperparameter is read twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dichroic.bundle import Bundle, MechanismSection
from dichroic.bundle.arrays import Arrays, unpack
from dichroic.bundle.files import POSTERIOR_NAME
from dichroic.errors import BundleRefusedError
from services.mechanism.answers import Float64

# A graph on this thread: its name, inputs and fixed inputs to its outputs.
Run = Callable[[str, Arrays, Arrays], Arrays]
# The graph `rows` on this thread: latents (n, D) and points (N, D) to its outputs.
Rows = Callable[[Float64, Float64], Arrays]

KEYS = {"exact": ("points", "residual", "noise_variance", "reference"), "inducing": ("points", "inverse", "alpha", "reference")}
# Rows of kernels made at once: N·T numbers each, so that not all N² T are ever there.
CHUNK_ROWS = 256
# Triangles up to this size are inverted one by one; larger ones by products of halves.
SMALL = 96
REFERENCE_TOLERANCE = 1e-9
# How far the variance that inducing points leave may fall below 0, of the prior's, by rounding.
NEGATIVE_TOLERANCE = 1e-6


def posterior_inputs(bundle: Bundle, rows: Rows) -> Arrays:
    """The fixed inputs of `predict` (POSTERIOR_INPUTS), and what sessions need beside them.

    Beside them: `gauge_rows` (T, N), the covariances of the gauge's means r_t with f at the points; `noise_root`, (N,) the points' noise standard
    deviations, or of inducing points (M, r) what stands for them: C with A (K + C Cᵀ) Aᵀ = 1 for the root A; and where `inverse` is in low rank,
    `root` (N, N) L⁻¹ and `basis` (N, r) U. U is another on every machine, in signs and in turns of what has equal eigenvalues: nothing that outlives
    the process may be in its coordinates.

    Args:
        bundle: of kind mechanism.
        rows: its graph `rows`.

    Raises:
        BundleRefusedError: step "posterior", with a stable cause.
    """
    section = bundle.manifest.mechanism
    if section is None or POSTERIOR_NAME not in bundle.files:
        raise _refused("NO_POSTERIOR", f"The bundle has no {POSTERIOR_NAME}: it can predict nothing. Write it again.")
    arrays = unpack(bundle.files[POSTERIOR_NAME], path=POSTERIOR_NAME)
    _check(section, arrays)
    kernel, gauge_rows = kernels(section, arrays["points"], arrays["reference"], rows)
    if section.posterior == "inducing":
        return _inducing(arrays, kernel, gauge_rows)
    return _exact(section, arrays, kernel, gauge_rows)


def make_fixed(bundle: Bundle, run: Run) -> Arrays:
    """posterior_inputs as the engine's loader asks for it."""
    return posterior_inputs(bundle, lambda latents, points: run("rows", {"latents": latents}, {"points": points}))


def centred(section: MechanismSection) -> Float64:
    """(T,) 1 for the parts whose mean over the reference points the gauge takes, 0 for the others; the constant is not among them."""
    return np.array([part.centred for part in section.parts[1:]], np.float64)


def kernels(section: MechanismSection, points: Float64, reference: Float64, rows: Rows) -> tuple[Float64, Float64]:
    """Σ_t K_t (N, N) of the points, and the gauge's rows (T, N): of each part that is centred the covariance of its mean with f at the points."""
    count, is_centred = len(points), centred(section)
    kernel, gauge_rows = np.empty((count, count)), np.empty((len(is_centred), count))
    for start in range(0, count, CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        told = rows(points[chunk], points)
        kernel[chunk] = np.einsum("nt,ntm->nm", told["factor"], told["rows"])
        gauge_rows[:, chunk] = (told["rows"] @ reference).T * is_centred[:, None]
    return kernel, gauge_rows


def inverse_of_lower(lower: Float64) -> Float64:
    """L⁻¹ (N, N) of a lower triangle, itself one: [[A, 0], [B, C]]⁻¹ = [[A⁻¹, 0], [−C⁻¹ B A⁻¹, C⁻¹]]."""
    count = len(lower)
    if count <= SMALL:
        return np.tril(np.linalg.solve(lower, np.eye(count)))
    half = count // 2
    result = np.zeros_like(lower)
    result[:half, :half] = inverse_of_lower(lower[:half, :half])
    result[half:, half:] = inverse_of_lower(lower[half:, half:])
    result[half:, :half] = -result[half:, half:] @ (lower[half:, :half] @ result[:half, :half])
    return result


def _exact(section: MechanismSection, arrays: Arrays, kernel: Float64, gauge_rows: Float64) -> Arrays:
    noise = arrays["noise_variance"]
    kernel[np.diag_indices_from(kernel)] += noise
    try:
        lower = np.asarray(np.linalg.cholesky(kernel), np.float64)
    except np.linalg.LinAlgError as error:
        message = f"The covariance of the {len(noise)} points in {POSTERIOR_NAME} is not positive definite: too little noise for near duplicates."
        raise _refused("NOT_POSITIVE_DEFINITE", message) from error
    root = inverse_of_lower(lower)
    alpha = root.T @ (root @ arrays["residual"])
    found = _inputs(arrays, root, alpha, gauge_rows) | {"gauge_rows": gauge_rows, "noise_root": np.sqrt(noise)}
    if section.truncation is None:
        return found
    basis = _leading(section.truncation.rank, section.truncation.bound, root, noise)
    return found | {"root": root, "basis": basis, "inverse": basis.T @ root, "gauge_half": basis.T @ found["gauge_half"]}


def _leading(rank: int, bound: float, root: Float64, noise: Float64) -> Float64:
    """U (N, r): the leading eigenvectors of L⁻¹ (Σ_t K_t) L⁻ᵀ = 1 − L⁻¹ diag(σ_i²) L⁻ᵀ."""
    if rank >= len(root):
        raise _refused("WRONG_SHAPE", f"The manifest says rank {rank}, of {len(root)} points: there is nothing in low rank about it.")
    whitened = np.eye(len(root)) - (root * noise) @ root.T
    spectrum, vectors = np.linalg.eigh((whitened + whitened.T) / 2)  # ascending
    # What is declared holds an allowance for rounding, so that what is found here must be within it as it stands.
    found = 2 * max(float(spectrum[len(root) - rank - 1]), 0.0)
    if found > bound:
        message = f"In rank {rank} a covariance may change by {found:.3g} of the signal, more than the {bound:.3g} that the manifest certifies."
        raise _refused("TRUNCATION_BOUND", message)
    leading: Float64 = vectors[:, len(root) - rank :]
    return leading


def _inducing(arrays: Arrays, kernel: Float64, gauge_rows: Float64) -> Arrays:
    root: Float64 = arrays["inverse"]
    left = kernel.diagonal() - np.sum((root @ kernel) ** 2, axis=0)
    if not np.all(left >= -NEGATIVE_TOLERANCE * kernel.diagonal()):  # also true for NaN
        message = f"{POSTERIOR_NAME}: the inverse takes more than the prior's variance from point {int(np.argmin(left))}; it is no posterior's."
        raise _refused("NOT_POSITIVE_DEFINITE", message)
    # A (K + C Cᵀ) Aᵀ = 1 with C = A⁺ (1 − A K Aᵀ)^½, A⁺ = Aᵀ (A Aᵀ)⁻¹.
    spectrum, vectors = np.linalg.eigh(np.eye(len(root)) - root @ kernel @ root.T)
    slack = vectors * np.sqrt(np.clip(spectrum, 0, None))
    return _inputs(arrays, root, arrays["alpha"], gauge_rows) | {"gauge_rows": gauge_rows, "noise_root": np.linalg.pinv(root) @ slack}


def _inputs(arrays: Arrays, root: Float64, alpha: Float64, gauge_rows: Float64) -> Arrays:
    return {
        "points": arrays["points"],
        "inverse": root,
        "alpha": alpha,
        "reference": arrays["reference"],
        "gauge_half": root @ gauge_rows.T,
        "gauge_mean": gauge_rows @ alpha,
        "gauge_variance": gauge_rows @ arrays["reference"],
    }


def _check(section: MechanismSection, arrays: Arrays) -> None:
    wanted = KEYS[section.posterior]
    if set(arrays) != set(wanted):
        raise _refused(
            "WRONG_ARRAYS", f"{POSTERIOR_NAME} holds {sorted(arrays)}; of a posterior that is {section.posterior} it holds {sorted(wanted)}."
        )
    count = section.points
    shapes: dict[str, tuple[int, ...]] = {"points": (count, section.latent_size)}
    if section.posterior == "inducing":
        shapes["inverse"] = (len(np.atleast_1d(arrays["inverse"])), count)
    for name in wanted:
        array, shape = arrays[name], shapes.get(name, (count,))
        if array.dtype != np.float64:
            raise _refused("WRONG_DTYPE", f"{name} in {POSTERIOR_NAME} is {array.dtype.name}; it is float64.")
        if array.shape != shape:
            raise _refused("WRONG_SHAPE", f"{name} in {POSTERIOR_NAME} has shape {array.shape}; by the manifest it has {shape}.")
        if not np.isfinite(array).all():
            raise _refused("NOT_FINITE", f"{name} in {POSTERIOR_NAME} holds NaN or infinity.")
    noise: Any = arrays.get("noise_variance")
    if noise is not None and not (noise > 0).all():
        raise _refused("NOISE", f"noise_variance of point {int(np.argmin(noise))} in {POSTERIOR_NAME} is {noise.min():g}; it is greater than 0.")
    reference = arrays["reference"]
    if (reference < 0).any() or abs(reference.sum() - 1) > REFERENCE_TOLERANCE:
        message = f"reference in {POSTERIOR_NAME} sums to {reference.sum():.12g}, the least {reference.min():g}; weights are 0 or more and sum to 1."
        raise _refused("REFERENCE", message)


def _refused(cause: str, message: str) -> BundleRefusedError:
    return BundleRefusedError("posterior", cause, message)
