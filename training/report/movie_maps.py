"""A movie's maps as one picture: a few frames of each window's first latents, or tracked positions against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.data.dataset import Array
from training.movies.maps_file import MapsFile, reopen
from training.report.canvas import COLOURS, INTENSITY, MARKERS, drawing, figure, save

_FRAMES, _WINDOWS, _LATENTS = 5, 4, 3
# Points of a line beyond which markers run into each other.
_MARKED = 40
# No line has more points than a picture has columns: of a long movie every so many-th frame is read.
_POINTS = 2000


def draw_movie(path: Path, picture: Path) -> Path:
    """Draws what the file of maps holds, reading only the frames that are shown.

    Args:
        path: of a finished file of maps.
        picture: a .png to write.
    """
    with reopen(path, read_only=True) as file, drawing():
        windows = _some(len(file.groups), _WINDOWS)
        return save((_tracks if file.facts["positions_sha256"] else _maps)(file, windows), picture)


def _some(count: int, most: int) -> list[int]:
    """At most so many of `count` numbers, from the first to the last, evenly."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def _latents(group: Any) -> tuple[str, str, int]:
    """Which array is shown, what a value is called, and how many of its columns."""
    name, called = ("content", "content latent") if "content" in group else ("latent_mean", "latent")
    return name, called, min(_LATENTS, group[name].shape[-1])


def _window(group: Any) -> str:
    px, nm = float(group.attrs["window_px"]), float(group.attrs["window_nm"])
    return f"window {px:.4g} px" + (f" ({nm:.4g} nm)" if nm else "")


def _title(file: MapsFile, what: str) -> str:
    return f"{file.facts['model_name']} version {file.facts['model_version']}: {what} of {file.facts['movie']}"


def _maps(file: MapsFile, windows: Sequence[int]) -> Figure:
    frames = _some(len(file.done), _FRAMES)
    groups = [file.groups[window] for window in windows]
    latents = [(group, *_latents(group)) for group in groups]
    rows = [(group, name, called, k) for group, name, called, count in latents for k in range(min(count, 3 if len(groups) == 1 else 2))]
    made = figure(2.3 * len(frames) + 1.2, 2.2 * len(rows) + 0.6, _title(file, "latent maps"))
    axes = made.subplots(len(rows), len(frames), squeeze=False)
    for line, (group, name, called, k) in zip(axes, rows, strict=True):
        shown = np.stack([np.asarray(group[name][t])[..., k] for t in frames])
        _row(made, line, shown, np.asarray(group["centres_px"][...]), f"{called} {k + 1}\n{_window(group)}\nrow (px)")
    for each, t in zip(axes[0], frames, strict=True):
        each.set_title(f"frame {t}")
    for each in axes[-1]:
        each.set_xlabel("column (px)")
    return made


def _row(made: Figure, line: Sequence[Axes], shown: Array, centres: Array, label: str) -> None:
    """One latent in all frames (f, R, C), in one range of colours: their 1 % and 99 %."""
    finite = shown[np.isfinite(shown)]
    low, high = np.quantile(finite, [0.01, 0.99]) if finite.size else (0.0, 1.0)
    down, right = centres[:, 0, 0], centres[0, :, 1]
    # Each value stands at its window's centre and covers one step of the grid; a grid of one value has none.
    half = [(float(along[1] - along[0]) if len(along) > 1 else 1.0) / 2 for along in (down, right)]
    extent = (right[0] - half[1], right[-1] + half[1], down[-1] + half[0], down[0] - half[0])
    for place, (each, values) in enumerate(zip(line, shown, strict=True)):
        image = each.imshow(values, cmap=INTENSITY, vmin=low, vmax=high, extent=extent)
        each.set_facecolor("0.85")  # what is not valid
        if place:
            each.set_yticklabels([])
    line[0].set_ylabel(label)
    made.colorbar(image, ax=list(line), fraction=0.02, pad=0.01, label="unit 1")


def _tracks(file: MapsFile, windows: Sequence[int]) -> Figure:
    groups = [file.groups[window] for window in windows]
    columns = max(_latents(group)[2] for group in groups)
    step = -(-len(file.done) // _POINTS)
    times = np.arange(0, len(file.done), step)
    made = figure(3.6 * columns + 0.8, 2.4 * len(groups) + 0.8, _title(file, "latents of tracked positions"))
    axes = made.subplots(len(groups), columns, squeeze=False, sharex=True)
    for line, group in zip(axes, groups, strict=True):
        name, called, count = _latents(group)
        tracks = _some(group[name].shape[1], len(COLOURS))
        values = np.asarray(group[name][::step])
        for k, each in enumerate(line):
            if k >= count:
                each.set_axis_off()
                continue
            for number, track in enumerate(tracks):
                marker = MARKERS[number] if len(times) <= _MARKED else ""
                each.plot(times, values[:, track, k], color=COLOURS[number], marker=marker, markersize=3, linewidth=1, label=f"track {track}")
            each.set_title(f"{called} {k + 1}, {_window(group)}")
    for each in axes[-1]:
        each.set_xlabel("frame")
    for line in axes:
        line[0].set_ylabel("unit 1")
    handles, names = axes[0][0].get_legend_handles_labels()
    made.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return made
