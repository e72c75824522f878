"""A model's graphs, asked in pieces: what they say of mechanisms, latents and kernels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from dichroic.bundle import MechanismSection
from dichroic.bundle.arrays import Arrays
from dichroic.errors import UnsupportedCapabilityError
from services.engine.model import ServingModel
from services.mechanism.answers import Float64
from services.mechanism.inputs import Checked

# Rows asked for at once, and bytes of their answers: those of `rows` hold T·N numbers for each, and are used up before the next ones come.
CHUNK_ROWS = 512
CHUNK_BYTES = 1 << 26
# Points of the posterior that knows nothing: all zeros, of a number that every graph takes.
NO_POINTS = 8


@dataclass(frozen=True)
class Described:
    """Rows as the encoders see them: `latents` (n, D), and `factor_variance` (n, T) of the parts' factors. `mean`: μ, of the model."""

    latents: Float64
    factor_variance: Float64
    mean: float


def prior_inputs(section: MechanismSection) -> Arrays:
    """Fixed inputs of `predict` that hold no observation: it then tells the prior, μ alone in its mean."""
    terms = len(section.parts) - 1
    shapes: dict[str, tuple[int, ...]] = {
        "points": (NO_POINTS, section.latent_size),
        "inverse": (NO_POINTS, NO_POINTS),
        "alpha": (NO_POINTS,),
        "reference": (NO_POINTS,),
        "gauge_half": (NO_POINTS, terms),
        "gauge_mean": (terms,),
        "gauge_variance": (terms,),
    }
    return {name: np.zeros(shape) for name, shape in shapes.items()}


async def describe(model: ServingModel, section: MechanismSection, checked: Checked, deadline: float) -> Described:
    """What does not depend on any observation. Raises as ServingModel.run."""
    prior, parts = prior_inputs(section), []
    for start in range(0, checked.rows, CHUNK_ROWS):
        inputs = {name: array[start : start + CHUNK_ROWS] for name, array in checked.inputs.items()}
        parts.append(await model.run(f"predict.{checked.dtype}", inputs, deadline, prior))
    latents, factor_variance = (np.concatenate([part[name] for part in parts]) for name in ("latents", "factor_variance"))
    return Described(latents, factor_variance[:, 1:], float(parts[0]["part_mean"][0, 0]))


async def rows_in_pieces(model: ServingModel, latents: Float64, points: Float64, deadline: float) -> AsyncIterator[tuple[int, Arrays]]:
    """The graph `rows` of latents (n, D) and points (N, D): where each piece starts, and `rows` (m, T, N), `factor` (m, T), `prior` (m, T)."""
    # An object of this call alone: its rows run with nobody else's, so that the same call is made of the same runs again.
    fixed = {"points": points}
    at_once = rows_at_once(model, len(points))
    for start in range(0, len(latents), at_once):
        yield start, await model.run("rows", {"latents": latents[start : start + at_once]}, deadline, fixed)


def rows_at_once(model: ServingModel, points: int) -> int:
    """How many rows the graph `rows` is asked for at once where it tells of so many points."""
    answered = model.signature("rows").row_bytes_with({"N": points})
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // answered))


async def rows_of(model: ServingModel, latents: Float64, points: Float64, deadline: float) -> Arrays:
    """All pieces of rows_in_pieces together."""
    parts = [part async for _, part in rows_in_pieces(model, latents, points, deadline)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("rows", "factor", "prior")}


async def features_in_pieces(model: ServingModel, latents: Float64, deadline: float) -> AsyncIterator[tuple[int, Float64]]:
    """The graph `features` of latents (n, D): where each piece starts, and (m, T, F).

    Raises:
        UnsupportedCapabilityError: the bundle has none.
    """
    check_features(model)
    for start in range(0, len(latents), CHUNK_ROWS):
        told = await model.run("features", {"latents": latents[start : start + CHUNK_ROWS]}, deadline)
        yield start, told["features"]


def check_features(model: ServingModel) -> None:
    """Refuses Thompson sampling where the bundle cannot.

    Raises:
        UnsupportedCapabilityError: it has no graph `features`.
    """
    if "features" not in model.manifest.signatures:
        message = f"Model {model.manifest.name} has no random features, so that no paths can be drawn. Choose another strategy than thompson."
        raise UnsupportedCapabilityError(message, field="strategy")
