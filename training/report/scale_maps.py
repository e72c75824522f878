"""Latent maps per scale: a row for each stage, over the same frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from training.data.dataset import Array
from training.report.angles import angle_title, ends_deg, ticks_deg, wrapped_rad
from training.report.canvas import ANGLE, COLOURS, INTENSITY, draw_grey, figure, model_name, save, unit_label
from training.report.scale_graphs import Frame, ScaleGraphs
from training.report.scale_stages import Stage

_SHARE = (0.02, 0.98)


def draw_scale_maps(scales: ScaleGraphs, stages: tuple[Stage, ...], folder: Path) -> Path:
    """scale_maps.png: for each stage the frame with one of its windows, its latents' principal components, the explained fraction, and the angle."""
    angled = all("angle_rad" in stage.encoded for stage in stages)
    columns = 5 + angled
    turns = scales.graphs.latent.angle_symmetry
    lengths = ", ".join(scales.frame.told(stage.window_px) for stage in stages)
    many = "windows of" if len(stages) > 1 else "a window of"
    made = figure(2.9 * columns, 2.5 * len(stages) + 0.7, f"{model_name(scales.graphs)}: latent maps over {scales.frame.name}, {many} {lengths}")
    free = made.subplots(len(stages), columns, squeeze=False)
    for row, stage in zip(free, stages, strict=True):
        _draw_frame(made, row[0], scales, stage)
        components, shares = principal_maps(stage.content)
        _draw_rgb(row[1], stage, components, shares)
        for number in (0, 1):
            _draw_component(made, row[2 + number], stage, components, shares, number)
        # Of windows that are nearly constant the fraction falls far below 0, which would leave one shade for all others.
        _map(made, row[4], stage, stage.explained, (0.0, 1.0), "fraction (unit 1)", "magma")
        row[4].set_title("explained fraction")
        if angled:
            degrees = np.degrees(wrapped_rad(stage.encoded["angle_rad"], turns))
            _map(made, row[5], stage, degrees, ends_deg(turns), "° counter-clockwise", ANGLE, ticks_deg(turns))
            row[5].set_title(angle_title(turns))
        for axes in row:
            _window_axes(axes, scales.frame)
    for axes in free[-1]:
        axes.set_xlabel("column (px)")
    return save(made, folder / "scale_maps.png")


def principal_maps(content: Array) -> tuple[Array, Array]:
    """Principal components of a stage's latents: scores (n, 3), 0 where there are fewer, NaN where not known, and shares of variance (3,).

    The sign, which a principal component does not have, makes each one's largest loading positive.
    """
    whole = np.isfinite(content).all(axis=1)
    scores, shares = np.zeros((len(content), 3)), np.zeros(3)
    scores[~whole] = np.nan
    known = content[whole]
    centred = known - known.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    count = min(3, len(singular))
    signs = np.sign(right[np.arange(count), np.abs(right[:count]).argmax(axis=1)])
    scores[whole, :count] = left[:, :count] * singular[:count] * signs
    total = float((singular**2).sum())
    shares[:count] = singular[:count] ** 2 / total if total > 0 else 0.0
    return scores, shares


def _draw_frame(made: Figure, axes: Axes, scales: ScaleGraphs, stage: Stage) -> None:
    """The frame in grey, and in its middle one window of the stage."""
    grey = scales.frame.grey
    shown = draw_grey(axes, grey)
    made.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label=unit_label(scales.graphs.preprocessing.unit))
    corner = ((grey.shape[1] - stage.window_px) / 2, (grey.shape[0] - stage.window_px) / 2)
    axes.add_patch(Rectangle(corner, stage.window_px, stage.window_px, fill=False, edgecolor=COLOURS[1], linewidth=1.4))
    axes.set_title(f"window {scales.frame.told(stage.window_px)}", color=COLOURS[1])
    axes.set_ylabel("row (px)")


def _draw_rgb(axes: Axes, stage: Stage, components: Array, shares: Array) -> None:
    low, high = np.nanquantile(components, _SHARE, axis=0)
    scaled = np.clip((components - low) / np.where(high > low, high - low, 1.0), 0, 1)
    opaque = np.isfinite(scaled).all(axis=1, keepdims=True)
    picture = np.concatenate([np.nan_to_num(scaled), opaque], axis=1)
    axes.imshow(stage.grid.laid(picture), extent=stage.grid.extent(), interpolation="nearest")
    axes.set_title(f"red, green, blue: components\n1 to 3 ({', '.join(f'{100 * share:.0f}' for share in shares)} % of variance)", fontsize=8)


def _draw_component(made: Figure, axes: Axes, stage: Stage, components: Array, shares: Array, number: int) -> None:  # noqa: PLR0917
    values = components[:, number]
    low, high = (float(each) for each in np.nanquantile(values, _SHARE))
    _map(made, axes, stage, values, (low, high) if high > low else (low - 1, low + 1), "unit 1", INTENSITY)
    axes.set_title(f"component {number + 1} ({100 * shares[number]:.0f} %)")


def _map(  # noqa: PLR0917
    made: Figure, axes: Axes, stage: Stage, values: Array, ends: tuple[float, float], label: str, colours: str, ticks: list[float] | None = None
) -> None:
    shown = axes.imshow(stage.grid.laid(values), cmap=colours, vmin=ends[0], vmax=ends[1], extent=stage.grid.extent(), interpolation="nearest")
    made.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label=label, ticks=ticks)


def _window_axes(axes: Axes, frame: Frame) -> None:
    """Every map in the frame's own axes: what no window reaches stays empty."""
    axes.set_xlim(0, frame.values.shape[1])
    axes.set_ylim(frame.values.shape[0], 0)
    axes.set_aspect("equal")
