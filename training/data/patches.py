"""Square patches of a scan, on a regular grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.errors import InputError


@dataclass(frozen=True)
class Patches:
    """Patches of one image, in reading order (rows first).

    Attributes:
        images: (n, w, w[, c]), the image's dtype and unit.
        top_px: (n,) int64, the row of each patch's first row in the image.
        left_px: (n,) int64, the column of each patch's first column.
    """

    images: Array
    top_px: Array
    left_px: Array


def cut_patches(image: Array, window_px: int, stride_px: int) -> Patches:
    """All windows of `window_px` whose corners lie at multiples of `stride_px` and that lie wholly in the image.

    Args:
        image: (h, w[, c]), any dtype.
        window_px: side of a patch, pixels, >= 1.
        stride_px: distance of neighbouring corners, pixels, >= 1.

    Raises:
        InputError: NOT_AN_IMAGE, INVALID_WINDOW, or WINDOW_TOO_LARGE when the image is smaller than one window.
    """
    if image.ndim not in (2, 3):
        raise InputError("NOT_AN_IMAGE", f"Patches are cut from one image (h, w) or (h, w, c), not from an array of shape {image.shape}.")
    if window_px < 1 or stride_px < 1:
        raise InputError("INVALID_WINDOW", f"Window and stride are at least 1 pixel, not {window_px} and {stride_px}.")
    height, width = image.shape[:2]
    if window_px > min(height, width):
        raise InputError("WINDOW_TOO_LARGE", f"A window of {window_px} px does not fit an image of {height} × {width} px; choose a smaller one.")
    tops = np.arange(0, height - window_px + 1, stride_px, dtype=np.int64)
    lefts = np.arange(0, width - window_px + 1, stride_px, dtype=np.int64)
    # A view (rows, columns[, c], w, w); the window axes come last and move before the channels.
    windows = np.lib.stride_tricks.sliding_window_view(image, (window_px, window_px), axis=(0, 1))[::stride_px, ::stride_px]
    if image.ndim == 3:
        windows = np.moveaxis(windows, 2, -1)
    images = windows.reshape(len(tops) * len(lefts), *windows.shape[2:]).copy()
    return Patches(images, np.repeat(tops, len(lefts)), np.tile(lefts, len(tops)))
