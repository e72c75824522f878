"""Labelled points of a frame against window length: from which length on their classes are told apart, and what is explained of each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from dichroic.separability import FEWEST_POINTS, SEPARABLE, fewest_points
from dichroic.separability import separation as told_apart
from training.data.dataset import Array
from training.data.plain_arrays import plain_arrays
from training.errors import InputError
from training.report.canvas import COLOURS, MARKERS, draw_grey, figure, model_name, save
from training.report.scale_graphs import Frame, ScaleGraphs, content_of
from training.report.scale_stages import circles_of
from training.report.scale_statistics import length_axis

_LENGTHS = 16


@dataclass(frozen=True)
class Points:
    """Labelled points of a frame.

    Attributes:
        centres_px: (n, 2) float64, row and column, pixels of the frame.
        labels: (n,) int64 index into `names`; −1 where not known.
        names: of the classes.
    """

    centres_px: Array
    labels: Array
    names: tuple[str, ...]


@dataclass(frozen=True)
class Separation:
    """Over k window lengths.

    Attributes:
        windows_px: (k,) ascending, pixels of the frame.
        accuracy: (k,) as `separability_of`.
        from_px: as `separable_from`; 0: there is none.
        explained: (k, n), NaN where a window touches a pixel that was not measured.
    """

    windows_px: Array
    accuracy: Array
    from_px: float
    explained: Array


def read_points(path: Path, labels: str, frame: Frame) -> Points:
    """Points and their classes from an .npz, as `dichroic spectrum` takes them.

    Args:
        path: with `centres_px` (n, 2) and the array that `labels` names, (n,): whole numbers, below 0 where not known, or words.
        labels: its name.
        frame: in which they lie.

    Raises:
        InputError: FILE_NOT_FOUND, UNREADABLE_FILE; POINTS: an array is missing or of another shape, a point lies outside, fewer than two classes.
    """
    arrays = plain_arrays(path)
    missing = sorted({"centres_px", labels} - arrays.keys())
    if missing:
        raise InputError("POINTS", f"{path} lacks {' and '.join(missing)}; it has {', '.join(sorted(arrays))}. --labels names the array of classes.")
    centres, given = np.asarray(arrays["centres_px"], np.float64), np.asarray(arrays[labels])
    if centres.ndim != 2 or centres.shape[1] != 2 or given.shape != (len(centres),):
        found = f"centres_px is {centres.shape} and {labels} {given.shape}"
        raise InputError("POINTS", f"{path}: {found}; expected (n, 2), row and column in pixels, and (n,), one class for each.")
    height, width = frame.values.shape[:2]
    outside = ~((centres > 0) & (centres < (height, width))).all(axis=1)  # also true for NaN
    if outside.any():
        row = int(outside.argmax())
        where = f"at row {centres[row, 0]:g} and column {centres[row, 1]:g}"
        raise InputError("POINTS", f"{path}: point {row}, counted from 0, {where}, lies outside {frame.name}, {height} × {width} px.")
    if given.dtype.kind not in "iuSU":
        raise InputError("POINTS", f"{path}: {labels} is {given.dtype}; classes are whole numbers, below 0 where not known, or words.")
    known = given >= 0 if given.dtype.kind in "iu" else np.ones(len(given), bool)
    names, index = np.unique(given[known], return_inverse=True)
    if len(names) < 2:
        raise InputError("POINTS", f"{path}: {labels} names {len(names)} class{'' if len(names) == 1 else 'es'}; telling apart needs two or more.")
    if len(names) > len(COLOURS):
        raise InputError("POINTS", f"{path}: {labels} names {len(names)} classes; {len(COLOURS)} can be drawn. Compare fewer at once.")
    whole = np.full(len(given), -1, np.int64)
    whole[known] = index
    told = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    return Points(centres, whole, tuple(f"class {name}" if given.dtype.kind in "iu" else name for name in told))


def separation(scales: ScaleGraphs, points: Points) -> Separation:
    """Windows from half the shortest stage's to the longest's, as far as the frame allows at every point, each by the stage nearest to it.

    Raises:
        InputError: POINTS: not even the shortest lies inside the frame at one of them.
    """
    sides = np.array(scales.frame.values.shape[:2], np.float64)
    reach = 2 * np.minimum(points.centres_px, sides - points.centres_px).min(axis=1)
    shortest = scales.windows_px[0] / 2
    if reach.min() < shortest:
        row = int(reach.argmin())
        raise InputError("POINTS", f"Point {row}, counted from 0, lies too near the border for a window of {shortest:.3g} px; leave it out.")
    windows = np.geomspace(shortest, min(scales.windows_px[-1], float(reach.min())), _LENGTHS)
    stages = [scales.nearest_stage(float(window)) for window in windows]
    asked = [(stage, points.centres_px, float(window)) for stage, window in zip(stages, windows, strict=True)]
    contents = [content_of(scales.encode(*each), circles_of(scales)) for each in asked]
    accuracy, from_px = told_apart(windows, contents, np.stack([np.isfinite(each).all(axis=1) for each in contents]), points.labels)
    return Separation(windows, accuracy, from_px, np.stack([scales.explain(*each) for each in asked]))


def draw_scale_points(scales: ScaleGraphs, points: Points, folder: Path) -> Path:
    """scale_points.png: where the points lie, how well content tells their classes apart, and what is explained of each, against window length."""
    found, frame = separation(scales, points), scales.frame
    made = figure(12.6, 4.4, f"{model_name(scales.graphs)}: {np.count_nonzero(points.labels >= 0)} labelled points of {frame.name}")
    places, apart, drawn = made.subplots(1, 3, width_ratios=(1, 1.15, 1.15))
    _draw_places(places, frame, points)
    lengths = frame.drawn(found.windows_px)
    apart.plot(lengths, found.accuracy, marker="o", color="black", markersize=4)
    apart.axhline(SEPARABLE, color="0.5", linewidth=0.8, linestyle="--")
    apart.axhline(1 / len(points.names), color="0.5", linewidth=0.8, linestyle=":")
    apart.set_ylim(min(0.95 / len(points.names), 0.95 * float(np.nanmin(found.accuracy, initial=1.0))), 1.02)
    if found.from_px:
        apart.axvline(float(frame.drawn(found.from_px)), color=COLOURS[2], label=f"told apart from {frame.told(found.from_px)} on")
        apart.legend(fontsize=7, loc="center right")
    apart.set_title(_verdict(found, points))
    apart.set_ylabel("balanced accuracy (dotted: by chance)")
    for index, name in enumerate(points.names):
        own = found.explained[:, points.labels == index]
        middle, (low, high) = np.nanmedian(own, axis=1), np.nanquantile(own, [0.1, 0.9], axis=1)
        drawn.plot(lengths, middle, marker=MARKERS[index % len(MARKERS)], color=COLOURS[index], markersize=4, label=name)
        drawn.fill_between(lengths, low, high, color=COLOURS[index], alpha=0.15, linewidth=0)
    drawn.set_yscale("symlog", linthresh=1)  # what a model cannot draw may be off by many times its own variance
    drawn.set_ylim(top=1.1)
    drawn.set_title("explained fraction: median, 10 to 90 %")
    drawn.set_ylabel("fraction (unit 1)")
    drawn.legend(fontsize=7)
    for axes in (apart, drawn):
        length_axis(axes, frame.drawn(np.array(scales.windows_px)), frame.unit)
    return save(made, folder / "scale_points.png")


def _verdict(found: Separation, points: Points) -> str:
    if found.from_px:
        return "content tells the classes apart"
    few = fewest_points(points.labels) < FEWEST_POINTS
    return f"not told apart (a class has fewer than {FEWEST_POINTS} points)" if few else "content does not tell the classes apart up to the longest"


def _draw_places(axes: Axes, frame: Frame, points: Points) -> None:
    draw_grey(axes, frame.grey)
    for index, name in enumerate(points.names):
        row, column = points.centres_px[points.labels == index].T
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(column, row, marker, color=COLOURS[index], markersize=5, markeredgecolor="white", markeredgewidth=0.7, label=name, linestyle="")
    axes.set_title("the points")
    axes.set_xlabel("column (px)")
    axes.set_ylabel("row (px)")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2)
