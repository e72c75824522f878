"""Angles as pictures show them: in degrees, modulo the turn after which the model's objects look the same."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array


def wrapped_rad(angle_rad: Array, symmetry: int = 1) -> Array:
    """Angles (...) in radians, float64 modulo 2π/m, in [−π/m, π/m)."""
    turn = 2 * np.pi / symmetry
    return np.asarray((np.asarray(angle_rad, np.float64) + turn / 2) % turn - turn / 2)


def ends_deg(symmetry: int = 1) -> tuple[float, float]:
    """−180°/m and 180°/m: one direction, so their colours are one."""
    return -180.0 / symmetry, 180.0 / symmetry


def ticks_deg(symmetry: int = 1) -> list[float]:
    """Five ticks from end to end."""
    return [float(tick) for tick in np.linspace(*ends_deg(symmetry), 5)]


def angle_title(symmetry: int = 1) -> str:
    """Of a picture of angles."""
    return "angle" + (f", modulo {360 / symmetry:g}°" if symmetry > 1 else "")
