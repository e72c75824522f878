"""The scale spectrum of chosen points: latents and explained fraction against window length, each window by the stage nearest to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.data.dataset import Array
from training.report.canvas import COLOURS, MARKERS, MEASURED, draw_grey, figure, model_name, save, unit_label
from training.report.scale_graphs import ScaleGraphs, content_of
from training.report.scale_stages import Stage, circles_of, compared
from training.report.scale_statistics import length_axis

_POINTS = 5
_LENGTHS = 16
_LATENTS = 3
# Of the frame's shorter side, so that no marker hides another.
_APART = 0.1


@dataclass(frozen=True)
class Spectrum:
    """Of p points over k window lengths.

    Attributes:
        points_px: (p, 2) row and column.
        windows_px: (k,) ascending.
        stage: (k,) int64, which stage looked, 0, 1, …
        latents: (k, p, L) content; NaN where a window touches a pixel that was not measured.
        explained: (k, p).
    """

    points_px: Array
    windows_px: Array
    stage: Array
    latents: Array
    explained: Array


def spectrum_at(scales: ScaleGraphs, points_px: Array) -> Spectrum:
    """Latents and explained fraction of windows between the shortest and the longest stage's, evenly in log length, about each point.

    Args:
        scales: the bundle over a frame.
        points_px: (p, 2), half the longest window or more from every border.
    """
    windows = np.geomspace(scales.windows_px[0], scales.windows_px[-1], _LENGTHS)
    stage = np.array([scales.nearest_stage(float(window)) for window in windows])
    circles = circles_of(scales)
    asked = [(int(each), points_px, float(window)) for each, window in zip(stage, windows, strict=True)]
    latents = np.stack([content_of(scales.encode(*each), circles) for each in asked])
    return Spectrum(points_px, windows, stage, latents, np.stack([scales.explain(*each) for each in asked]))


def differing_points(scales: ScaleGraphs, count: int = _POINTS) -> Array:
    """Points (count, 2) that the stages see most differently: the first the farthest from the mean of all, each next the farthest from those taken.

    Distance is that of all stages' contents together, each column over its own spread. In the frame points keep a tenth of its side apart.
    """
    centres, found = compared(scales)
    together = np.concatenate(found, axis=1)
    spread = together.std(axis=0)
    scaled = (together - together.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Single odd windows lie farthest of all; points are to be typical of what differs.
    usual = np.linalg.norm(scaled, axis=1) <= np.quantile(np.linalg.norm(scaled, axis=1), 0.95)
    centres, scaled = centres[usual], scaled[usual]
    chosen = [int(np.linalg.norm(scaled, axis=1).argmax())]
    while len(chosen) < count:
        away = np.min([np.linalg.norm(centres - centres[index], axis=1) for index in chosen], axis=0) >= _APART * scales.frame.side_px
        if not away.any():
            break
        nearest = np.min([np.linalg.norm(scaled - scaled[index], axis=1) for index in chosen], axis=0)
        chosen.append(int(np.where(away, nearest, -1.0).argmax()))
    return centres[chosen]


def draw_scale_spectrum(scales: ScaleGraphs, stages: tuple[Stage, ...], folder: Path) -> Path:
    """scale_spectrum.png: where the points lie, and for each its explained fraction and the latents that vary most."""
    found = spectrum_at(scales, differing_points(scales))
    size = found.latents.shape[2]
    spread = np.mean([np.nanvar(stage.content, axis=0) for stage in stages], axis=0)
    shown = sorted(int(index) for index in np.argsort(-spread, kind="stable")[:_LATENTS])
    title = (
        f"{model_name(scales.graphs)}: scale spectrum of {len(found.points_px)} points of {scales.frame.name}, each window by the stage nearest to it"
    )
    made = figure(12, 6.6, title)
    spaces = made.add_gridspec(2, 3, width_ratios=(1.15, 1, 1))
    _draw_points(made, made.add_subplot(spaces[:, 0]), scales, found)
    panels = [made.add_subplot(spaces[index // 2, 1 + index % 2]) for index in range(1 + len(shown))]
    _draw_curves(panels[0], scales, found, found.explained, "explained fraction", "fraction (unit 1)")
    panels[0].set_ylim(max(-0.5, min(0.0, float(np.nanmin(found.explained)))), 1.02)
    for axes, index in zip(panels[1:], shown, strict=True):
        _draw_curves(axes, scales, found, found.latents[:, :, index], _latent_name(scales, index), "mean (unit 1)")
    if size > len(shown):
        rest = size - len(shown)
        told = "1 further latent varies less" if rest == 1 else f"{rest} further latents vary less"
        panels[-1].annotate(told, (1, 1), xycoords="axes fraction", fontsize=7, ha="right", va="bottom")
        panels[-1].set_title(panels[-1].get_title(), loc="left")
        panels[-1].set_title("")
    return save(made, folder / "scale_spectrum.png")


def _draw_points(made: Figure, axes: Axes, scales: ScaleGraphs, found: Spectrum) -> None:
    shown = draw_grey(axes, scales.frame.grey)
    made.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label=unit_label(scales.graphs.preprocessing.unit))
    for number, (row, column) in enumerate(found.points_px):
        axes.plot(column, row, MARKERS[number], color=COLOURS[number], markersize=9, markeredgecolor="white", markeredgewidth=1.2)
    axes.set_title("the points")
    axes.set_xlabel("column (px)")
    axes.set_ylabel("row (px)")


def _draw_curves(axes: Axes, scales: ScaleGraphs, found: Spectrum, values: Array, title: str, label: str) -> None:  # noqa: PLR0917
    """Values (k, p), broken and dotted off where the next stage takes over: another stage's latents need not mean the same."""
    windows = scales.frame.drawn(found.windows_px)
    changes = np.flatnonzero(np.diff(found.stage)) + 1
    for change in changes:
        axes.axvline(float(np.sqrt(windows[change - 1] * windows[change])), color=MEASURED, linewidth=0.8, linestyle=":")
    for part in np.split(np.arange(len(windows)), changes):
        for number in range(values.shape[1]):
            axes.plot(windows[part], values[part, number], marker=MARKERS[number], color=COLOURS[number], markersize=3.5, linewidth=1.1)
    length_axis(axes, scales.frame.drawn(np.array(scales.windows_px)), scales.frame.unit)
    axes.set_title(title)
    axes.set_ylabel(label)


def _latent_name(scales: ScaleGraphs, index: int) -> str:
    circles = circles_of(scales)
    lines = [each for each in range(scales.graphs.latent.content_size) if each not in circles]
    if not scales.graphs.latent.content_size:
        return scales.graphs.latent.latent_names[index]
    if index < len(lines):
        return f"content latent {lines[index] + 1}"
    turned = index - len(lines)
    part = "cosine" if turned < len(circles) else "sine"
    return f"{part} of content latent {circles[turned % len(circles)] + 1}"
