"""What a decoder draws, many side by side in one axes: images as a mosaic, spectra as small curves in frames of one scale."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from training.data.dataset import Array
from training.report.canvas import COLOURS, INTENSITY, channel, mosaic, unit_label
from training.report.graphs import LatentGraphs
from training.report.settings import with_unit

# Of a frame's side, left free on each side of its curve.
_MARGIN = 0.08


def draw_tiles(axes: Axes, tiles: Array, low: float, high: float) -> tuple[Array, Array]:
    """Draws images (rows, columns, h, w) or spectra (rows, columns, l); all between `low` and `high`, NaN nowhere drawn.

    Returns:
        Where on the axes the columns' middles and the rows' middles lie.
    """
    rows, columns = tiles.shape[:2]
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if tiles.ndim == 4:
        height, width = tiles.shape[2:]
        axes.imshow(mosaic(tiles), cmap=INTENSITY, vmin=low, vmax=high, interpolation="nearest")
        return (width + 1) * np.arange(columns) + (width - 1) / 2, (height + 1) * np.arange(rows) + (height - 1) / 2
    points = np.linspace(_MARGIN, 1 - _MARGIN, tiles.shape[2])
    heights = 1 - _MARGIN - (1 - 2 * _MARGIN) * (tiles - low) / max(high - low, np.finfo(np.float64).tiny)
    places = [(row, column) for row in range(rows) for column in range(columns)]
    curves = [np.stack([column + points, row + heights[row, column]], axis=1) for row, column in places]
    axes.add_collection(LineCollection(curves, colors=COLOURS[0], linewidths=0.9))
    lines = [[(0, row), (columns, row)] for row in range(rows + 1)] + [[(column, 0), (column, rows)] for column in range(columns + 1)]
    axes.add_collection(LineCollection(lines, colors="0.85", linewidths=0.5, zorder=0))
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    return np.arange(columns) + 0.5, np.arange(rows) + 0.5


def tell_scale(made: Figure, axes: list[Axes], graphs: LatentGraphs, low: float, high: float) -> None:
    """The colour bar of tiles of images; for spectra what a frame's sides are, in words beneath."""
    if graphs.latent.output_kind == "images":
        made.colorbar(axes[0].images[0], ax=axes, label=unit_label(graphs.drawn_unit, "pixel value"), shrink=0.8)
        return
    ends = f"{with_unit(low, '1')} to {with_unit(high, graphs.drawn_unit)}"
    made.supxlabel(f"each frame: points 0 to {graphs.drawn.row_shape[0] - 1} to the right, {ends} upwards", fontsize=8)


def ends_of(tiles: list[Array]) -> tuple[float, float]:
    """The least and the greatest value of all tiles; NaN left out."""
    return min(float(np.nanmin(each)) for each in tiles), max(float(np.nanmax(each)) for each in tiles)


def first_channel(graphs: LatentGraphs, drawn: Array, index: int = 0) -> Array:
    """One channel of what was decoded, (n, h, w) or (n, l)."""
    return channel(drawn, index, graphs.latent.output_kind)


def channels_of(graphs: LatentGraphs) -> int:
    """How many channels the decoder draws."""
    shape = graphs.drawn.row_shape
    return shape[-1] if len(shape) == (3 if graphs.latent.output_kind == "images" else 2) else 1
