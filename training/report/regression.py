"""Targets that the model tells, against the truth, and whether its standard deviations are as wide as its errors."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes

from dichroic.bundle import Target
from training.data.dataset import Array
from training.latent.target_metrics import COVERAGE, target_figures
from training.report.answers import Answers
from training.report.canvas import COLOURS, figure, minus, model_name, save, unit_label
from training.report.graphs import LatentGraphs
from training.report.settings import with_unit
from training.report.subjects import Subjects

# Of the central intervals whose coverage is drawn.
LEVELS = np.linspace(0.05, 0.95, 19)


def coverage(mean: Array, sd: Array, truth: Array, levels: Array = LEVELS) -> Array:
    """Share of truths (n,) within the central interval of N(mean, sd²) at each level (m,) in (0, 1); (m,)."""
    z = np.abs(truth - mean) / sd
    reach = np.array([NormalDist().inv_cdf(0.5 + level / 2) for level in levels])
    return np.asarray((z[:, None] <= reach).mean(axis=0))


def draw_regression(graphs: LatentGraphs, subjects: Subjects, answers: Answers, folder: Path) -> list[Path]:
    """regression.png: for each target predicted against true above, coverage against level below; nothing where the data has no targets."""
    if subjects.targets is None or answers.target_mean is None or answers.target_sd is None:
        return []
    columns = graphs.latent.targets
    made = figure(max(5.6, 3.8 * len(columns) + 0.4), 7.4, f"{model_name(graphs)}: targets of {subjects.name}, where their truth is known")
    grid = made.subplots(2, len(columns), squeeze=False, gridspec_kw={"height_ratios": [1.15, 1]})
    for index, column in enumerate(columns):
        truth = subjects.targets[:, index]
        known = np.isfinite(truth)
        above, below = grid[:, index]
        if not known.any():
            for axes in (above, below):
                axes.set_axis_off()
            above.set_title(f"{column.name}: no row has a known value", fontsize=9)
            continue
        mean, sd = (array[known, index].astype(np.float64) for array in (answers.target_mean, answers.target_sd))
        _scatter(above, column, (mean, sd), truth[known])
        _calibration(below, (mean, sd), truth[known])
        above.set_title(f"{_title(column, (mean, sd), truth[known])}{_held_out(graphs, column)}", fontsize=8)
    return [save(made, folder / "regression.png")]


def _scatter(axes: Axes, column: Target, predicted: tuple[Array, Array], truth: Array) -> None:
    mean, sd = predicted
    axes.errorbar(truth, mean, yerr=sd, fmt="o", markersize=3, color=COLOURS[0], ecolor="#0072B250", elinewidth=0.8, linestyle="none")
    ends = [float(min(truth.min(), mean.min())), float(max(truth.max(), mean.max()))]
    axes.plot(ends, ends, color="0.5", linewidth=0.8, zorder=0)
    axes.set_box_aspect(1)
    axes.set_xlabel(unit_label(column.unit, f"true {column.name}"))
    axes.set_ylabel(unit_label(column.unit, f"predicted {column.name}, ± 1 sd"))


def _title(column: Target, predicted: tuple[Array, Array], truth: Array) -> str:
    found = target_figures(*predicted, truth)
    r2 = minus(f"R² {found.r2:.3f}") if np.isfinite(found.r2) else "R² not defined, the truth does not vary"
    return f"{column.name}: {r2},\nRMSE {with_unit(found.rmse, column.unit)}, {len(truth)} rows"


def _calibration(axes: Axes, predicted: tuple[Array, Array], truth: Array) -> None:
    mean, sd = predicted
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
    axes.plot(LEVELS, coverage(mean, sd, truth), "o-", markersize=3, color=COLOURS[1])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_box_aspect(1)
    axes.set_xlabel("predicted central interval (probability)")
    axes.set_ylabel("share of truths within it")
    spread = float(np.sqrt(np.mean(np.square((truth - mean) / sd))))
    within = target_figures(mean, sd, truth).coverage
    axes.set_title(f"{COVERAGE:.0%} interval holds {within:.0%};\nerrors are {spread:.2f} predicted sd, root mean square (1 is right)", fontsize=8)


def _held_out(graphs: LatentGraphs, column: Target) -> str:
    """What the bundle says of held-out rows, as a line of a title; empty where it says nothing."""
    known = {metric.name: metric.value for metric in graphs.manifest.metrics}
    r2, share = known.get(f"target_r2_{column.name}"), known.get(f"target_coverage_90_{column.name}")
    told = [*([minus(f"R² {r2:.3f}")] if r2 is not None else []), *([f"90% interval holds {share:.0%}"] if share is not None else [])]
    return f"\nheld out at the fit: {', '.join(told)}" if told else ""
