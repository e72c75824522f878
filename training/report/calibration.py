"""Whether a mechanism model's uncertainty is what it says, and how far its predictions are from what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binom, norm

from dichroic.bundle.mechanism_section import Noise
from training.data.dataset import Array
from training.report.canvas import COLOURS, figure, minus, save, unit_label
from training.report.mechanism_graphs import MechanismGraphs
from training.report.settings import with_unit

LEVELS = np.linspace(0.02, 0.98, 49)
_BINS = 20
_BISECTIONS = 60
_MOST_BARS = 600


def coverage(rank: Array, levels: Array = LEVELS) -> Array:
    """Share of ranks (n,) inside the central interval of each level (m,): (m,)."""
    return np.asarray((2 * np.abs(rank[:, None] - 0.5) <= levels).mean(axis=0))


def quantile(mean: Array, variance: Array, noise: Noise, probability: float) -> Array:
    """Of y (n,), its noise and outliers included, by bisection: of a mixture of two normals there is no formula."""
    kinds = [(1 - noise.outlier_share, np.sqrt(variance + noise.variance))]
    if noise.outlier_variance is not None:
        kinds.append((noise.outlier_share, np.sqrt(variance + noise.outlier_variance)))
    widest = 10 * kinds[-1][1]
    low, high = mean - widest, mean + widest
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = sum(share * norm.cdf(middle, mean, sd) for share, sd in kinds) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def draw_calibration(graphs: MechanismGraphs, folder: Path) -> list[Path]:
    """calibration.png: observed against nominal coverage, and the histogram of ranks; nothing without held-out points."""
    if not graphs.held_out:
        return []
    rank = graphs.held_out["rank"]
    told = graphs.manifest.calibration.interval_coverage
    split = "" if told is None else f": {told.split}"
    made = figure(8.4, 4.1, f"{graphs.name}: calibration on held-out points{split}")
    left, right = made.subplots(1, 2)
    _coverage(left, rank)
    _ranks(right, rank)
    return [save(made, folder / "calibration.png")]


def _coverage(axes: Axes, rank: Array) -> None:
    count = len(rank)
    low, high = (binom.ppf(end, count, LEVELS) / count for end in (0.025, 0.975))
    axes.fill_between(LEVELS, low, high, color="0.85", linewidth=0, label=f"chance, 95 % of sets of {count}")
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
    axes.plot(LEVELS, coverage(rank), color=COLOURS[1], label="this model")
    ninety = float(coverage(rank, np.array([0.9]))[0])
    axes.plot([0.9], [ninety], "o", color=COLOURS[1], markersize=5)
    axes.set_title(f"the 90 % interval of y holds {ninety:.1%}", fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_box_aspect(1)
    axes.set_xlabel("nominal probability of the central interval")
    axes.set_ylabel("share of measurements inside")
    axes.legend(fontsize=8, loc="upper left")


def _ranks(axes: Axes, rank: Array) -> None:
    count = len(rank)
    heights, edges = np.histogram(rank, bins=_BINS, range=(0, 1))
    low, high = (binom.ppf(end, count, 1 / _BINS) / count * _BINS for end in (0.025, 0.975))
    axes.axhspan(low, high, color="0.85", linewidth=0, label="chance, 95 % of bins")
    axes.stairs(heights / count * _BINS, edges, fill=True, color=COLOURS[0], alpha=0.75)
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_title("level: calibrated; heaped at the ends: too sure;\nheaped in the middle: not sure enough", fontsize=8)
    axes.set_box_aspect(1)
    axes.set_xlabel("probability of a measurement no greater than y (PIT)")
    axes.set_ylabel("density")
    axes.set_ylim(0, 1.25 * max(1.0, high, float(heights.max()) / count * _BINS))
    axes.legend(fontsize=8, loc="upper left")


def draw_predicted(graphs: MechanismGraphs, folder: Path) -> list[Path]:
    """predicted.png: predicted against measured y of held-out points, with the 90 % interval of a measurement; nothing without them."""
    held, quantity, noise = graphs.held_out, graphs.section.quantity, graphs.section.noise
    if not held:
        return []
    y, mean = held["y"], held["total_mean"]
    low, high = (quantile(mean, held["total_variance"], noise, end) for end in (0.05, 0.95))
    made = figure(5.4, 5.4, f"{graphs.name}: {quantity.name} of held-out points")
    axes = made.add_subplot()
    some = slice(0, _MOST_BARS)
    bars = np.stack((mean - low, high - mean))[:, some]
    axes.errorbar(y[some], mean[some], yerr=bars, fmt="none", ecolor="#0072B230", elinewidth=0.8)
    axes.plot(y, mean, ".", color=COLOURS[0], markersize=4)
    ends = [float(min(y.min(), mean.min())), float(max(y.max(), mean.max()))]
    axes.plot(ends, ends, color=COLOURS[1], linewidth=1.0)
    error = y - mean
    r2 = 1 - np.sum(error**2) / np.sum((y - y.mean()) ** 2)
    told = f"RMSE {with_unit(float(np.sqrt(np.mean(error**2))), quantity.unit)}, noise included; R² {minus(f'{r2:.3f}')}; {len(y)} points"
    axes.set_title(told, fontsize=9)
    axes.set_box_aspect(1)
    axes.set_xlabel(unit_label(quantity.unit, "measured"))
    axes.set_ylabel(unit_label(quantity.unit, "predicted, 90 % interval of a measurement"))
    return [save(made, folder / "predicted.png")]
