"""The resampling as it is defined, value by value and slowly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def by_definition(frame: Array, centre: Array, window: float, size: int) -> Array:
    """A X Bᵀ of one window, value by value, from the whole frame (h, w, c)."""
    matrices = [axis(frame.shape[side], float(centre[side]), window, size) for side in (0, 1)]
    return np.einsum("iy,yxc,jx->ijc", matrices[0], frame, matrices[1])


def axis(length: int, centre: float, window: float, size: int) -> Array:
    found, step = np.zeros((size, length)), window / size
    for row in range(size):
        low = centre - window / 2 + row * step
        if window >= size:
            for pixel in range(length):
                found[row, pixel] = max(0.0, min(low + step, pixel + 1) - max(low, pixel)) / step
        else:
            place = low + step / 2 - 0.5
            first = math.floor(place)
            for pixel, weight in ((first, first + 1 - place), (first + 1, place - first)):
                found[row, min(max(pixel, 0), length - 1)] += weight
    return found
