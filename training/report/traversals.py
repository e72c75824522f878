"""What each latent does to what is drawn: one row a latent, from −2 to 2 prior standard deviations or once round its circle, the others at 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dichroic.bundle import LatentSection
from training.data.dataset import Array
from training.report.canvas import figure, minus, model_name, save, unit_label
from training.report.curves import POINT, draw_varied
from training.report.graphs import LatentGraphs
from training.report.settings import NOTHING_TOLD, Setting
from training.report.tiles import channels_of, draw_tiles, ends_of, first_channel, tell_scale

STEPS = np.linspace(-2.0, 2.0, 9)
# Of content on a circle: the first picture and the last are one.
CIRCLE_STEPS = np.linspace(-np.pi, np.pi, len(STEPS))
_MOST_PANELS = 4
_MOST_CONTENTS = 16


@dataclass(frozen=True)
class Row:
    """One latent: what its row is called, the input of decode it moves ("content" with its index), and the values (9,) it takes there."""

    label: str
    name: str
    values: Array
    index: int = 0


@dataclass(frozen=True)
class Panel:
    """All latents of one class, at one setting: `title`, empty for the only one, and tiles (rows, 9, h, w) or (rows, 9, l)."""

    title: str
    tiles: Array


def rows_of(latent: LatentSection, points: int = 0) -> list[Row]:
    """The model's latents in the order of the pose, then content; pose as the object's own, so scale and shift need no sign of a raw latent.

    `points` of a spectrum, where spectra are drawn: it has one shift, along its axis.
    """
    rows = []
    # Half the longer side, less half a pixel, is one grid unit.
    unit_px = ((points or max(latent.image_height_px, latent.image_width_px)) - 1) / 2
    if latent.rotation_prior_sd_rad is not None:
        turned = latent.rotation_prior_sd_rad * STEPS
        rows.append(Row(f"angle\n±{np.degrees(turned[-1]):.0f}°", "angle_rad", turned))
    if latent.shift_prior_sd is not None:
        moved = latent.shift_prior_sd * unit_px * STEPS
        if points:
            rows.append(Row(f"shift\n±{moved[-1]:.1f} points", "shift_right_px", moved))
        else:
            rows += [Row(f"shift {way}\n±{moved[-1]:.1f} px", f"shift_{way}_px", moved) for way in ("down", "right")]
    if latent.scale_prior_log_sd is not None:
        sizes = np.exp(latent.scale_prior_log_sd * STEPS)
        rows.append(Row(f"{'width' if points else 'scale'}\n{sizes[0]:.2f} to {sizes[-1]:.2f}", "scale", sizes))
    shown = min(latent.content_size, _MOST_CONTENTS)
    return rows + [_content_row(latent, k) for k in range(shown)]


def _content_row(latent: LatentSection, k: int) -> Row:
    if latent.on_circle(k):
        return Row(f"content {k + 1}\n−180° to 180°", "content", CIRCLE_STEPS, k)
    return Row(f"content {k + 1}\n±2", "content", STEPS, k)


def traversed(graphs: LatentGraphs, rows: list[Row], class_index: int = 0, setting: Setting = NOTHING_TOLD) -> Array:
    """Tiles (rows, 9, h, w[, c]) or (rows, 9, l[, c]) of one class at one setting.

    Each row moves its own latent; all others are 0, the canonical pose and the prior's mean.
    """
    count = len(rows) * len(STEPS)
    content = np.zeros((count, graphs.latent.content_size))
    pose: dict[str, Array] = {}
    for number, row in enumerate(rows):
        at = slice(number * len(STEPS), (number + 1) * len(STEPS))
        if row.name == "content":
            content[at, row.index] = row.values
        else:
            pose.setdefault(row.name, np.full(count, 1.0 if row.name == "scale" else 0.0))[at] = row.values
    drawn = graphs.decode(content, class_index, pose, setting.conditions, setting.targets)
    return drawn.reshape(len(rows), len(STEPS), *drawn.shape[1:])


def draw_traversals(graphs: LatentGraphs, folder: Path, settings: tuple[Setting, ...] = (NOTHING_TOLD,)) -> list[Path]:
    """traversals.png: one panel for each class and combination of categories (the first four), or one."""
    if not settings:
        return []
    rows = rows_of(graphs.latent, graphs.drawn.row_shape[0] if graphs.latent.output_kind == "spectra" else 0)
    classes = range(max(1, len(graphs.latent.class_names)))
    pairs = [(setting, k) for setting in settings for k in classes]
    panels = [_panel(graphs, rows, k, setting) for setting, k in pairs[:_MOST_PANELS]]
    title = f"{model_name(graphs)}: one latent at a time{_what(graphs, len(settings))}{settings[0].words(categories=False)}"
    draw = _draw_images if graphs.latent.output_kind == "images" else _draw_spectra
    return [draw(graphs, rows, panels, title, folder / "traversals.png")]


def _panel(graphs: LatentGraphs, rows: list[Row], class_index: int, setting: Setting) -> Panel:
    names = graphs.latent.class_names
    title = ", ".join([*([f"class {class_index}: {names[class_index]}"] if names else []), *setting.categories])
    tiles = traversed(graphs, rows, class_index, setting)
    flat = first_channel(graphs, tiles.reshape(-1, *tiles.shape[2:]))
    return Panel(title, flat.reshape(len(rows), len(STEPS), *flat.shape[1:]))


def _draw_images(graphs: LatentGraphs, rows: list[Row], panels: list[Panel], title: str, path: Path) -> Path:
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    height, width = graphs.latent.image_height_px, graphs.latent.image_width_px
    panel_height = len(rows) * 5.4 / len(STEPS) * height / width
    made = figure(6.6 * across + 1.0, (panel_height + 0.6) * down + 0.5, title)
    grid = made.subplots(down, across, squeeze=False)
    ends = ends_of([panel.tiles for panel in panels])
    for number, axes in enumerate(grid.ravel()):
        if number >= len(panels):
            axes.set_axis_off()
            continue
        columns, lines = draw_tiles(axes, panels[number].tiles, *ends)
        axes.set_xticks(columns, [minus(f"{step:g}") for step in STEPS])
        axes.set_yticks(lines, [row.label for row in rows], fontsize=7)
        axes.set_title(panels[number].title)
        if number >= len(panels) - across:
            axes.set_xlabel(f"latent in standard deviations of its prior{_on_circle(graphs)}")
    tell_scale(made, grid.ravel().tolist(), graphs, *ends)
    return save(made, path)


def _draw_spectra(graphs: LatentGraphs, rows: list[Row], panels: list[Panel], title: str, path: Path) -> Path:
    """A row of axes for each class or category, an axes for each latent, its nine spectra one over another."""
    made = figure(max(6.0, 2.5 * len(rows) + 1.6), 2.3 * len(panels) + 0.9, title)
    grid = made.subplots(len(panels), len(rows), squeeze=False, sharex=True, sharey=True)
    for line, panel in zip(grid, panels, strict=True):
        for axes, curves in zip(line, panel.tiles, strict=True):
            shown = draw_varied(axes, curves, STEPS, (STEPS[0], STEPS[-1]))
        line[0].set_ylabel("\n".join([*panel.title.split(", "), unit_label(graphs.drawn_unit)]).strip(), fontsize=8)
    for row, top, bottom in zip(rows, grid[0], grid[-1], strict=True):
        top.set_title(row.label, fontsize=8)
        bottom.set_xlabel(POINT)
    made.colorbar(shown, ax=grid.ravel().tolist(), label=f"latent in standard deviations\nof its prior{_on_circle(graphs)}")
    return save(made, path)


def _on_circle(graphs: LatentGraphs) -> str:
    return "; on a circle ±2 is ±180°" if "circle" in graphs.latent.topology else ""


def _what(graphs: LatentGraphs, settings: int) -> str:
    latent = graphs.latent
    told = ", the others 0"
    panels = max(1, len(latent.class_names)) * settings
    if panels > _MOST_PANELS:
        # How many categories there are, the line about the manifold says; here they are cut already.
        told += f"; the first {_MOST_PANELS} of {panels} classes" if settings == 1 else f"; the first {_MOST_PANELS} panels"
    if latent.content_size > _MOST_CONTENTS:
        told += f"; the first {_MOST_CONTENTS} of {latent.content_size} content latents"
    return told + (f"; the first of {channels_of(graphs)} channels" if channels_of(graphs) > 1 else "")
