"""Where the spatial decoder looks, and what that says about the object.

The decoder draws by sampling a canonical picture at moved coordinates x' = s·(x R(φ)) + dx, so the object moves the opposite way: its pose is
the inverse of that map. Everything here is free of branches on data, so that it exports.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The greatest float32 below pi: float32(pi) itself lies above pi, outside the promised range.
_PI_BELOW = 3.14159250


def pixel_grid(height: int, width: int) -> Tensor:
    """Coordinates of the pixels' centres, row 0 first.

    Rows run from −1 to 1, columns from 1 to −1; for height != width the longer side spans [−1, 1] and pixels stay square, since otherwise
    a rotation would shear.

    Args:
        height: rows, >= 1; a spectrum has one, at coordinate 0.
        width: columns, >= 2.

    Returns:
        (height·width, 2) float32: row coordinate, column coordinate, unit 1.
    """
    half_px = (max(height, width) - 1) / 2
    rows = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2) / half_px
    columns = ((width - 1) / 2 - torch.arange(width, dtype=torch.float64)) / half_px
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2).to(torch.float32)


def transform(grid: Tensor, angle: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """X' = s·(x R(φ)) + dx with R = [[cos φ, sin φ], [−sin φ, cos φ]], x a row vector.

    Args:
        grid: (N, 2) shared by all rows, or (n, N, 2).
        angle: (n,) φ in radians.
        shift: (n, 2) dx in grid units, along rows and columns of the moved frame.
        scale: (n,) s > 0.

    Returns:
        (n, N, 2) the coordinates at which the canonical picture is sampled.
    """
    x0, x1 = grid[..., 0], grid[..., 1]
    s_cos, s_sin = (scale * torch.cos(angle))[:, None], (scale * torch.sin(angle))[:, None]
    moved_0 = x0 * s_cos - x1 * s_sin + shift[:, 0:1]
    moved_1 = x0 * s_sin + x1 * s_cos + shift[:, 1:2]
    return torch.stack((moved_0, moved_1), dim=-1)


def object_centre(angle: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Where the canonical picture's origin lies in the image: c = −(1/s)·dx·Rᵀ (the shift lives in the turned, scaled frame).

    Args:
        angle: (n,) φ in radians.
        shift: (n, 2) dx in grid units.
        scale: (n,) s > 0.

    Returns:
        (n,) row and (n,) column coordinate in grid units.
    """
    cos, sin = torch.cos(angle), torch.sin(angle)
    return -(shift[:, 0] * cos + shift[:, 1] * sin) / scale, (shift[:, 0] * sin - shift[:, 1] * cos) / scale


def object_shift_px(angle: Tensor, shift: Tensor, scale: Tensor, longer_side_px: int) -> tuple[Tensor, Tensor]:
    """`object_centre` in pixels down and right of the image's centre.

    Args:
        angle: (n,) φ in radians.
        shift: (n, 2) dx in grid units.
        scale: (n,) s > 0.
        longer_side_px: max(height, width); half of it less half a pixel is one grid unit.

    Returns:
        shift_down_px (n,), shift_right_px (n,); columns run from 1 to −1, hence the sign of the second.
    """
    half_px = (longer_side_px - 1) / 2
    row, column = object_centre(angle, shift, scale)
    return row * half_px, -column * half_px


def sampling_shift(angle: Tensor, scale: Tensor, down_px: Tensor, right_px: Tensor, longer_side_px: int) -> Tensor:
    """The inverse of `object_shift_px`: dx = −s·c·R for an object whose centre lies `down_px`, `right_px` off the image's centre.

    Args:
        angle: (n,) φ in radians.
        scale: (n,) the *sampling* scale s > 0, one over the object's.
        down_px: (n,) pixels.
        right_px: (n,) pixels.
        longer_side_px: max(height, width).

    Returns:
        (n, 2) dx in grid units.
    """
    half_px = (longer_side_px - 1) / 2
    centre_0, centre_1 = down_px / half_px, -right_px / half_px
    cos, sin = torch.cos(angle), torch.sin(angle)
    dx_0 = -scale * (centre_0 * cos - centre_1 * sin)
    dx_1 = -scale * (centre_0 * sin + centre_1 * cos)
    return torch.stack((dx_0, dx_1), dim=-1)


def wrap_angle(angle: Tensor) -> Tensor:
    """Angles (n,) in radians, moved by whole turns into [−pi, pi]."""
    wrapped = angle - 2 * math.pi * torch.round(angle / (2 * math.pi))
    # Rounding may leave a value one step outside.
    return torch.clamp(wrapped, -_PI_BELOW, _PI_BELOW)
