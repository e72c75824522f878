"""What one number says about a hysteresis loop: area, coercive drive, imprint, remanence, and figures of peaks.

`drive` is voltage or field, `response` piezoresponse or polarisation; results are in their units. A loop is one closed cycle of the drive from any
point of it; where the last sample is not the first, a straight segment from the last sample to the first closes it (`close_sweep`), in every
function here. Loops that switch as a ferroelectric does run counter-clockwise with the drive to the right and the response upwards.
"""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.errors import InputError


def close_sweep(drive: Array, response: Array) -> tuple[Array, Array]:
    """The loop with its first sample repeated at the end: (points,) or (n, points) drive and (n, points) response → (n, points + 1) float64 both.

    Raises:
        InputError: UNSUPPORTED_SHAPE; NON_FINITE; NOT_ONE_CYCLE when the drive does not go exactly once up and once down, or not through 0.
    """
    response = np.asarray(response, dtype=np.float64)
    if response.ndim != 2 or response.shape[1] < 4 or np.shape(drive) not in (response.shape, response.shape[1:]):
        raise InputError(
            "UNSUPPORTED_SHAPE",
            f"Loops are (n, points) with at least 4 points and a drive (points,) or (n, points), not of shapes {response.shape} "
            f"and {np.shape(drive)}.",
        )
    drive = np.broadcast_to(np.asarray(drive, dtype=np.float64), response.shape)
    if not (np.isfinite(drive).all() and np.isfinite(response).all()):
        raise InputError("NON_FINITE", "Loops have NaN or infinite values; leave those loops out.")
    closed = np.concatenate([drive, drive[:, :1]], axis=1)
    low, high = drive.min(axis=1), drive.max(axis=1)
    upwards = np.clip(np.diff(closed, axis=1), 0, None).sum(axis=1)
    wrong = (np.abs(upwards - (high - low)) > 1e-9 * (high - low)) | (low >= 0) | (high <= 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            "NOT_ONE_CYCLE",
            f"The drive of loop {row} spans {low[row]:g} to {high[row]:g} but goes up by {upwards[row]:g} in all; one cycle through 0 was expected. "
            "Cut the sweep to one cycle.",
        )
    return closed, np.concatenate([response, response[:, :1]], axis=1)


def loop_area(drive: Array, response: Array) -> Array:
    """A = −∮ R dV by the trapezoid rule, (n,), unit of response × drive; positive for a loop that switches as a ferroelectric does."""
    v, r = close_sweep(drive, response)
    area: Array = -((r[:, 1:] + r[:, :-1]) / 2 * np.diff(v, axis=1)).sum(axis=1)
    return area


def remanences(drive: Array, response: Array) -> tuple[Array, Array]:
    """R⁺ and R⁻, (n,) each: the response where the drive passes 0 on its way down and on its way up, by linear interpolation."""
    v, r = close_sweep(drive, response)
    before, after = v[:, :-1], v[:, 1:]
    step = np.where(before == after, 1.0, after - before)
    at_zero = r[:, :-1] - before / step * (r[:, 1:] - r[:, :-1])
    # Half-open segments: a sample at exactly 0 ends one segment and is not counted again by the next. One cycle has one segment each way.
    plus = np.where((before > 0) & (after <= 0), at_zero, 0.0).sum(axis=1)
    minus = np.where((before < 0) & (after >= 0), at_zero, 0.0).sum(axis=1)
    return plus, minus


def remanence(drive: Array, response: Array) -> Array:
    """(R⁺ − R⁻)/2, (n,), unit of response."""
    plus, minus = remanences(drive, response)
    half: Array = (plus - minus) / 2
    return half


def switchable(drive: Array, response: Array) -> Array:
    """R⁺ − R⁻, (n,), unit of response."""
    return 2 * remanence(drive, response)


def asymmetry(drive: Array, response: Array) -> Array:
    """(R⁺ + R⁻)/(R⁺ − R⁻), (n,), without unit; NaN where R⁺ = R⁻."""
    plus, minus = remanences(drive, response)
    gap = plus - minus
    ratio: Array = np.divide(plus + minus, gap, out=np.full_like(gap, np.nan), where=gap != 0)
    return ratio


def coercive_points(drive: Array, response: Array, *, level: Array | float | None = None) -> tuple[Array, Array]:
    """V⁺ and V⁻, (n,) each: the drive at which the response crosses a level on the way up and on the way down.

    V⁺ = V_min + ∫ [R < level] dV over the way up, V⁻ = V_max − ∫ [R > level] dV over the way down, R linear between samples. With one crossing
    these are its place; with several, as noise makes them, they weigh all of them, where "the first" or "the last" would be noise's choice.

    Args:
        drive: (points,) or (n, points).
        response: (n, points).
        level: of the response; by default (R⁺ + R⁻)/2, so that an offset of the instrument does not count.

    Returns:
        In the drive's unit; NaN where that way does not start on one side of the level and end on the other: the loop does not switch.
    """
    v, r = close_sweep(drive, response)
    if level is None:
        plus, minus = remanences(drive, response)
        level = (plus + minus) / 2
    r = r - np.reshape(level, (-1, 1))
    rows, top, bottom = np.arange(len(v)), v.argmax(axis=1), v.argmin(axis=1)
    switches = (r[rows, top] > 0) & (r[rows, bottom] < 0)
    step = np.diff(v, axis=1)
    above = _share_above(r[:, :-1], r[:, 1:])
    up = v.min(axis=1) + (np.clip(step, 0, None) * (1 - above)).sum(axis=1)
    down = v.max(axis=1) - (np.clip(-step, 0, None) * above).sum(axis=1)
    return np.where(switches, up, np.nan), np.where(switches, down, np.nan)


def coercive_drive(drive: Array, response: Array, *, level: Array | float | None = None) -> Array:
    """(V⁺ − V⁻)/2, (n,), unit of drive; NaN where the loop does not switch."""
    up, down = coercive_points(drive, response, level=level)
    half: Array = (up - down) / 2
    return half


def imprint(drive: Array, response: Array, *, level: Array | float | None = None) -> Array:
    """(V⁺ + V⁻)/2, (n,), unit of drive: how far the loop is shifted; NaN where it does not switch."""
    up, down = coercive_points(drive, response, level=level)
    middle: Array = (up + down) / 2
    return middle


def opening(drive: Array, response: Array) -> tuple[Array, Array]:
    """How far the branches lie apart: R_down(V) − R_up(V) at the drive's own values. `drive` is (points,), one for all loops.

    Returns:
        The values (m,) ascending, unit of drive, and the opening (n, m), unit of response.
    """
    if np.ndim(drive) != 1:
        raise InputError("UNSUPPORTED_SHAPE", f"An opening needs one drive (points,) for all loops, not one of shape {np.shape(drive)}.")
    v, r = close_sweep(drive, response)
    path, axis = v[0], np.unique(v[0])
    top, bottom = int(path[:-1].argmax()), int(path[:-1].argmin())
    count = len(path) - 1
    to_top = (bottom + np.arange((top - bottom) % count + 1)) % count
    to_bottom = (top + np.arange((bottom - top) % count + 1)) % count
    wide = np.empty((len(r), len(axis)))
    for row, loop in enumerate(r[:, :-1]):
        wide[row] = np.interp(axis, path[to_bottom][::-1], loop[to_bottom][::-1]) - np.interp(axis, path[to_top], loop[to_top])
    return axis, wide


def peak_position(axis: Array, curves: Array) -> Array:
    """Where a curve is greatest: the top of the parabola through the greatest sample and its neighbours, (n,), unit of axis.

    Args:
        axis: (m,) ascending.
        curves: (n, m).

    Returns:
        The sample itself where it is the first or last.
    """
    axis, curves = _curves(axis, curves)
    top = curves.argmax(axis=1)
    inner = np.clip(top, 1, len(axis) - 2)
    rows = np.arange(len(curves))
    (x0, x1, x2), (y0, y1, y2) = ((values for values in _around(array, rows, inner)) for array in (np.broadcast_to(axis, curves.shape), curves))
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)
    # Newton's form: y = y0 + left (x − x0) + bend (x − x0)(x − x1); its slope vanishes here.
    vertex = (x0 + x1) / 2 - np.divide(left, 2 * bend, out=np.zeros_like(left), where=bend < 0)
    place: Array = np.where((top == inner) & (bend < 0), vertex, axis[top])
    return place


def peak_ratio(axis: Array, curves: Array, first: tuple[float, float], second: tuple[float, float]) -> Array:
    """The greatest value within `first` = (low, high) of the axis, over that within `second`, (n,), without unit; NaN where the latter is 0.

    Raises:
        InputError: INVALID_OPTION when a window holds no sample.
    """
    axis, curves = _curves(axis, curves)
    peaks = []
    for low, high in (first, second):
        inside = (axis >= low) & (axis <= high)
        if not inside.any():
            raise InputError("INVALID_OPTION", f"No sample lies in the window {low:g} to {high:g}; the axis runs from {axis[0]:g} to {axis[-1]:g}.")
        peaks.append(curves[:, inside].max(axis=1))
    ratio: Array = np.divide(peaks[0], peaks[1], out=np.full(len(curves), np.nan), where=peaks[1] != 0)
    return ratio


def centre_of_mass(axis: Array, curves: Array) -> Array:
    """∫ x y dx / ∫ y dx by the trapezoid rule, (n,), unit of axis; NaN where ∫ y dx is not above 0. Meant for curves that are not negative."""
    axis, curves = _curves(axis, curves)
    total = np.trapezoid(curves, axis, axis=1)
    centre: Array = np.divide(np.trapezoid(curves * axis, axis, axis=1), total, out=np.full_like(total, np.nan), where=total > 0)
    return centre


def _curves(axis: Array, curves: Array) -> tuple[Array, Array]:
    axis, curves = np.asarray(axis, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if axis.ndim != 1 or len(axis) < 3 or curves.ndim != 2 or curves.shape[1] != len(axis) or (np.diff(axis) <= 0).any():
        raise InputError("UNSUPPORTED_SHAPE", f"Curves are (n, m) over an ascending axis (m,), m >= 3, not {curves.shape} over {axis.shape}.")
    return axis, curves


def _around(array: Array, rows: Array, middle: Array) -> tuple[Array, Array, Array]:
    return array[rows, middle - 1], array[rows, middle], array[rows, middle + 1]


def _share_above(start: Array, end: Array) -> Array:
    """The share of a straight segment from `start` to `end` that lies above 0; 1/2 where all of it is 0."""
    span = np.abs(end - start)
    upper = np.clip(np.maximum(start, end), 0, None)
    level = np.where(start > 0, 1.0, np.where(start < 0, 0.0, 0.5))
    share: Array = np.divide(np.minimum(upper, span), span, out=level, where=span > 0)
    return share
