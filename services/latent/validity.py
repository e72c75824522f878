"""Which windows of a frame touch a pixel that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.latent.answers import Bool
from services.latent.inputs import NDArray
from services.latent.windows import INSIDE_PX, Float64

Int64 = np.ndarray[Any, np.dtype[np.int64]]


def touched_before(frame: NDArray) -> Int64 | None:
    """(h + 1, w + 1) int64, the integral image of the pixels that are not finite in any channel; None where all are.

    Args:
        frame: (h, w) or (h, w, c).
    """
    if frame.dtype.kind != "f":
        return None
    finite = np.isfinite(frame)
    if finite.all():
        return None
    bad = ~(finite if frame.ndim == 2 else finite.all(axis=2))
    before = np.zeros((bad.shape[0] + 1, bad.shape[1] + 1), dtype=np.int64)
    before[1:, 1:] = bad.cumsum(axis=0).cumsum(axis=1)
    return before


def valid_windows(before: Int64 | None, centres: Float64, window_px: float, descriptor_px: int) -> Bool:
    """(n,) bool: no pixel that the resampled window is made of is other than finite.

    Args:
        before: as touched_before tells.
        centres: (n, 2) float64, (row, column), pixels.
        window_px: the windows' length.
        descriptor_px: d, to which they are resampled. Shrinking looks at the pixels the window covers; enlarging also at the neighbour that the
            linear interpolation takes, which may lie outside the window.
    """
    if before is None:
        return np.ones(len(centres), dtype=np.bool_)
    low, high = centres - window_px / 2, centres + window_px / 2
    if window_px >= descriptor_px:
        first, stop = np.floor(low + INSIDE_PX), np.ceil(high - INSIDE_PX)
    else:
        half = window_px / descriptor_px / 2
        first, stop = np.floor(low + half - 0.5 + INSIDE_PX), np.floor(high - half - 0.5 + INSIDE_PX) + 2
    ends = np.array(before.shape) - 1
    (top, left), (bottom, right) = np.clip(first, 0, ends).astype(np.int64).T, np.clip(stop, 0, ends).astype(np.int64).T
    valid: Bool = before[bottom, right] - before[top, right] - before[bottom, left] + before[top, left] == 0
    return valid
