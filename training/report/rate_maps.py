"""Rates over the plane of the beam, hop by hop, and how sure they are; beside the truth where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Circle

from training.data.dataset import Array
from training.report.canvas import INTENSITY, figure, save
from training.report.transition_graphs import TransitionGraphs

_PIXELS = 121
# Of the trained radius: what lies beyond is shown too, so that a reader sees where a model guesses.
_EXTENT = 1.15
_DOPANT, _HOST = "#D55E00", "white"


def draw_rate_maps(graphs: TransitionGraphs, folder: Path) -> list[Path]:
    """rate_maps.png: the mean rate of each hop, and below it the true one where it is known."""
    beam, told = _plane(graphs)
    true = graphs.true_rates(beam)
    rows = [("model", told.mean(axis=1))] + ([] if true is None else [("truth", true)])
    highest = max(float(values.max()) for _, values in rows)
    made = figure(9.0, 0.8 + 2.75 * len(rows), f"{graphs.name}: rates of the three hops by where the beam stands, {graphs.setting}")
    panels = made.subplots(len(rows), 3, sharex=True, sharey=True, squeeze=False)
    for row, (what, values) in enumerate(rows):
        for hop in range(3):
            axes = panels[row, hop]
            image = _map(axes, graphs, values[:, hop], highest, marked=hop)
            axes.set_title(f"{what}: to neighbour {hop + 1}", fontsize=9)
            _labels(axes, bottom=row == len(rows) - 1, left=hop == 0)
    made.colorbar(image, ax=panels, label="rate (1/s)", shrink=0.9, pad=0.015)
    return [save(made, folder / "rate_maps.png")]


def draw_spread(graphs: TransitionGraphs, folder: Path) -> list[Path]:
    """spread.png: the total rate, its standard deviation over the members, and how far it is from the truth where that is known."""
    beam, told = _plane(graphs)
    total = told.sum(axis=2)
    mean, sd = total.mean(axis=1), total.std(axis=1)
    true = graphs.true_rates(beam)
    shown = [("total rate, mean", mean, float(mean.max())), ("its standard deviation", sd, 0.0)]
    if true is not None:
        shown.append(("its distance from the truth", np.abs(mean - true.sum(axis=1)), 0.0))
    # One scale for what should be alike, set by where it was trained: beyond, a model guesses.
    trained = np.linalg.norm(beam, axis=1) <= graphs.section.beam_radius_angstrom
    widest = max(float(values[trained].max()) for _, values, _ in shown[1:])
    made = figure(9.6 if true is not None else 6.6, 3.1, f"{graphs.name}: how sure the total rate is, {graphs.setting}")
    panels = made.subplots(1, len(shown), sharey=True)
    for index, (what, values, highest) in enumerate(shown):
        image = _map(panels[index], graphs, values, highest or widest)
        panels[index].set_title(what, fontsize=9)
        _labels(panels[index], bottom=True, left=index == 0)
        beyond = "max" if float(values.max()) > (highest or widest) else "neither"
        made.colorbar(image, ax=panels[index], label="1/s", extend=beyond, fraction=0.046, pad=0.02)
    return [save(made, folder / "spread.png")]


def _plane(graphs: TransitionGraphs) -> tuple[Array, Array]:
    """Beams (n, 2) Å over a square, and the members' rates there (n, M, 3)."""
    reach = _EXTENT * graphs.section.beam_radius_angstrom
    axis = np.linspace(-reach, reach, _PIXELS)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    beam = np.stack([x.ravel(), y.ravel()], axis=1)
    return beam, graphs.ask("rates", beam)["member_rates"]


def _map(axes: Axes, graphs: TransitionGraphs, values: Array, high: float, marked: int | None = None) -> AxesImage:
    reach, radius = _EXTENT * graphs.section.beam_radius_angstrom, graphs.section.beam_radius_angstrom
    shown = values.reshape(_PIXELS, _PIXELS)
    image = axes.imshow(shown, origin="lower", extent=(-reach, reach, -reach, reach), cmap=INTENSITY, vmin=0, vmax=high, interpolation="bilinear")
    for index, (x, y) in enumerate(graphs.neighbours):
        axes.plot([0, x], [0, y], color="white", linewidth=0.8, alpha=0.6)
        axes.plot([x], [y], "o", markersize=7 if index == marked else 5, markerfacecolor="0.25", markeredgecolor=_HOST, markeredgewidth=1.2)
    axes.plot([0], [0], "o", markersize=7, markerfacecolor=_DOPANT, markeredgecolor="white", markeredgewidth=1.0)
    axes.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", linewidth=0.9, edgecolor="white"))
    return image


def _labels(axes: Axes, *, bottom: bool, left: bool) -> None:
    if bottom:
        axes.set_xlabel("beam x (Å)")
    if left:
        axes.set_ylabel("beam y (Å)")
