"""How well images come back: inputs beside reconstructions, and the distribution of errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import CenteredNorm

from training.data.dataset import Array
from training.report.canvas import COLOURS, DIFFERENCE, INTENSITY, bare, channel, figure, model_name, save, unit_label
from training.report.graphs import LatentGraphs
from training.report.subjects import Subjects, in_unit

# From the best image to the worst; most images lie between the second and the fifth.
_SHOWN = (0.0, 0.1, 0.5, 0.75, 0.9, 0.97, 0.99, 1.0)


def draw_reconstructions(graphs: LatentGraphs, subjects: Subjects, answers: dict[str, Array], folder: Path) -> Path:
    """reconstructions.png: eight images by the quantile of their error, what the model makes of them, and the difference."""
    order = np.argsort(answers["error"])
    rows = [int(order[round(q * (len(order) - 1))]) for q in _SHOWN]
    inputs = channel(in_unit(graphs, subjects.images[rows]), 0)
    outputs = channel(answers["reconstruction"][rows], 0)
    made = figure(1.5 * len(rows) + 1.4, 5.6, f"{model_name(graphs)}: reconstructions of {subjects.name}, from the best to the worst")
    grid = made.subplots(3, len(rows), squeeze=False)
    low, high = (float(end) for end in np.quantile(inputs, [0.005, 0.995]))
    for column, row in enumerate(rows):
        shown = bare(grid[0, column]).imshow(inputs[column], cmap=INTENSITY, vmin=low, vmax=high)
        bare(grid[1, column]).imshow(outputs[column], cmap=INTENSITY, vmin=low, vmax=high)
        off = bare(grid[2, column]).imshow(outputs[column] - inputs[column], cmap=DIFFERENCE, norm=CenteredNorm(halfrange=(high - low) / 2))
        grid[0, column].set_title(f"error {answers['error'][row]:.2g}\n(quantile {_SHOWN[column]:g})", fontsize=8)
    for line, name in enumerate(("input", "reconstruction", "difference")):
        grid[line, 0].set_ylabel(name)
    unit = graphs.preprocessing.unit
    made.colorbar(shown, ax=grid[:2].ravel().tolist(), label=unit_label(unit, "pixel value"), shrink=0.8)
    made.colorbar(off, ax=grid[2].ravel().tolist(), extend="both", label=unit_label(unit, "difference"), shrink=0.9)
    return save(made, folder / "reconstructions.png")


def draw_errors(graphs: LatentGraphs, subjects: Subjects, error: Array, folder: Path) -> Path:
    """errors.png: histogram of the error with the bundle's novelty threshold, where it has one."""
    made = figure(6.4, 3.8, f"{model_name(graphs)}: reconstruction error of {subjects.name}")
    axes = made.add_subplot()
    # Errors span decades; an error of exactly zero (a constant image) would have no place on the axis.
    positive = np.maximum(error.astype(np.float64), 1e-12)
    axes.hist(positive, bins=np.geomspace(positive.min() * 0.98, positive.max() * 1.02, 50).tolist(), color=COLOURS[0], label=f"{len(error)} images")
    threshold, rate = graphs.latent.novelty_threshold, graphs.latent.novelty_false_alarm_rate
    if threshold is not None and rate is not None:
        share = float(np.mean(error > threshold))
        label = f"threshold {threshold:.3g}: {share:.1%} of these lie above,\n{rate:.1%} of the held-out images did"
        axes.axvline(threshold, color=COLOURS[1], linestyle="--", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("error: mean squared difference, input range scaled to 1 (unit 1)")
    axes.set_ylabel("images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))
    return save(made, folder / "errors.png")
