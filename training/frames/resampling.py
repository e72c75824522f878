"""Windows of a frame as descriptors of one size, as torch modules that can be exported; training/data/resample.py is their reference.

A window of length w at the centre (r, c), pixels, covers [r − w/2, r + w/2) × [c − w/2, c + w/2); pixel (i, j) covers [i, i + 1) × [j, j + 1). It
becomes the d × d descriptor A X Bᵀ: with step = w/d and lo = r − w/2

    w ≥ d:  A[i, y] = |[lo + i·step, lo + (i + 1)·step) ∩ [y, y + 1)| / step          a box with fractional edges
    w < d:  A[i, y] = max(0, 1 − |lo + (i + ½)·step − (y + ½)|), y clamped to the frame     linear between pixel middles

and B alike. Only the S = ⌈w⌉ + 2 pixels that can matter to a window are looked at. Lengths are float64 up to the weights, so that far from the
frame's corner no digit is lost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Rows that pad a batch have a window of 0: their answers are thrown away, but a division by it could spoil an index.
_LEAST_WINDOW_PX = 1e-3


def axis_weights(centres: Tensor, windows: Tensor, size: int, taps: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix of one axis, of its taps alone.

    Args:
        centres: (n,) float64 middle of each window along this axis, pixels.
        windows: (n,) float64 their lengths, pixels.
        size: d.
        taps: (S,) int64 0, 1, …, S − 1.

    Returns:
        (n, S) int64 the taps' pixels, which may lie outside the frame and are then to be clamped to its border, and (n, d, S) float64 weights.
    """
    windows = torch.clamp(windows, min=_LEAST_WINDOW_PX)
    start = centres - windows / 2
    first = torch.floor(start - 0.5)
    begin, step = (start - first)[:, None, None], (windows / size)[:, None, None]
    index = torch.arange(size, dtype=torch.float64, device=taps.device)[:, None]
    tap = taps.to(torch.float64)
    low = begin + index * step
    box = torch.clamp(torch.minimum(low + step, tap + 1) - torch.maximum(low, tap), min=0) / step
    linear = torch.clamp(1 - torch.abs(low + step / 2 - 0.5 - tap), min=0)
    return first.to(torch.int64)[:, None] + taps, torch.where(step >= 1, box, linear)


class Windows(nn.Module):
    """Windows of one frame to descriptors."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor, centre_px: Tensor, window_px: Tensor, taps: Tensor) -> Tensor:
        """Cuts and resamples.

        Args:
            values: (h, w, c) float, finite.
            centre_px: (n, 2) row and column of each window's middle.
            window_px: (n,) side of each window.
            taps: (S,) int64 0, 1, …, S − 1 with S = ⌈longest window⌉ + 2; an input, since its length depends on values.

        Returns:
            (n, d, d, c) in the dtype of `values`.
        """
        height, width, channels = values.shape
        centres, windows = centre_px.to(torch.float64), window_px.to(torch.float64)
        rows, of_rows = axis_weights(centres[:, 0], windows, self.size, taps)
        columns, of_columns = axis_weights(centres[:, 1], windows, self.size, taps)
        at = torch.clamp(rows, 0, height - 1)[:, :, None] * width + torch.clamp(columns, 0, width - 1)[:, None, :]
        seen = functional.embedding(at, values.reshape(height * width, channels))  # (n, S, S, c)
        count, tapped = taps.shape[0], window_px.shape[0]
        down = torch.bmm(of_rows.to(values.dtype), seen.reshape(tapped, count, count * channels))  # (n, d, S·c)
        down = down.reshape(tapped, self.size, count, channels).permute(0, 1, 3, 2).reshape(tapped, self.size * channels, count)
        both = torch.bmm(down, of_columns.to(values.dtype).transpose(1, 2))  # (n, d·c, d)
        return both.reshape(tapped, self.size, channels, self.size).permute(0, 1, 3, 2)


class WholeFrame(nn.Module):
    """Frames resampled as a whole: value (i, j) is that of every window on the grid of descriptor pixels that holds it."""

    def forward(self, values: Tensor, step_px: Tensor, rows: Tensor, columns: Tensor, taps: Tensor) -> Tensor:
        """Resamples by step = w/d from the frames' first corner.

        Args:
            values: (n, h, w, c) float, finite.
            step_px: () float64 side of a descriptor's pixel in pixels of the frame.
            rows: (p,) int64 0, 1, …: rows of the result.
            columns: (q,) int64 likewise.
            taps: (S,) int64 0, 1, …, S − 1 with S = ⌈step⌉ + 2.

        Returns:
            (n, c, p, q).
        """
        count, height, width, channels = values.shape
        down = _along_first(values.permute(1, 0, 3, 2).reshape(height, count * channels * width), step_px, rows, taps)  # (p, n·c·w)
        flat = down.reshape(rows.shape[0] * count * channels, width).transpose(0, 1)
        both = _along_first(flat, step_px, columns, taps).transpose(0, 1)  # (p·n·c, q)
        return both.reshape(rows.shape[0], count, channels, columns.shape[0]).permute(1, 2, 0, 3)


def _along_first(values: Tensor, step_px: Tensor, index: Tensor, taps: Tensor) -> Tensor:
    """(h, m) resampled along its first axis to (p, m): each result is a window of length `step_px` and one descriptor pixel."""
    places = index.to(torch.float64)
    pixels, weights = axis_weights((places + 0.5) * step_px, step_px * torch.ones_like(places), 1, taps)
    seen = functional.embedding(torch.clamp(pixels, 0, values.shape[0] - 1), values)  # (p, S, m)
    return torch.bmm(weights.to(values.dtype), seen).reshape(index.shape[0], values.shape[1])
