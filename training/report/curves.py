"""Spectra as curves: one over another in the colour of what varies, measured beside drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from training.data.dataset import Array
from training.report.canvas import COLOURS, MEASURED, SEQUENCE

POINT = "point (index)"
_STYLES = ("-", "--", ":", "-.")


def draw_varied(axes: Axes, curves: Array, values: Array, ends: tuple[float, float]) -> ScalarMappable:
    """Curves (m, l) over their points, each in the colour of its value (m,) between `ends`; what a colour bar needs."""
    colours = ScalarMappable(Normalize(*ends), SEQUENCE)
    points = np.arange(curves.shape[1])
    lines = [np.stack([points, curve], axis=1) for curve in curves]
    axes.add_collection(LineCollection(lines, colors=colours.to_rgba(values), linewidths=1.1))
    axes.autoscale_view()
    return colours


def draw_named(axes: Axes, curves: Array, names: list[str]) -> None:
    """Curves (m, l) over their points with a legend, each with a colour and, after seven, a dash of its own."""
    for index, (curve, name) in enumerate(zip(curves, names, strict=True)):
        style = _STYLES[index // len(COLOURS) % len(_STYLES)]
        axes.plot(curve, style, color=COLOURS[index % len(COLOURS)], linewidth=1.2, label=name)
    axes.legend(fontsize=7)


def draw_pair(axes: Axes, measured: Array | None, drawn: Array) -> None:
    """A measured curve (l,), where there is one, in grey and wide, and what the model draws (l,) over it."""
    if measured is not None:
        axes.plot(measured, color=MEASURED, linewidth=2.2, label="measured")
    axes.plot(drawn, color=COLOURS[1], linewidth=1.0, label="drawn by the model")
