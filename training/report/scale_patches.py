"""What the last stage of a bundle takes, cut from a frame: descriptors of its windows, as the graphs of frames make them."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array
from training.data.resample import resample
from training.report.graphs import LatentGraphs
from training.report.scale_graphs import Frame, stage_windows
from training.report.scale_stages import grid_over

_MOST = 24  # along the frame's shorter side


def resamples(graphs: LatentGraphs) -> bool:
    """Whether the bundle's images are other than plain patches of a frame: of several lengths, of another length than theirs, or standardised."""
    frames = graphs.latent.frames
    return frames is not None and (frames.standardised or [stage.window_px for stage in frames.stages] != [frames.descriptor_px])


def last_stage_descriptors(graphs: LatentGraphs, frame: Frame) -> Array:
    """Descriptors (n, d, d[, c]) float32 of windows of the last stage on a grid, in the frame's unit, or in its own standard deviations.

    Windows that touch a pixel which was not measured are left out.

    Raises:
        InputError: PIXEL_SIZE_REQUIRED, IMAGES_TOO_SMALL.
    """
    window = stage_windows(graphs, frame)[-1]
    values = np.asarray(frame.values, np.float64).reshape(*frame.values.shape[:2], -1)
    finite = np.isfinite(values)
    frames = graphs.latent.frames
    if frames is not None and frames.standardised:
        mean, sd = np.nanmean(np.where(finite, values, np.nan), axis=(0, 1)), np.nanstd(np.where(finite, values, np.nan), axis=(0, 1))
        values = (values - mean) / np.where(sd > 0, sd, 1.0)
    centres = grid_over(values.shape, window, _MOST).centres_px
    size, lengths = graphs.latent.image_height_px, np.full(len(centres), window)
    whole = resample((~finite).any(axis=2, keepdims=True).astype(np.float64), centres, lengths, size).max(axis=(1, 2, 3)) == 0
    cut = resample(np.where(finite, values, 0.0), centres[whole], lengths[whole], size).astype(np.float32)
    return cut if frame.values.ndim == 3 else cut[..., 0]
