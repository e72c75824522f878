"""An asymmetric drawn object whose pose is measured by moments, without any of the code under test."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HALF_SIZE = 0.2  # grid units


def picture(points: Tensor) -> Tensor:
    """A canonical picture as a function of coordinates (..., 2) of the decoder: three blobs, heavier on one end, centred on its centroid."""
    centres = torch.tensor([[0.0, -0.25], [0.0, 0.05], [-0.1, 0.2]], dtype=points.dtype)
    weights = torch.tensor([1.0, 0.6, 0.3], dtype=points.dtype)
    centres = centres - (weights[:, None] * centres).sum(0) / weights.sum()
    distance = (points[..., None, :] - centres).square().sum(-1)
    return (weights * torch.exp(-distance / (2 * 0.06**2))).sum(-1)


def moments(image: np.ndarray) -> tuple[float, float, float, float]:
    """Centroid (down, right) from the image's centre in px, angle of the long axis towards the lighter end (rad, ccw, row 0 on top), and size in px.

    The direction is settled by the third moment along the axis.
    """
    rows, columns = np.indices(image.shape, dtype=np.float64)
    up, right = (image.shape[0] - 1) / 2 - rows, columns - (image.shape[1] - 1) / 2
    mass = image / image.sum()
    up_0, right_0 = (mass * up).sum(), (mass * right).sum()
    du, dr = up - up_0, right - right_0
    covariance = np.array([[(mass * dr * dr).sum(), (mass * dr * du).sum()], [(mass * dr * du).sum(), (mass * du * du).sum()]])
    values, vectors = np.linalg.eigh(covariance)
    axis = vectors[:, -1]
    if (mass * (axis[0] * dr + axis[1] * du) ** 3).sum() < 0:
        axis = -axis
    return -up_0, right_0, float(np.arctan2(axis[1], axis[0])), float(np.sqrt(values.sum()))
