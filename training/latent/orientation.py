"""[ours] The direction of stripes: found in training images by the structure tensor, and taught to the encoder's angle.

The bound alone does not settle where the angle of a repeating texture points: content can draw a stripe at any angle. A direction that is
found in the image itself, without labels, settles it; images cut wide and turned by any angle show every direction and no invented border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from training.latent.coordinates import transform

Array = np.ndarray[Any, np.dtype[Any]]

# The direction has a period of half a turn.
SYMMETRY_ORDER = 2
_SMOOTHING_PX = 1.0


@dataclass(frozen=True)
class Direction:
    """Of each image (n,): `angle_rad` along the stripes, counter-clockwise, modulo π; `coherence` 0 (no direction) to 1 (one alone)."""

    angle_rad: Array
    coherence: Array


def stripe_direction(images: Array) -> Direction:
    """Eigenvector of the structure tensor J = ⟨∇v ∇vᵀ⟩ with the lesser eigenvalue, and coherence (λ₁ − λ₂)/(λ₁ + λ₂).

    Args:
        images: (n, h, w, c), h and w >= 8; J is summed over channels, with a weight that falls to 0 at the inscribed circle.
    """
    smooth = gaussian_filter(images.astype(np.float64), (0, _SMOOTHING_PX, _SMOOTHING_PX, 0))
    down, right = (part[:, 1:-1, 1:-1] for part in np.gradient(smooth, axis=(1, 2)))
    rows, columns = (np.linspace(-1, 1, side) for side in down.shape[1:3])
    weight = np.clip(1 - rows[:, None] ** 2 - columns[None] ** 2, 0, None)[None, :, :, None]
    xx, yy, xy = ((weight * part).sum(axis=(1, 2, 3)) for part in (right * right, down * down, -right * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + math.pi / 2
    return Direction(angle, np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, np.finfo(np.float64).tiny))


def wide_px(side_px: int) -> int:
    """Side of a square that holds every turn of a square of `side_px` about their common centre; of the same parity, so that it crops."""
    wide = math.ceil(math.sqrt(2) * side_px)
    return wide + (wide - side_px) % 2


def crop(images: Array, side_px: int) -> Array:
    """The middle (n, side_px, side_px, c) of wide images (n, W, W, c)."""
    margin = (images.shape[1] - side_px) // 2
    return images[:, margin : margin + side_px, margin : margin + side_px]


def turn_and_crop(wide: Tensor, grid: Tensor, angle: Tensor, side_px: int) -> Tensor:
    """Wide images (n, W, W, c) turned counter-clockwise by `angle` (n,) radians, bilinear, and cropped to (n, side_px, side_px, c)."""
    count, ones = len(wide), torch.ones_like(angle)
    moved = transform(grid, angle, angle.new_zeros((count, 2)), ones) * ((side_px - 1) / (wide.shape[1] - 1))
    points = torch.stack((-moved[..., 1], moved[..., 0]), dim=-1).reshape(count, side_px, side_px, 2)
    return functional.grid_sample(wide.permute(0, 3, 1, 2), points, padding_mode="border", align_corners=True).permute(0, 2, 3, 1)


def direction_error(angle: Tensor, taught: Tensor, coherence: Tensor) -> Tensor:
    """Mean of coherence · (1 − cos 2(φ − θ)), scalar: zero where the angle follows the direction, blind where there is none."""
    return (coherence * (1 - torch.cos(SYMMETRY_ORDER * (angle - taught)))).mean()
