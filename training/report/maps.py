"""Where in a scan what was found lies: angle, content and error over the scan that patches were cut from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.data.dataset import Array
from training.report.angles import angle_title, ends_deg, ticks_deg, wrapped_rad
from training.report.canvas import ANGLE, INTENSITY, figure, model_name, save, unit_label
from training.report.graphs import LatentGraphs
from training.report.subjects import Scan


def draw_maps(graphs: LatentGraphs, scan: Scan, encoded: dict[str, Array], error: Array | None, folder: Path, at: str = "") -> Path:  # noqa: PLR0917
    """maps.png: the scan, the angle and the first two content latents over it, and the error with what lies above the threshold.

    `error` None: there is none, since the model draws another kind. `at`: the conditions in words, which all patches have.
    """
    contents = {f"content latent {k + 1}": encoded["content"][:, k] for k in range(min(2, graphs.latent.content_size))}
    angled, wrong = "angle_rad" in encoded, error is not None
    panels = 1 + wrong + len(contents) + angled
    columns = min(panels, 3)
    rows = -(-panels // columns)
    made = figure(3.7 * columns, 3.1 * rows + 0.3, f"{model_name(graphs)}: maps over the scan, one value for each patch{at}")
    free = [made.add_subplot(rows, columns, number + 1) for number in range(panels)]
    image = scan.image if scan.image.ndim == 2 else scan.image[..., 0]
    low, high = np.quantile(image, [0.005, 0.995])
    scanned = free[0].imshow(image, cmap="gray", vmin=low, vmax=high)
    made.colorbar(scanned, ax=free[0], fraction=0.046, pad=0.03, label=unit_label(graphs.preprocessing.unit))
    free[0].set_title("scan")
    extent = _extent(graphs, scan)
    if error is not None:
        _errors(graphs, scan, made, free[1], error, extent)
    if angled:
        turns = graphs.latent.angle_symmetry
        _degrees(made, free[1 + wrong], _on_scan(scan, encoded["angle_rad"]), extent, "° counter-clockwise", turns)
        free[1 + wrong].set_title(angle_title(turns))
    for index, (axes, (name, value)) in enumerate(zip(free[panels - len(contents) :], contents.items(), strict=True)):
        axes.set_title(name)
        if graphs.latent.on_circle(index):
            _degrees(made, axes, _on_scan(scan, value), extent, "° on a circle")
            continue
        least, most = np.quantile(value, [0.01, 0.99])
        made.colorbar(
            axes.imshow(_on_scan(scan, value), cmap=INTENSITY, vmin=least, vmax=most, extent=extent),
            ax=axes,
            fraction=0.046,
            pad=0.03,
            label="unit 1",
        )
    for axes in free:
        axes.set_xlim(0, image.shape[1])
        axes.set_ylim(image.shape[0], 0)
        axes.set_xlabel("column (px)")
        axes.set_ylabel("row (px)")
    return save(made, folder / "maps.png")


def _degrees(made: Figure, axes: Axes, angle_rad: Array, extent: tuple[float, float, float, float], label: str, turns: int = 1) -> None:  # noqa: PLR0917
    """Angles (rows, columns) in degrees modulo 360°/turns, in colours whose ends meet."""
    low, high = ends_deg(turns)
    shown = axes.imshow(np.degrees(wrapped_rad(angle_rad, turns)), cmap=ANGLE, vmin=low, vmax=high, extent=extent)
    made.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label=label, ticks=ticks_deg(turns))


def _errors(graphs: LatentGraphs, scan: Scan, made: Figure, axes: Axes, error: Array, extent: tuple[float, float, float, float]) -> None:  # noqa: PLR0917
    shown = axes.imshow(_on_scan(scan, np.log10(np.maximum(error, 1e-12))), cmap="magma", extent=extent)
    made.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label="log₁₀ error (unit 1)")
    axes.set_title("reconstruction error")
    threshold = graphs.latent.novelty_threshold
    novel = error > threshold if threshold is not None else np.zeros(len(error), dtype=bool)
    if novel.any():
        half = graphs.latent.image_height_px / 2
        axes.scatter(scan.left_px[novel] + half, scan.top_px[novel] + half, s=5, color="#56B4E9", linewidths=0)
        axes.set_title("error (dots: above threshold)")


def _on_scan(scan: Scan, values: Array) -> Array:
    """Values (n,) of patches on a grid, as they were cut: rows first."""
    return values.reshape(len(np.unique(scan.top_px)), len(np.unique(scan.left_px)))


def _extent(graphs: LatentGraphs, scan: Scan) -> tuple[float, float, float, float]:
    """Each value stands at its patch's centre and covers one stride."""
    side = graphs.latent.image_height_px
    lefts, tops = np.unique(scan.left_px), np.unique(scan.top_px)
    stride = float(lefts[1] - lefts[0]) if len(lefts) > 1 else float(side)
    first, last = (side - stride) / 2, (side + stride) / 2
    return float(lefts[0]) + first, float(lefts[-1]) + last, float(tops[-1]) + last, float(tops[0]) + first
