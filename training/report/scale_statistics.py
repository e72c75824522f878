"""Statistics against window length: how much each latent is used, what is explained, over which distance a map stays like itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from training.data.dataset import Array
from training.report.canvas import COLOURS, MARKERS, MEASURED, figure, model_name, save
from training.report.scale_graphs import Frame, ScaleGraphs
from training.report.scale_stages import Stage
from training.scales.statistics.units import ACTIVE_ABOVE


def draw_scale_statistics(scales: ScaleGraphs, stages: tuple[Stage, ...], folder: Path) -> Path:
    """scale_statistics.png: V_j, A_j, KL_j, ξ_j of each latent, active units and explained fraction, against the stages' window lengths."""
    frame = scales.frame
    windows = frame.drawn(np.array([stage.window_px for stage in stages]))
    made = figure(11, 6.9, f"{model_name(scales.graphs)}: each stage over {frame.name}, at windows of its own length")
    free = made.subplots(2, 3)
    variance = np.stack([stage.units.variance for stage in stages])
    shown = most_used(variance)
    names = stages[0].names
    _draw_units(free[0, 0], windows, variance, shown, names)
    free[0, 0].axhline(ACTIVE_ABOVE, color=MEASURED, linewidth=0.8, linestyle=":")
    free[0, 0].set_yscale("log")
    free[0, 0].set_title("variance of the means $V_j$ (dotted: active above)")
    free[0, 0].set_ylabel("variance (unit 1)")
    _draw_units(free[0, 1], windows, np.stack([stage.units.uncertainty for stage in stages]), shown, names)
    _logarithmic(free[0, 1])
    free[0, 1].set_title("mean posterior variance $A_j$ (prior: 1)")
    free[0, 1].set_ylabel("variance (unit 1)")
    _draw_units(free[0, 2], windows, np.stack([stage.units.divergence_nats for stage in stages]), shown, names)
    free[0, 2].set_title("divergence from the prior $KL_j$")
    free[0, 2].set_ylabel("divergence (nats)")
    _draw_active(free[1, 0], windows, stages)
    _draw_explained(free[1, 1], windows, stages)
    _draw_lengths(free[1, 2], windows, frame, stages, shown)
    hidden = len(names) - len(shown)
    title = "latents" + (f" (not drawn: {hidden} that vary less)" if hidden else "")
    made.legend(*free[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shown), title=title, fontsize=9)
    for axes in free.flat:
        length_axis(axes, windows, frame.unit)
    return save(made, folder / "scale_statistics.png")


def most_used(variance: Array) -> list[int]:
    """The latents that are drawn, of V_j (K, m): as many as there are colours, those with the largest V_j at any stage, in their own order."""
    order = np.argsort(-variance.max(axis=0), kind="stable")[: len(COLOURS)]
    return sorted(int(index) for index in order)


def length_axis(axes: Axes, windows: Array, unit: str) -> None:
    """A logarithmic axis of window lengths, with the stages' own as ticks."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(window) for window in windows]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.set_xlabel(f"window length ({unit})")


def _draw_units(axes: Axes, windows: Array, values: Array, shown: list[int], names: tuple[str, ...]) -> None:
    for number, index in enumerate(shown):
        axes.plot(windows, values[:, index], marker=MARKERS[number], color=COLOURS[number], linewidth=1.2, markersize=5, label=names[index])


def _logarithmic(axes: Axes) -> None:
    """A logarithmic y axis over few decades, with 1, 2 and 5 as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if str(f"{value:.0e}")[0] in "25" else ""))


def _draw_active(axes: Axes, windows: Array, stages: tuple[Stage, ...]) -> None:
    counts = [stage.units.active_count for stage in stages]
    axes.plot(windows, counts, "o-", color=COLOURS[0], linewidth=1.2)
    axes.set_ylim(-0.2, len(stages[0].names) + 0.5)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"active units, of {len(stages[0].names)}")
    axes.set_ylabel("units")


def _draw_explained(axes: Axes, windows: Array, stages: tuple[Stage, ...]) -> None:
    low, middle, high = np.stack([np.nanquantile(stage.explained, [0.25, 0.5, 0.75]) for stage in stages], axis=1)
    axes.fill_between(windows, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="half of the windows")
    axes.plot(windows, middle, "o-", color=COLOURS[0], linewidth=1.2, label="median window")
    axes.set_ylim(min(0.0, float(low.min())), 1.02)
    axes.legend(fontsize=8)
    axes.set_title("explained fraction, 1 − MSE/Var of a window")
    axes.set_ylabel("fraction (unit 1)")


def _draw_lengths(axes: Axes, windows: Array, frame: Frame, stages: tuple[Stage, ...], shown: list[int]) -> None:
    # The map of a unit that is not active holds next to nothing: its length would be chance.
    active = np.stack([stage.units.active for stage in stages])
    lengths = np.where(active, frame.drawn(np.stack([stage.length_px for stage in stages])), np.nan)
    _draw_units(axes, windows, lengths, shown, stages[0].names)
    axes.plot(windows, windows, color=MEASURED, linewidth=0.8, linestyle=":")
    axes.annotate("as long as the window", (windows[-1], windows[-1]), fontsize=7, color="0.4", ha="right", va="bottom")
    _logarithmic(axes)
    axes.set_title("correlation length $ξ_j$ of active units")
    axes.set_ylabel(f"length ({frame.unit})")
