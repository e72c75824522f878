"""What each part of a mechanism model does: maps, curves and bars of its mean and spread, beside the truth where the data has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dichroic.bundle.mechanism_section import Mechanism
from training.data.dataset import Array
from training.report.canvas import COLOURS, INTENSITY, figure, minus, save, unit_label
from training.report.mechanism_graphs import MechanismGraphs

_GRID, _POINTS = 60, 200
# Of a normal variable: its central 90 % lie within so many standard deviations.
NINETY = 1.645
_MOST_DOTS = 400


@dataclass(frozen=True)
class Component:
    """A function of one mechanism, or of several together.

    Attributes:
        name: of the part; of a factor "… on …".
        index: of the part whose mean, or whose factor, it is.
        factor: whether it is the factor.
        mechanisms: whose function.
        unit: of its values.
        told: (n,) at the held-out points; None where the bundle holds none.
        truth: (n,) there, in the model's gauge; None where it is not known.
    """

    name: str
    index: int
    factor: bool
    mechanisms: tuple[Mechanism, ...]
    unit: str
    told: Array | None
    truth: Array | None


def components(graphs: MechanismGraphs) -> list[Component]:
    """All but the constant, in the parts' order, each part's factors before it."""
    found, held, unit = [], graphs.held_out, graphs.section.quantity.unit
    for index, part in enumerate(graphs.section.parts):
        if part.kind == "constant":
            continue
        if len(part.factors) == 1:
            told, factor = held["factor"][:, index] if held else None, part.factors[0]
            own = (graphs.mechanism(factor),)
            found.append(Component(f"factor of {factor} on {part.name}", index, True, own, "1", told, held.get(f"truth_{factor}")))
        own = tuple(graphs.mechanism(name) for name in part.mechanisms)
        told, truth = held["part_mean"][:, index] if held else None, held.get(f"truth_{part.name}")
        found.append(Component(f"part of {part.name}", index, False, own, unit, told, truth))
    return found


def draw_components(graphs: MechanismGraphs, folder: Path) -> list[Path]:
    """component-NAME.png for each part and factor; nothing of a part that can be shown by neither its inputs nor held-out points."""
    written = []
    for component in components(graphs):
        draw = _way(component)
        if draw is not None:
            stem = component.name.removeprefix("part of ").replace(" ", "-")
            written.append(save(draw(graphs, component), folder / f"component-{stem}.png"))
    return written


def _way(component: Component) -> Callable[[MechanismGraphs, Component], Figure] | None:
    only = component.mechanisms[0] if len(component.mechanisms) == 1 else None
    if only is not None and len(only.columns) == 2:
        return _map
    if only is not None and len(only.columns) == 1:
        return _curve
    if only is not None and only.categories:
        return _bars
    if component.told is None:
        return None
    return _scatter if component.truth is not None else _ordered


def predicted(graphs: MechanismGraphs, component: Component, inputs: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (n,) of a component of one mechanism, at its own inputs."""
    told = graphs.predict({component.mechanisms[0].name: inputs})
    if component.factor:
        return told["factor"][:, component.index], np.sqrt(np.maximum(told["factor_variance"][:, component.index], 0))
    variance = told["part_covariance"][:, component.index, component.index]
    return told["part_mean"][:, component.index], np.sqrt(np.maximum(variance, 0))


def _map(graphs: MechanismGraphs, component: Component) -> Figure:
    """Mean and spread over the trained range; the truth at the held-out places."""
    mechanism = component.mechanisms[0]
    sides = [np.linspace(low, high, _GRID) for low, high in zip(mechanism.trained_low, mechanism.trained_high, strict=True)]
    across, up = np.meshgrid(*sides)
    mean, sd = (values.reshape(_GRID, _GRID) for values in predicted(graphs, component, np.column_stack((across.ravel(), up.ravel()))))
    place = graphs.held_out.get(f"input_{mechanism.name}")
    beside = component.truth is not None and place is not None
    made = figure(9.9 if beside else 6.8, 3.3, _title(graphs, component))
    grid = made.subplots(1, 3 if beside else 2, squeeze=False, sharex=True, sharey=True)[0]
    ends = [float(mean.min()), float(mean.max())]
    if component.truth is not None and beside:
        ends = [min(ends[0], float(component.truth.min())), max(ends[1], float(component.truth.max()))]
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    shown = grid[0].imshow(mean, origin="lower", extent=extent, aspect="auto", cmap=INTENSITY, vmin=ends[0], vmax=ends[1])
    grid[0].set_title("posterior mean")
    axes = [grid[0]]
    if beside and place is not None:
        grid[1].scatter(place[:, 0], place[:, 1], c=component.truth, s=9, cmap=INTENSITY, vmin=ends[0], vmax=ends[1], linewidths=0)
        grid[1].set_title(f"truth at {len(place)} held-out places")
        axes.append(grid[1])
    made.colorbar(shown, ax=axes, label=unit_label(component.unit), shrink=0.9)
    spread = grid[-1].imshow(sd, origin="lower", extent=extent, aspect="auto", cmap="magma", vmin=0)
    grid[-1].set_title("posterior sd")
    made.colorbar(spread, ax=grid[-1], label=unit_label(component.unit, "sd"), shrink=0.9)
    for each in grid:
        each.set_xlabel(unit_label(mechanism.unit, mechanism.columns[0]))
        each.set_xlim(extent[:2])
        each.set_ylim(extent[2:])
    grid[0].set_ylabel(unit_label(mechanism.unit, mechanism.columns[1]))
    return made


def _curve(graphs: MechanismGraphs, component: Component) -> Figure:
    mechanism = component.mechanisms[0]
    at = np.linspace(mechanism.trained_low[0], mechanism.trained_high[0], _POINTS)
    mean, sd = predicted(graphs, component, at[:, None])
    made, axes = _one(graphs, component)
    axes.fill_between(at, mean - NINETY * sd, mean + NINETY * sd, color=COLOURS[0], alpha=0.25, linewidth=0, label="90 % interval")
    axes.plot(at, mean, color=COLOURS[0], label="posterior mean")
    place = graphs.held_out.get(f"input_{mechanism.name}")
    if component.truth is not None and place is not None:
        own = place.reshape(len(place), -1)[:_MOST_DOTS, 0]
        axes.plot(own, component.truth[:_MOST_DOTS], ".", color=COLOURS[1], markersize=3, label="truth at held-out points")
    axes.set_xlabel(unit_label(mechanism.unit, mechanism.columns[0]))
    axes.set_ylabel(unit_label(component.unit))
    axes.legend(fontsize=8)
    return made


def _bars(graphs: MechanismGraphs, component: Component) -> Figure:
    names = component.mechanisms[0].categories
    mean, sd = predicted(graphs, component, np.arange(len(names)))
    made, axes = _one(graphs, component)
    axes.bar(range(len(names)), mean, yerr=NINETY * sd, color=COLOURS[5], ecolor="0.2", capsize=4, width=0.6, label="posterior mean, 90 % interval")
    index = graphs.held_out.get(f"input_{component.mechanisms[0].name}")
    if component.truth is not None and index is not None:
        truth = [component.truth[index == number].mean() if (index == number).any() else np.nan for number in range(len(names))]
        axes.plot(range(len(names)), truth, "D", color=COLOURS[1], markersize=6, label="truth")
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(unit_label(component.unit))
    axes.legend(fontsize=8)
    return made


def _scatter(graphs: MechanismGraphs, component: Component) -> Figure:
    """Told against true, where a mechanism is a picture or has many columns."""
    assert component.told is not None and component.truth is not None  # noqa: S101, PT018 - chosen by them
    told, truth = component.told, component.truth
    made, axes = _one(graphs, component, width=4.6, height=4.8)
    ends = [float(min(truth.min(), told.min())), float(max(truth.max(), told.max()))]
    axes.plot(ends, ends, color="0.5", linewidth=0.8, zorder=0)
    if not component.factor:
        sd = np.sqrt(graphs.held_out["part_variance"][:, component.index])
        axes.errorbar(truth[:_MOST_DOTS], told[:_MOST_DOTS], yerr=NINETY * sd[:_MOST_DOTS], fmt="none", ecolor="#0072B240", elinewidth=0.8)
    axes.plot(truth, told, ".", color=COLOURS[0], markersize=4)
    r2 = 1 - np.sum((truth - told) ** 2) / np.sum((truth - truth.mean()) ** 2)
    axes.set_title(f"R² {minus(f'{r2:.4f}')}, {len(truth)} held-out points", fontsize=9)
    axes.set_box_aspect(1)
    axes.set_xlabel(unit_label(component.unit, "truth, in the model's gauge"))
    axes.set_ylabel(unit_label(component.unit, "posterior mean" if component.factor else "posterior mean, 90 % interval"))
    return made


def _ordered(graphs: MechanismGraphs, component: Component) -> Figure:
    """Held-out points by what is told of them: how much the part varies, and how much of that is known."""
    assert component.told is not None  # noqa: S101 - chosen by it
    order = np.argsort(component.told)
    mean, share = component.told[order], np.linspace(0, 1, len(order))
    made, axes = _one(graphs, component)
    if not component.factor:
        sd = np.sqrt(graphs.held_out["part_variance"][order, component.index])
        axes.fill_between(share, mean - NINETY * sd, mean + NINETY * sd, color=COLOURS[0], alpha=0.25, linewidth=0, label="90 % interval")
    axes.plot(share, mean, color=COLOURS[0], label="posterior mean")
    axes.set_xlabel(f"held-out points, from the least to the greatest (share of {len(order)})")
    axes.set_ylabel(unit_label(component.unit))
    axes.legend(fontsize=8)
    return made


def _one(graphs: MechanismGraphs, component: Component, *, width: float = 5.6, height: float = 3.7) -> tuple[Figure, Axes]:
    made = figure(width, height, _title(graphs, component))
    return made, made.add_subplot()


def _title(graphs: MechanismGraphs, component: Component) -> str:
    gauge = ""
    if component.factor:
        gauge = "; mean square 1 over the training points"
    elif graphs.section.parts[component.index].centred:
        gauge = "; its mean over the training points is 0"
    return f"{graphs.name}: {component.name}{gauge}"
