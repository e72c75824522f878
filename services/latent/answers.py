"""The latent room's answers, field for field what protos/dichroic/v1/latent.proto describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle.arrays import Arrays
from services.engine.model import Identity

# How far a graph's class probabilities may be from a distribution, by rounding in float32.
PROBABILITY_TOLERANCE = 1e-3

Float32 = np.ndarray[Any, np.dtype[np.float32]]
Int64 = np.ndarray[Any, np.dtype[np.int64]]
Bool = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Encoded:
    """Pose, content and class of n rows, float32 (class_index int64); None where the model has no such latent. Units as in the proto."""

    model: Identity
    angle_rad: Float32 | None
    angle_sd_rad: Float32 | None
    scale: Float32 | None
    shift_down_px: Float32 | None
    shift_right_px: Float32 | None
    content: Float32 | None
    content_sd: Float32 | None
    latent_mean: Float32
    latent_sd: Float32
    class_probabilities: Float32 | None
    class_index: Int64 | None


@dataclass(frozen=True)
class Decoded:
    """`images` (n, h, w[, c]) or `spectra` (n, l[, c]) float32 in the training data's unit; the other is None."""

    model: Identity
    images: Float32 | None
    spectra: Float32 | None


@dataclass(frozen=True)
class Reconstructed:
    """Each row as the model sees it; `error` (n,) in the scale where the input range is [0, 1].

    `novel` (n,) and `p_value` (n,) in (0, 1] are None where not calibrated; class_probabilities (n, K) and class_index (n,) for a model without.
    """

    model: Identity
    reconstruction: Float32
    error: Float32
    error_threshold: float
    novel_false_alarm_rate: float
    novel: Bool | None
    p_value: Float32 | None
    class_probabilities: Float32 | None
    class_index: Int64 | None


@dataclass(frozen=True)
class Manifold:
    """A grid over two content latents: `values_1` (count_1,) down, `values_2` (count_2,) to the right, float32.

    `images` (count_1, count_2, h, w[, c]) or `spectra` (count_1, count_2, l[, c]) float32 in the training data's unit; the other is None.
    """

    model: Identity
    values_1: Float32
    values_2: Float32
    images: Float32 | None
    spectra: Float32 | None


@dataclass(frozen=True)
class Classified:
    """`class_probabilities` (n, K) float32, rows sum to 1; `class_index` (n,) int64, the most probable of the K `class_names`."""

    model: Identity
    class_probabilities: Float32
    class_index: Int64
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Regressed:
    """`target_mean` and `target_sd` (n, t) float32 in the t targets' `units`; the sd is the observable's, noise included, >= 0."""

    model: Identity
    target_mean: Float32
    target_sd: Float32
    names: tuple[str, ...]
    units: tuple[str, ...]


def encoded_fields(outputs: Arrays) -> dict[str, Any]:
    """What Encoded and a frame's LatentMap have in common; None where the model has no such latent."""
    names = ("angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px", "content", "content_sd", "class_probabilities")
    return {name: outputs.get(name) for name in names} | {name: outputs[name] for name in ("latent_mean", "latent_sd")}


def most_probable(probabilities: Float32) -> Int64:
    """(n, K) to (n,) int64, the first of several equal ones.

    Raises:
        RuntimeError: a row is no distribution: the graph is wrong, and so would the answer be.
    """
    if probabilities.min() < -PROBABILITY_TOLERANCE or np.abs(probabilities.sum(axis=1) - 1).max() > PROBABILITY_TOLERANCE:
        raise RuntimeError("the graph's class probabilities do not sum to 1")
    index: Int64 = probabilities.argmax(axis=1)
    return index
