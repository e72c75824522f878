"""What each condition, and each target that the decoder draws by, does to what is drawn: one strip each, the others as they are set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from training.data.dataset import Array
from training.report.canvas import figure, model_name, save, unit_label
from training.report.curves import POINT, draw_named, draw_varied
from training.report.graphs import LatentGraphs
from training.report.settings import Column, Setting, Told, with_unit
from training.report.tiles import draw_tiles, ends_of, first_channel, tell_scale
from training.report.traversals import STEPS

_MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Strip:
    """One column: its values (m,), and what is drawn at each, (m, h, w) or (m, l)."""

    column: Column
    values: Array
    drawn: Array


def strips_of(graphs: LatentGraphs, told: Told, setting: Setting, array: Literal["conditions", "targets"]) -> list[Strip]:
    """Every column of conditions or targets: numbers over mean ± 2 sd, categories one by one.

    Latents are 0, the pose is canonical, the class the first.
    """
    made = []
    columns = told.conditions if array == "conditions" else told.targets
    for index, column in enumerate(columns):
        values = np.arange(min(len(column.categories), _MOST_CATEGORIES)) if column.categories else column.mean + column.sd * STEPS
        conditions, targets = (None if row is None else np.tile(row, (len(values), 1)) for row in (setting.conditions, setting.targets))
        moved = conditions if array == "conditions" else targets
        assert moved is not None  # noqa: S101 (a setting has a row of every column that was told)
        moved[:, index] = values
        drawn = graphs.decode(np.zeros((len(values), graphs.latent.content_size)), conditions=conditions, targets=targets)
        made.append(Strip(column, values, first_channel(graphs, drawn)))
    return made


def draw_strips(graphs: LatentGraphs, told: Told, setting: Setting, array: Literal["conditions", "targets"], folder: Path) -> list[Path]:
    """conditions.png or targets.png; nothing where there are no such columns."""
    strips = strips_of(graphs, told, setting, array)
    if not strips:
        return []
    what = "condition" if array == "conditions" else "target"
    first = f", class 0, {graphs.latent.class_names[0]}" if graphs.latent.class_names else ""
    title = f"{model_name(graphs)}: one {what} at a time, latents 0{first}; the others{setting.words().removeprefix(',')}"
    if len(told.conditions) + len(told.targets) == 1:
        title = f"{model_name(graphs)}: over its {what}, latents 0{first}"
    draw = _draw_images if graphs.latent.output_kind == "images" else _draw_spectra
    return [draw(graphs, strips, title, folder / f"{array}.png")]


def _draw_images(graphs: LatentGraphs, strips: list[Strip], title: str, path: Path) -> Path:
    height, width = graphs.latent.image_height_px, graphs.latent.image_width_px
    most = max(len(strip.values) for strip in strips)
    made = figure(0.85 * most + 1.6, (0.85 * height / width + 0.55) * len(strips) + 0.6, title)
    grid = made.subplots(len(strips), 1, squeeze=False)[:, 0]
    ends = ends_of([strip.drawn for strip in strips])
    for axes, strip in zip(grid, strips, strict=True):
        # As wide as the longest strip, so that all pictures are of one size.
        tiles = np.full((1, most, height, width), np.nan, dtype=np.float32)
        tiles[0, : len(strip.values)] = strip.drawn
        columns, _ = draw_tiles(axes, tiles, *ends)
        axes.set_xticks(columns[: len(strip.values)], _ticks(strip), fontsize=7)
        axes.set_yticks([])
        axes.set_xlabel(_label(strip.column), fontsize=8, loc="left")
    tell_scale(made, grid.tolist(), graphs, *ends)
    return save(made, path)


def _draw_spectra(graphs: LatentGraphs, strips: list[Strip], title: str, path: Path) -> Path:
    made = figure(4.6 * len(strips) + 0.6, 3.6, title)
    made.set_layout_engine("constrained", wspace=0.06)  # a colour bar's label stands clear of the next axes
    grid = made.subplots(1, len(strips), squeeze=False, sharey=True)[0]
    for axes, strip in zip(grid, strips, strict=True):
        if strip.column.categories:
            draw_named(axes, strip.drawn, [strip.column.told(value) for value in strip.values])
        else:
            shown = draw_varied(axes, strip.drawn, strip.values, (float(strip.values[0]), float(strip.values[-1])))
            made.colorbar(shown, ax=axes, label=_label(strip.column))
        axes.set_title(strip.column.name)
        axes.set_xlabel(POINT)
    grid[0].set_ylabel(unit_label(graphs.drawn_unit))
    return save(made, path)


def _ticks(strip: Strip) -> list[str]:
    if strip.column.categories:
        return [strip.column.told(value) for value in strip.values]
    return [with_unit(value, "1") for value in strip.values]


def _label(column: Column) -> str:
    """Name and unit, and where the values come from."""
    if column.categories:
        return column.name if len(column.categories) <= _MOST_CATEGORIES else f"{column.name}, the first {_MOST_CATEGORIES}"
    return f"{unit_label(column.unit, column.name)}: mean {column.known_from} ± 2 sd"
