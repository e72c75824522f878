"""How well images and spectra come back, or are predicted: what went in, what was measured, what is drawn, and the difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from training.data.dataset import Array
from training.latent.target_metrics import r2
from training.report.answers import Answers
from training.report.canvas import COLOURS, DIFFERENCE, INTENSITY, bare, channel, figure, model_name, save, unit_label
from training.report.curves import POINT, draw_pair
from training.report.graphs import LatentGraphs
from training.report.settings import told_row, with_unit
from training.report.subjects import Subjects, in_unit

# From the best to the worst; most lie between the second and the fifth.
_SHOWN = (0.0, 0.1, 0.5, 0.75, 0.9, 0.97, 0.99, 1.0)


def draw_reconstructions(graphs: LatentGraphs, subjects: Subjects, answers: Answers, folder: Path) -> Path:
    """reconstructions.png, or predictions.png where another kind goes in: eight by the quantile of their error, or evenly spaced without errors."""
    rows, titles = _chosen(answers, graphs.drawn_unit if graphs.translates else "1")
    beside = [told_row(graphs, subjects.conditions[row]) if subjects.conditions is not None else "" for row in rows]
    titles = ["\n".join(part for part in parts if part) for parts in zip(titles, beside, strict=True)]
    kind = graphs.latent.output_kind
    drawn = channel(answers.drawn[rows], 0, kind)
    measured = None if answers.measured is None else channel(answers.measured[rows], 0, kind)
    lines = _line_count(graphs, measured)
    made = figure(1.7 * len(rows) + 1.4, 1.6 * lines + 1.0 + 0.15 * max(title.count("\n") for title in titles), _title(graphs, subjects, answers))
    grid = made.subplots(lines, len(rows), squeeze=False)
    if graphs.translates:
        _inputs(made, grid[0], graphs, channel(in_unit(graphs, subjects.values[rows]), 0, graphs.latent.input_kind))
    draw = _images if kind == "images" else _spectra
    draw(made, grid[1:] if graphs.translates else grid, graphs, measured, drawn)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    return save(made, folder / ("predictions.png" if graphs.translates else "reconstructions.png"))


def _chosen(answers: Answers, unit: str) -> tuple[list[int], list[str]]:
    """Rows to show, and what each is called; `unit` of the error."""
    if answers.error is None:
        rows = np.unique(np.linspace(0, len(answers.drawn) - 1, len(_SHOWN)).round().astype(int)).tolist()
        return rows, [f"row {row}" for row in rows]
    order = np.argsort(answers.error)
    rows = [int(order[round(q * (len(order) - 1))]) for q in _SHOWN]
    return rows, [f"error {with_unit(answers.error[row], unit)}\n(quantile {q:g})" for row, q in zip(rows, _SHOWN, strict=True)]


def _title(graphs: LatentGraphs, subjects: Subjects, answers: Answers) -> str:
    if not graphs.translates:
        return f"{model_name(graphs)}: reconstructions of {subjects.name}, from the best to the worst{subjects.at_own_conditions}"
    what = f"{graphs.latent.output_kind} predicted from {graphs.latent.input_kind}"
    if answers.measured is None:
        return f"{model_name(graphs)}: {what} of {subjects.name}{subjects.at_own_conditions}; it holds no measured {graphs.latent.output_kind}"
    value = r2(answers.drawn, answers.measured)
    known = f"; R² {value:.3f} over all of them" if np.isfinite(value) else ""
    return f"{model_name(graphs)}: {what} of {subjects.name}, from the best to the worst{subjects.at_own_conditions}{known}"


def _line_count(graphs: LatentGraphs, measured: Array | None) -> int:
    own = (2 if measured is not None else 1) if graphs.latent.output_kind == "spectra" else (3 if measured is not None else 1)
    return own + graphs.translates


def _inputs(made: Figure, line: Array, graphs: LatentGraphs, values: Array) -> None:
    low, high = _ends(values)
    for axes, value in zip(line, values, strict=True):
        if value.ndim == 1:
            axes.plot(value, color=COLOURS[0], linewidth=1.0)
            axes.set_ylim(low, high)
            axes.set_xlabel(POINT, fontsize=7)
        else:
            bare(axes).imshow(value, cmap=INTENSITY, vmin=low, vmax=high)
    unit = graphs.preprocessing.unit
    if graphs.latent.input_kind == "spectra":
        _outer(line)
        line[0].set_ylabel(unit_label(unit, "input"))
    else:
        line[0].set_ylabel("input")
        made.colorbar(line[0].images[0], ax=line.tolist(), label=unit_label(unit, "pixel value"), shrink=0.9)


def _images(made: Figure, grid: Array, graphs: LatentGraphs, measured: Array | None, drawn: Array) -> None:
    low, high = (float(end) for end in np.quantile(drawn if measured is None else measured, [0.005, 0.995]))
    names = ("measured", "predicted") if graphs.translates else ("input", "reconstruction")
    pictures = [(names[1], drawn)] if measured is None else [(names[0], measured), (names[1], drawn)]
    for line, (name, images) in zip(grid, pictures, strict=False):
        for axes, image in zip(line, images, strict=True):
            bare(axes).imshow(image, cmap=INTENSITY, vmin=low, vmax=high)
        line[0].set_ylabel(name)
    unit = graphs.drawn_unit
    made.colorbar(grid[0, 0].images[0], ax=grid[: len(pictures)].ravel().tolist(), label=unit_label(unit, "pixel value"), shrink=0.8)
    if measured is None:
        return
    for axes, difference in zip(grid[2], drawn - measured, strict=True):
        off = bare(axes).imshow(difference, cmap=DIFFERENCE, norm=CenteredNorm(halfrange=(high - low) / 2))
    grid[2, 0].set_ylabel("difference")
    made.colorbar(off, ax=grid[2].tolist(), extend="both", label=unit_label(unit, "difference"), shrink=0.9)


def _spectra(made: Figure, grid: Array, graphs: LatentGraphs, measured: Array | None, drawn: Array) -> None:
    low, high = _ends(drawn if measured is None else np.stack([measured, drawn]))
    worst = 1.0 if measured is None else 1.1 * float(np.abs(drawn - measured).max()) or 1.0
    for index, axes in enumerate(grid[0]):
        draw_pair(axes, None if measured is None else measured[index], drawn[index])
        axes.set_ylim(low, high)
        if measured is not None:
            grid[1, index].axhline(0, color="0.6", linewidth=0.8)
            grid[1, index].plot(drawn[index] - measured[index], color=COLOURS[0], linewidth=1.0)
            grid[1, index].set_ylim(-worst, worst)
        grid[-1, index].set_xlabel(POINT, fontsize=7)
    for line in grid:
        _outer(line)
    grid[0, 0].set_ylabel(unit_label(graphs.drawn_unit))
    if measured is not None:
        grid[1, 0].set_ylabel(unit_label(graphs.drawn_unit, "difference"))
    made.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)


def _ends(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _outer(line: list[Axes] | Array) -> None:
    """Numbers on the first axes of a line alone; the others share its scale."""
    for axes in line:
        axes.tick_params(labelsize=7)
    for axes in line[1:]:
        axes.set_yticklabels([])
