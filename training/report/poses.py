"""Reported poses: against the truth where images were drawn, as distributions where they were not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.projections.polar import PolarAxes

from training.data.dataset import Array
from training.latent.pose_metrics import centre_in_frame
from training.report.angles import angle_title, ends_deg, wrapped_rad
from training.report.canvas import ANGLE, COLOURS, MARKERS, figure, model_name, save
from training.report.graphs import LatentGraphs
from training.report.subjects import Subjects

# Of a spectrum, which has one shift, and a width.
_OF_SPECTRA = {"scale": "width (ratio)", "shift_right_px": "shift towards higher points (points)"}
_LABELS = {
    "angle_rad": "angle, counter-clockwise (°)",
    "scale": "scale (ratio)",
    "shift_down_px": "shift down (px)",
    "shift_right_px": "shift right (px)",
}


def draw_poses(graphs: LatentGraphs, subjects: Subjects, encoded: dict[str, Array], folder: Path) -> list[Path]:
    """poses.png; nothing for a model that reports no pose."""
    names = [name for name in _LABELS if name in encoded]
    if not names:
        return []
    if subjects.truth is None or subjects.labels is None or graphs.latent.output_kind == "spectra":
        return [_distributions(graphs, subjects, encoded, names, folder)]
    made = figure(3.6 * len(names) + 0.4, 4.4, f"{model_name(graphs)}: reported and true pose of {subjects.name}{subjects.at_own_conditions}")
    for number, name in enumerate(names):
        axes = made.add_subplot(1, len(names), number + 1)
        for label, suit in enumerate(subjects.classes):
            rows = np.flatnonzero(subjects.labels == label)
            if rows.size:
                _scatter(axes, graphs, subjects, encoded, name, label, suit, rows)
        low, high = axes.get_xlim()
        if np.ptp(subjects.truth[name]) > 0:
            axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        else:
            axes.set_title("the truth does not vary", fontsize=8)
            axes.set_xticks([float(subjects.truth[name][0])])
        axes.set_xlim(low, high)
        axes.set_box_aspect(1)
        axes.set_xlabel(f"true {_LABELS[name]}")
        axes.set_ylabel(f"reported {_LABELS[name]},\nits class's offset taken out")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=7, handletextpad=0.2)
    return [save(made, folder / "poses.png")]


def class_angles(reported_rad: Array, truth_rad: Array, order: int) -> tuple[Array, float, float]:
    """Reported angles of one class on the truth's branch, degrees; the offset taken out; and the median |error| left, degrees.

    The zero of a class's angle is the model's own choice, so one offset (the median after the circular mean) is taken out; a turn by
    360°/order cannot be seen, so it is no error.
    """
    difference = order * (np.asarray(reported_rad, np.float64) - truth_rad)
    mean = np.angle(np.exp(1j * difference).mean())
    offset = mean + np.median(np.angle(np.exp(1j * (difference - mean))))
    error = np.degrees(np.angle(np.exp(1j * (difference - offset)))) / order
    return np.degrees(truth_rad) + error, float(np.degrees(np.angle(np.exp(1j * offset))) / order), float(np.median(np.abs(error)))


def _scatter(  # noqa: PLR0917 - what a cloud of points needs
    axes: Axes, graphs: LatentGraphs, subjects: Subjects, encoded: dict[str, Array], name: str, label: int, suit: str, rows: Array
) -> None:
    truth = cast(dict[str, Array], subjects.truth)
    x, y = truth[name][rows], encoded[name][rows].astype(np.float64)
    if name == "angle_rad":
        # The model may not tell what the object would show.
        order = math.lcm(subjects.symmetry_order[label], graphs.latent.angle_symmetry)
        y, offset, error = class_angles(y, x, order)
        x, note = np.degrees(x), f"median error {error:.1f}° after its offset of {round(offset)}°"
    elif name == "scale":
        factor = float(np.exp(np.median(np.log(y) - np.log(x))))
        y, note = y / factor, f"after its factor of {factor:.2f}"
    else:
        y, note = y - _centre(encoded, truth, rows)[name], "after its own centre"
        note = f"median error {np.median(np.abs(y - x)):.2f} px {note}"
    axes.scatter(x, y, s=9, alpha=0.6, linewidths=0, color=COLOURS[label % 7], marker=MARKERS[label % 7], label=f"{suit}: {note}")


def _centre(encoded: dict[str, Array], truth: dict[str, Array], rows: Array) -> dict[str, Array]:
    """Where a class's canonical picture is off centre, as shifts in the image: one vector in the object's frame, turned with each object."""
    down, right = (encoded[name][rows] - truth[name][rows] for name in ("shift_down_px", "shift_right_px"))
    angle, scale = truth["angle_rad"][rows], truth["scale"][rows]
    own = np.median(centre_in_frame(down, right, angle, scale), axis=0)
    cos, sin = np.cos(angle), np.sin(angle)
    return {"shift_right_px": scale * (cos * own[0] - sin * own[1]), "shift_down_px": -scale * (sin * own[0] + cos * own[1])}


def _distributions(graphs: LatentGraphs, subjects: Subjects, encoded: dict[str, Array], names: list[str], folder: Path) -> Path:
    spectra = graphs.latent.output_kind == "spectra"
    made = figure(
        3.4 * len(names) + 0.4, 3.6, f"{model_name(graphs)}: reported poses, {len(subjects.values)} rows: {subjects.name}{subjects.at_own_conditions}"
    )
    for number, name in enumerate(names):
        if name == "angle_rad":
            axes = made.add_subplot(1, len(names), number + 1, projection="polar")
            _rose(cast(PolarAxes, axes), encoded[name], graphs.latent.angle_symmetry)
            continue
        axes = made.add_subplot(1, len(names), number + 1)
        axes.hist(encoded[name], bins=40, color=COLOURS[0])
        axes.set_xlabel((_OF_SPECTRA if spectra else _LABELS)[name])
        axes.set_ylabel(graphs.latent.input_kind)
        axes.yaxis.get_major_locator().set_params(integer=True)
    return save(made, folder / "poses.png")


def _rose(axes: PolarAxes, angle_rad: Array, turns: int) -> None:
    """Histogram of angles over the part of the circle that can be told apart; the area, not the radius, shows the count."""
    ends = np.radians(ends_deg(turns))
    counts, edges = np.histogram(wrapped_rad(angle_rad, turns), bins=36, range=(ends[0], ends[1]))
    middle = (edges[:-1] + edges[1:]) / 2
    axes.bar(middle, np.sqrt(counts), width=np.diff(edges), color=colormaps[ANGLE]((middle - ends[0]) / (ends[1] - ends[0])))
    if turns > 1:
        axes.set_thetalim(ends[0], ends[1])
    axes.set_yticklabels([])
    axes.set_title(f"{angle_title(turns)}\n(° counter-clockwise)")
