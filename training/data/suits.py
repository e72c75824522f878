"""The four suits as analytic shapes: unions of circles, half-planes and a flared stem, in the object's frame (x right, y up, height 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from training.data.dataset import Array

SUITS = ("spade", "heart", "diamond", "club")
# A turn by 360°/order brings the suit onto itself.
SYMMETRY_ORDER = {"spade": 1, "heart": 1, "diamond": 2, "club": 1}


def _circle(x: Array, y: Array, x0: float, y0: float, radius: float) -> Array:
    inside: Array = (x - x0) ** 2 + (y - y0) ** 2 <= radius**2
    return inside


def _lobes(x: Array, y: Array, tip_y: float) -> Array:
    """Two circles and the wedge of their tangents to the tip (0, tip_y) below: a heart."""
    radius, x0, y0 = 0.47, 0.44, 0.50
    # Along the tangent from the tip to the right circle: u; to its right: n.
    length = math.hypot(x0, y0 - tip_y)
    lean = math.atan2(x0, y0 - tip_y) + math.asin(radius / length)
    u, n = (math.sin(lean), math.cos(lean)), (math.cos(lean), -math.sin(lean))
    x = np.abs(x)
    wedge = (y <= y0) & (n[0] * x + n[1] * (y - tip_y) <= 0) & (u[0] * (x - x0) + u[1] * (y - y0) <= 0)
    return _circle(x, y, x0, y0, radius) | wedge


def _stem(x: Array, y: Array, top_y: float) -> Array:
    """A stem that flares towards its flat foot at y = -1."""
    depth = (top_y - y) / (top_y + 1.0)
    inside: Array = (depth >= 0) & (depth <= 1) & (np.abs(x) <= 0.07 + 0.30 * depth**3)
    return inside


def _heart(x: Array, y: Array) -> Array:
    return _lobes(x, y, tip_y=-1.0)


def _spade(x: Array, y: Array) -> Array:
    return _lobes(x / 0.95, 0.28 - y, tip_y=-0.78) | _stem(x, y, top_y=0.0)


def _diamond(x: Array, y: Array) -> Array:
    inside: Array = np.abs(x) / 0.74 + np.abs(y) <= 1.0
    return inside


def _club(x: Array, y: Array) -> Array:
    middle = _circle(x, y, 0.0, 0.10, 0.22)
    return _circle(x, y, 0.0, 0.56, 0.43) | _circle(np.abs(x), y, 0.50, -0.18, 0.43) | middle | _stem(x, y, top_y=0.10)


_SHAPES: dict[str, Callable[[Array, Array], Array]] = {"spade": _spade, "heart": _heart, "diamond": _diamond, "club": _club}


def inside(suit: str, x: Array, y: Array) -> Array:
    """Whether points of the object's frame lie in the suit, whose centroid is the origin.

    Args:
        suit: one of SUITS.
        x: any shape, to the right; the suits lie within ±1.2.
        y: same shape, upwards.

    Returns:
        bool, same shape.
    """
    x0, y0 = _centroid(suit)
    return _SHAPES[suit](x + x0, y + y0)


@cache
def _centroid(suit: str) -> tuple[float, float]:
    # 1/600 of the height is 0.05 px at the sizes drawn; the sum over the area is far finer.
    axis = (np.arange(1500) + 0.5) / 600 - 1.25
    x, y = np.meshgrid(axis, axis)
    shape = _SHAPES[suit](x, y)
    return float(x[shape].mean()), float(y[shape].mean())
