"""Whether the stages say the same of the same places: a matrix of every two stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from training.data.dataset import Array
from training.report.canvas import INTENSITY, figure, model_name, save
from training.report.scale_graphs import ScaleGraphs


def draw_scale_alignment(scales: ScaleGraphs, alignment: tuple[Array, Array], folder: Path) -> Path:
    """scale_alignment.png: mean canonical correlation and Procrustes residual (K, K) of every two stages on common centres."""
    correlation, residual = alignment
    size = len(correlation)
    side = max(3.4, 0.75 * size + 1.4)
    title = f"{model_name(scales.graphs)}: stages compared on the same centres of {scales.frame.name}, each at windows of its own length"
    made = figure(2 * side + 1.2, side + 0.7, title)
    first, second = made.subplots(1, 2)
    labels = [scales.frame.told(window) for window in scales.windows_px]
    _matrix(first, correlation, labels, "mean canonical correlation of active directions\n(1: the same up to a linear map)")
    _matrix(second, residual, labels, "Procrustes residual\n(0: the same up to turning and scale)")
    made.colorbar(first.images[0], ax=[first, second], shrink=0.7, label="unit 1")
    return save(made, folder / "scale_alignment.png")


def _matrix(axes: Axes, values: Array, labels: list[str], title: str) -> None:
    axes.imshow(values, cmap=INTENSITY, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}" if np.isfinite(value) else "none active"
        axes.text(
            column, row, text, ha="center", va="center", color="black" if value > 0.55 else "white" if np.isfinite(value) else "0.3", fontsize=8
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("window of one stage")
    axes.set_ylabel("window of the other")
    axes.set_title(title, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
