"""The latent room's answers, field for field what protos/dichroic/v1/latent.proto describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Float32 = np.ndarray[Any, np.dtype[np.float32]]
Bool = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Identity:
    """Which bundle answered. Equal digests answer equally."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True)
class Encoded:
    """Pose and content of n images, float32; None where the model has no such latent. Units as in the proto."""

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


@dataclass(frozen=True)
class Decoded:
    """`images` (n, h, w) or (n, h, w, c) float32 in the training data's unit."""

    model: Identity
    images: Float32


@dataclass(frozen=True)
class Reconstructed:
    """Each image as the model sees it; `error` (n,) in the scale where the input range is [0, 1]; `novel` None where not calibrated."""

    model: Identity
    reconstruction: Float32
    error: Float32
    error_threshold: float
    novel_false_alarm_rate: float
    novel: Bool | None
