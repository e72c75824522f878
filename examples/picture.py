"""The demo's picture: the scan, and what the service says of every patch of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from training.report.angles import angle_title, ends_deg, wrapped_rad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from examples.demo import Answers, NDArray
    from training.data.dataset import DataSet

CYCLIC, SEQUENTIAL, ERRORS = "twilight", "viridis", "magma"


def draw(path: Path, image: NDArray, scan: DataSet, answers: Answers, *, angles_deg: Sequence[float]) -> None:
    """Writes the picture: scan with the patches never seen outlined, angle, content, reconstruction error, and decoded poses."""
    figure = plt.figure(figsize=(13.5, 6.9), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=[2.6, 1])
    axes = rows[0].subplots(1, 4)
    shown = image if image.ndim == 2 else image[..., 0]
    low, high = np.percentile(shown, [1, 99])
    extent = (-0.5, shown.shape[1] - 0.5, shown.shape[0] - 0.5, -0.5)
    picture = axes[0].imshow(shown, cmap="gray", vmin=low, vmax=high, extent=extent)
    _bar(axes[0], picture, f"{scan.quantity or 'value'} [{scan.unit}]", "scan; red: never seen")
    _outline_novel(axes[0], answers)
    encoding = answers.encoding
    if encoding.angle_rad is not None:
        # Of stripes, which look the same after half a turn, 180.
        turns = answers.info.manifest["latent"].get("angle_symmetry", 1)
        degrees, title, ends = np.degrees(wrapped_rad(encoding.angle_rad, turns)), angle_title(turns), ends_deg(turns)
        _map(axes[1], degrees, answers, extent=extent, colours=CYCLIC, label="counter-clockwise [°]", title=title, limits=ends)
    if encoding.content.shape[1]:
        which = smoothest(encoding.content, answers)
        label = f"content {which + 1} [1]"
        _map(axes[2], encoding.content[:, which], answers, extent=extent, colours=SEQUENTIAL, label=label, title="content, the smoothest")
    errors = answers.reconstruction.error
    _map(axes[3], errors, answers, extent=extent, colours=ERRORS, label="mean squared, range = 1", title="reconstruction error")
    for axis in axes:
        axis.set_xlabel("column [px]")
    axes[0].set_ylabel("row [px]")
    _strip(rows[1], answers, angles_deg)
    figure.suptitle(f"{scan.source}, model {encoding.model.name} {encoding.model.version}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _strip(figure: Any, answers: Answers, angles_deg: Sequence[float]) -> None:
    """The best-known, a typical and the least-known patch with their reconstructions, then the decoded poses."""
    order = np.argsort(answers.reconstruction.error)
    chosen = {"best known": order[0], "typical": order[len(order) // 2], "least known": order[-1]}
    axes = figure.subplots(1, 2 * len(chosen) + len(angles_deg))
    for axis in axes:
        axis.set_axis_off()
    for place, (title, index) in enumerate(chosen.items()):
        pair = (answers.patches.images[index], answers.reconstruction.reconstruction[index])
        for axis, values, name in zip(axes[2 * place :], pair, (title, "as seen"), strict=False):
            _small(axis, values, pair[0], name)
    for axis, values, angle in zip(axes[2 * len(chosen) :], answers.decoded, angles_deg, strict=True):
        _small(axis, values, values, f"decoded {angle:+d}°")


def _small(axis: Axes, values: NDArray, scale_of: NDArray, title: str) -> None:
    low, high = np.percentile(scale_of, [1, 99])
    axis.imshow(values if values.ndim == 2 else values[..., 0], cmap="gray", vmin=low, vmax=high)
    axis.set_title(title, fontsize=9)


def _map(
    axis: Axes,
    values: NDArray,
    answers: Answers,
    *,
    extent: tuple[float, ...],
    colours: str,
    label: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """One value a patch, drawn at the patch's centre, on the scan's own pixels."""
    grid, edges = on_grid(values, answers)
    low, high = limits or tuple(np.percentile(values, [1, 99]))
    picture = axis.imshow(grid, cmap=colours, vmin=low, vmax=high, extent=edges, interpolation="nearest")
    axis.set_xlim(extent[0], extent[1])
    axis.set_ylim(extent[2], extent[3])
    axis.set_facecolor("0.9")
    _bar(axis, picture, label, title)


def smoothest(content: NDArray, answers: Answers) -> int:
    """The content latent that differs least between neighbouring patches, in units of its own spread: what varies slowly over the scan."""
    maps = [on_grid(content[:, index], answers)[0] for index in range(content.shape[1])]
    steps = [np.mean(np.square(np.diff(values, axis=0))) + np.mean(np.square(np.diff(values, axis=1))) for values in maps]
    spread = [max(float(np.var(values)), 1e-12) for values in maps]
    return int(np.argmin(np.array(steps) / np.array(spread)))


def on_grid(values: NDArray, answers: Answers) -> tuple[NDArray, tuple[float, float, float, float]]:
    """Patch values as a map, and its edges (left, right, bottom, top) in scan pixels: each value covers one stride about its patch's centre."""
    tops, lefts = np.unique(answers.patches.top_px), np.unique(answers.patches.left_px)
    half = (answers.patches.images.shape[1] - 1) / 2
    stride = float(lefts[1] - lefts[0]) if len(lefts) > 1 else 2 * half
    left, top = lefts[0] + half - stride / 2, tops[0] + half - stride / 2
    return values.reshape(len(tops), len(lefts)), (left, left + stride * len(lefts), top + stride * len(tops), top)


def _outline_novel(axis: Axes, answers: Answers) -> None:
    novel = answers.reconstruction.novel
    if novel is None or not novel.any():
        return
    grid, (left, right, bottom, top) = on_grid(novel.astype(float), answers)
    padded = np.pad(np.repeat(np.repeat(grid, 8, axis=0), 8, axis=1), 1)
    step_x, step_y = (right - left) / (padded.shape[1] - 2), (bottom - top) / (padded.shape[0] - 2)
    columns = left + step_x * (np.arange(padded.shape[1]) - 0.5)
    lines = top + step_y * (np.arange(padded.shape[0]) - 0.5)
    axis.contour(columns, lines, padded, levels=[0.5], colors="red", linewidths=1.2)


def _bar(axis: Axes, picture: Any, label: str, title: str) -> None:
    axis.set_title(title)
    axis.figure.colorbar(picture, ax=axis, location="bottom", shrink=0.9, label=label)
