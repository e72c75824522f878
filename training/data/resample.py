"""Windows of a frame, of any length and place, as descriptors of one size: the float64 reference of what training and the exported graphs compute.

A window of length w at the centre (r, c) covers rows [r − w/2, r + w/2) and columns likewise; pixel (i, j) covers [i, i + 1) × [j, j + 1) and has its
middle at (i + ½, j + ½). The descriptor is A X Bᵀ with one small matrix for the rows and one for the columns: a box with fractional edges when
shrinking (w ≥ d), linear between pixel middles when enlarging (w < d).
"""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.errors import InputError

# How far a window may stand out of the frame, pixels: centres and lengths are often float32.
TOLERANCE_PX = 1e-6
# Values gathered around the centres at once: 2²² float64 are 32 MiB.
_VALUES_AT_ONCE = 1 << 22


def resample(frame: Array, centres: Array, windows: Array, size: int) -> Array:
    """Cuts windows out of a frame and brings each to size × size.

    Args:
        frame: (h, w, c) real and finite, any unit.
        centres: (n, 2) row and column of each window's middle, pixels.
        windows: (n,) side of each window, pixels, > 0; may be fractional.
        size: d, side of a descriptor, pixels, >= 1.

    Returns:
        (n, d, d, c) float64, in the frame's unit.

    Raises:
        InputError: NOT_AN_IMAGE; INVALID_WINDOW; WINDOW_OUTSIDE_FRAME: nothing is padded.
    """
    if frame.ndim != 3:
        raise InputError("NOT_AN_IMAGE", f"Windows are cut from one frame (h, w, c), not from an array of shape {frame.shape}.")
    centres, windows = np.asarray(centres, dtype=np.float64).reshape(-1, 2), np.asarray(windows, dtype=np.float64).reshape(-1)
    _check(frame.shape, centres, windows, size)
    found = np.empty((len(windows), size, size, frame.shape[2]))
    for window in np.unique(windows):  # equal windows have equally many taps
        rows = np.flatnonzero(windows == window)
        taps = tap_count(float(window))
        at_once = max(1, _VALUES_AT_ONCE // (taps * max(taps * frame.shape[2], 2 * size)))
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            found[part] = _cut(frame, centres[part], float(window), size)
    return found


def tap_count(window_px: float) -> int:
    """How many neighbouring pixels along one axis can matter to a window: S = ⌈w⌉ + 2."""
    return int(np.ceil(window_px)) + 2


def axis_weights(centres: Array, window_px: float, size: int) -> tuple[Array, Array]:
    """The matrix of one axis, of its S taps alone.

    Args:
        centres: (n,) middle of each window along this axis, pixels.
        window_px: w, their length, pixels.
        size: d.

    Returns:
        (n,) int64 the first tap's pixel, which may lie outside the frame and is then clamped to its border, and (n, d, S) float64 weights; rows sum
        to 1.
    """
    start = centres - window_px / 2
    first = np.floor(start - 0.5).astype(np.int64)
    # Relative to the first tap, so that far from the frame's corner no digit is lost.
    begin = (start - first)[:, None, None]
    step = window_px / size
    index, tap = np.arange(size)[:, None], np.arange(tap_count(window_px))
    if window_px >= size:
        # |[a, a + step) ∩ [y, y + 1)| / step, a = r − w/2 + i·step
        low = begin + index * step
        weights = (np.minimum(low + step, tap + 1) - np.maximum(low, tap)).clip(0) / step
    else:
        # max(0, 1 − |p − ½ − y|), p = r − w/2 + (i + ½)·step
        weights = (1 - np.abs(begin + (index + 0.5) * step - 0.5 - tap)).clip(0)
    return first, weights


def touched_pixels(centres: Array, window_px: float, size: int, side_px: int) -> tuple[Array, Array]:
    """First pixel (n,) int64 that each window's descriptor depends on along one axis, and one past the last; within [0, side_px]."""
    start, stop = centres - window_px / 2, centres + window_px / 2
    if window_px >= size:
        first, last = np.floor(start + TOLERANCE_PX), np.ceil(stop - TOLERANCE_PX)
    else:  # the pixel before and after the outermost positions
        inset = window_px / size / 2
        first, last = np.floor(start + inset - 0.5), np.floor(stop - inset - 0.5) + 2
    return first.astype(np.int64).clip(0, side_px - 1), last.astype(np.int64).clip(1, side_px)


def _cut(frame: Array, centres: Array, window_px: float, size: int) -> Array:
    """(n, d, d, c) of windows of one length."""
    (top, of_rows), (left, of_columns) = (axis_weights(centres[:, axis], window_px, size) for axis in (0, 1))
    tap = np.arange(of_rows.shape[2])
    rows, columns = ((start[:, None] + tap).clip(0, side - 1) for start, side in zip((top, left), frame.shape[:2], strict=True))
    values = frame[rows[:, :, None], columns[:, None, :]].astype(np.float64)  # (n, S, S, c)
    cut: Array = of_rows[:, None] @ np.moveaxis(values, 3, 1) @ of_columns[:, None].swapaxes(2, 3)
    return np.moveaxis(cut, 1, 3)


def _check(shape: tuple[int, ...], centres: Array, windows: Array, size: int) -> None:
    if size < 1 or len(centres) != len(windows) or not (np.isfinite(windows).all() and (windows > 0).all() and np.isfinite(centres).all()):
        raise InputError(
            "INVALID_WINDOW",
            f"Windows have a length above 0 and a centre of two finite numbers each ({len(centres)} centres and {len(windows)} lengths given), and "
            f"descriptors a side of at least 1 px ({size} given).",
        )
    half = windows[:, None] / 2
    outside = ((centres - half < -TOLERANCE_PX) | (centres + half > np.asarray(shape[:2]) + TOLERANCE_PX)).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        raise InputError(
            "WINDOW_OUTSIDE_FRAME",
            f"{int(outside.sum())} of {len(windows)} windows do not lie inside the frame of {shape[0]} × {shape[1]} px; the first is row {row}, of "
            f"{windows[row]:g} px at ({centres[row, 0]:g}, {centres[row, 1]:g}). A centre keeps half a window from each border.",
        )
