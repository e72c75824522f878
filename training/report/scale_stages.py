"""What each stage of a bundle says over one frame: latents on a grid of centres, and their statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.windows import grid_axis, grid_centres
from training.report.scale_graphs import ScaleGraphs, content_of
from training.scales.statistics.alignment import alignments
from training.scales.statistics.correlation import correlation_length
from training.scales.statistics.units import UnitUse, unit_use

# Centres along the shorter side of a map, and of the grid that stages are compared on.
_MAP_CENTRES = 40
_COMMON_CENTRES = 32


@dataclass(frozen=True)
class Grid:
    """Centres in rows and columns, `stride_px` apart, the first half a window from the frame's corner."""

    centres_px: Array
    rows: int
    columns: int
    stride_px: float
    window_px: float

    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top for imshow: each value covers one stride about its centre."""
        first, half = self.window_px / 2, self.stride_px / 2
        return (
            first - half,
            first + (self.columns - 1) * self.stride_px + half,
            first + (self.rows - 1) * self.stride_px + half,
            first - half,
        )

    def laid(self, values: Array) -> Array:
        """Values (n, ...) as (rows, columns, ...)."""
        return values.reshape(self.rows, self.columns, *values.shape[1:])


@dataclass(frozen=True)
class Stage:
    """One stage over the frame.

    Attributes:
        window_px: its own length, pixels of the frame.
        grid: where.
        encoded: (n, ...) by the names of the graph's outputs, NaN where a window touches a pixel that was not measured.
        content: (n, L) without pose; angles as points.
        names: of the latents on lines that units and lengths are told of, (m,).
        units: of the same.
        length_px: ξ of each, (m,), pixels of the frame; NaN where it is not found.
        explained: (n,) fraction 1 − MSE/Var of each window.
    """

    window_px: float
    grid: Grid
    encoded: dict[str, Array]
    content: Array
    names: tuple[str, ...]
    units: UnitUse
    length_px: Array
    explained: Array


def grid_over(shape: tuple[int, ...], window_px: float, most: int) -> Grid:
    """A grid of centres whose windows lie in a frame (h, w[, c]), at most `most` along its shorter side and no nearer than a pixel."""
    stride = max(1.0, (min(shape[:2]) - window_px) / (most - 1))
    rows, columns = (len(grid_axis(side, window_px, stride)) for side in shape[:2])
    return Grid(grid_centres(shape, window_px, stride), rows, columns, stride, window_px)


def stages_over(scales: ScaleGraphs) -> tuple[Stage, ...]:
    """Every stage, at windows of its own length."""
    return tuple(_stage(scales, index, window) for index, window in enumerate(scales.windows_px))


def compared(scales: ScaleGraphs) -> tuple[Array, tuple[Array, ...]]:
    """Common centres (n, 2), which allow the longest window, and each stage's content (n, L) there at its own window.

    Centres where any stage's window touches a pixel that was not measured are left out.
    """
    grid = grid_over(scales.frame.values.shape, scales.windows_px[-1], _COMMON_CENTRES)
    circles = circles_of(scales)
    found = [content_of(scales.encode(index, grid.centres_px, window), circles) for index, window in enumerate(scales.windows_px)]
    whole = np.all([np.isfinite(each).all(axis=1) for each in found], axis=0)
    return grid.centres_px[whole], tuple(each[whole] for each in found)


def alignment_of(scales: ScaleGraphs) -> tuple[Array, Array]:
    """Mean canonical correlation and Procrustes residual (K, K) of every two stages on common centres."""
    return alignments(compared(scales)[1])


def circles_of(scales: ScaleGraphs) -> tuple[int, ...]:
    """Which content latents are angles."""
    latent = scales.graphs.latent
    return tuple(index for index in range(latent.content_size) if latent.on_circle(index))


def _stage(scales: ScaleGraphs, index: int, window_px: float) -> Stage:
    grid = grid_over(scales.frame.values.shape, window_px, _MAP_CENTRES)
    encoded = scales.encode(index, grid.centres_px, window_px)
    mean, sd, names = _units(scales, encoded)
    whole = np.isfinite(mean).all(axis=1)
    lengths = [correlation_length(grid.laid(column), grid.stride_px).length_px if min(grid.rows, grid.columns) > 1 else math.nan for column in mean.T]
    content = content_of(encoded, circles_of(scales))
    explained = scales.explain(index, grid.centres_px, window_px)
    return Stage(window_px, grid, encoded, content, names, unit_use(mean[whole], sd[whole]), np.array(lengths), explained)


def _units(scales: ScaleGraphs, encoded: dict[str, Array]) -> tuple[Array, Array, tuple[str, ...]]:
    """Means and standard deviations (n, m) of the latents whose prior is N(0, 1), and their names."""
    latent = scales.graphs.latent
    if not latent.content_size:
        return encoded["latent_mean"], encoded["latent_sd"], latent.latent_names
    lines = [index for index in range(latent.content_size) if not latent.on_circle(index)]
    return encoded["content"][:, lines], encoded["content_sd"][:, lines], tuple(f"content {index + 1}" for index in lines)
