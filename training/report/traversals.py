"""What each latent does to the image: one row a latent, from −2 to 2 prior standard deviations or once round its circle, the others at 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dichroic.bundle import LatentSection
from training.data.dataset import Array
from training.report.canvas import INTENSITY, channel, figure, model_name, mosaic, save, unit_label
from training.report.graphs import LatentGraphs

STEPS = np.linspace(-2.0, 2.0, 9)
# Of content on a circle: the first picture and the last are one.
CIRCLE_STEPS = np.linspace(-np.pi, np.pi, len(STEPS))
_MOST_CLASSES = 4
_MOST_CONTENTS = 16


@dataclass(frozen=True)
class Row:
    """One latent: what its row is called, the input of decode it moves ("content" with its index), and the values (9,) it takes there."""

    label: str
    name: str
    values: Array
    index: int = 0


def rows_of(latent: LatentSection) -> list[Row]:
    """The model's latents in the order of the pose, then content; pose as the object's own, so scale and shift need no sign of a raw latent."""
    rows = []
    # Half the longer side, less half a pixel, is one grid unit.
    unit_px = (max(latent.image_height_px, latent.image_width_px) - 1) / 2
    if latent.rotation_prior_sd_rad is not None:
        turned = latent.rotation_prior_sd_rad * STEPS
        rows.append(Row(f"angle\n±{np.degrees(turned[-1]):.0f}°", "angle_rad", turned))
    if latent.shift_prior_sd is not None:
        moved = latent.shift_prior_sd * unit_px * STEPS
        rows += [Row(f"shift {way}\n±{moved[-1]:.1f} px", f"shift_{way}_px", moved) for way in ("down", "right")]
    if latent.scale_prior_log_sd is not None:
        sizes = np.exp(latent.scale_prior_log_sd * STEPS)
        rows.append(Row(f"scale\n{sizes[0]:.2f} to {sizes[-1]:.2f}", "scale", sizes))
    shown = min(latent.content_size, _MOST_CONTENTS)
    return rows + [_content_row(latent, k) for k in range(shown)]


def _content_row(latent: LatentSection, k: int) -> Row:
    if latent.topology and latent.topology[k] == "circle":
        return Row(f"content {k + 1}\n−180° to 180°", "content", CIRCLE_STEPS, k)
    return Row(f"content {k + 1}\n±2", "content", STEPS, k)


def traversed(graphs: LatentGraphs, rows: list[Row], class_index: int = 0) -> Array:
    """Tiles (rows, 9, h, w[, c]) of one class: each row moves its own latent; all others are 0, the canonical pose and the prior's mean."""
    count = len(rows) * len(STEPS)
    content = np.zeros((count, graphs.latent.content_size))
    pose: dict[str, Array] = {}
    for number, row in enumerate(rows):
        at = slice(number * len(STEPS), (number + 1) * len(STEPS))
        if row.name == "content":
            content[at, row.index] = row.values
        else:
            pose.setdefault(row.name, np.full(count, 1.0 if row.name == "scale" else 0.0))[at] = row.values
    images = graphs.decode(content, class_index, pose)
    return images.reshape(len(rows), len(STEPS), *images.shape[1:])


def draw_traversals(graphs: LatentGraphs, folder: Path) -> list[Path]:
    """traversals.png: one panel for each class (the first four), or one."""
    rows, names = rows_of(graphs.latent), graphs.latent.class_names
    panels = [channel(traversed(graphs, rows, k).reshape(-1, *_shape(graphs)), 0) for k in range(min(max(1, len(names)), _MOST_CLASSES))]
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    height, width = graphs.latent.image_height_px, graphs.latent.image_width_px
    tile = 5.4 / len(STEPS)
    panel_height = len(rows) * tile * height / width
    made = figure(6.6 * across + 1.0, (panel_height + 0.6) * down + 0.5, f"{model_name(graphs)}: one latent at a time{_what(graphs)}")
    grid = made.subplots(down, across, squeeze=False)
    low, high = min(float(tiles.min()) for tiles in panels), max(float(tiles.max()) for tiles in panels)
    for number, axes in enumerate(grid.ravel()):
        if number >= len(panels):
            axes.set_axis_off()
            continue
        tiles = panels[number].reshape(len(rows), len(STEPS), height, width)
        shown = axes.imshow(mosaic(tiles), cmap=INTENSITY, vmin=low, vmax=high, interpolation="nearest")
        axes.set_xticks((width + 1) * np.arange(len(STEPS)) + (width - 1) / 2, [f"{step:g}".replace("-", "−") for step in STEPS])
        axes.set_yticks((height + 1) * np.arange(len(rows)) + (height - 1) / 2, [row.label for row in rows], fontsize=7)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if names:
            axes.set_title(f"class {number}: {names[number]}")
        if number >= len(panels) - across:
            on_circle = "; on a circle ±2 is ±180°" if "circle" in graphs.latent.topology else ""
            axes.set_xlabel(f"latent in standard deviations of its prior{on_circle}")
    made.colorbar(shown, ax=grid.ravel().tolist(), label=unit_label(graphs.preprocessing.unit, "pixel value"), shrink=0.8)
    return [save(made, folder / "traversals.png")]


def _shape(graphs: LatentGraphs) -> tuple[int, ...]:
    latent = graphs.latent
    size = (latent.image_height_px, latent.image_width_px)
    return size if latent.channels == 1 else (*size, latent.channels)


def _what(graphs: LatentGraphs) -> str:
    latent = graphs.latent
    told = ", the others 0"
    if len(latent.class_names) > _MOST_CLASSES:
        told += f"; the first {_MOST_CLASSES} of {len(latent.class_names)} classes"
    if latent.content_size > _MOST_CONTENTS:
        told += f"; the first {_MOST_CONTENTS} of {latent.content_size} content latents"
    return told + (f"; the first of {latent.channels} channels" if latent.channels > 1 else "")
