"""The bound against the epoch: how a fit went, from the bundle's history.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from training.data.dataset import Array
from training.latent.history import History
from training.report.canvas import COLOURS, figure, model_name, save
from training.report.graphs import LatentGraphs

# The first epochs of a fit lie far above the rest; beyond this multiple of the rest's range they are left outside the axes, and the title says so.
_HEADROOM = 1.0


def draw_bound(graphs: LatentGraphs, history: History, folder: Path) -> Path:
    """elbo.png: −ELBO and reconstruction on the left, the KL parts on the right, each against the epoch.

    Taught epochs are shaded; of several fits in turn, each is named where it begins.
    """
    made = figure(9.6, 3.9, f"{model_name(graphs)}: the bound during the fit")
    bound, parts = made.subplots(1, 2)
    epochs, kind = history.epochs, graphs.latent.input_kind
    told = [
        (bound, f"−ELBO (β = 1), training {kind}, mean over the epoch", [epoch.negative_elbo for epoch in epochs], "-", 0),
        (bound, f"reconstruction, training {kind}", [epoch.reconstruction for epoch in epochs], ":", 5),
        (bound, f"−ELBO, sample of validation {kind}, after each epoch", [epoch.validation for epoch in epochs], "--", 1),
        (parts, "KL of pose", [epoch.pose_kl for epoch in epochs], "-", 2),
        (parts, "KL of content", [epoch.content_kl for epoch in epochs], "--", 3),
        (parts, "KL of class and angle bin", [epoch.discrete_kl for epoch in epochs], ":", 4),
    ]
    number = np.array([epoch.epoch for epoch in epochs])
    for axes, label, found, line, colour in told:
        values = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        if np.any(np.nan_to_num(values) != 0):  # a part that the model does not have is 0 throughout
            # One epoch alone has no line.
            axes.plot(number, values, line, marker="" if np.isfinite(values).sum() > 1 else "o", color=COLOURS[colour], label=label)
    bound.set_title(f"the bound{_cut(bound)}")
    parts.set_title("its KL parts, before any weight β")
    for axes in (bound, parts):
        _finish(axes, history, "image" if kind == "images" else "spectrum")
    return save(made, folder / "elbo.png")


def shown_range(values: Array) -> tuple[float, float] | None:
    """The axis' ends for values (n,) of which the first may lie far above the rest; None: all fit.

    The later nine tenths of the values set the scale.
    """
    finite = values[np.isfinite(values)]
    later = finite[len(finite) // 10 :]
    if len(later) < 3:
        return None
    low, high = float(finite.min()), float(later.max())
    top = high + _HEADROOM * (high - low)
    margin = 0.05 * (high - low)
    return (low - margin, high + margin) if finite.max() > top else None


def _cut(axes: Axes) -> str:
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    ends = [found for found in map(shown_range, lines) if found is not None]
    if not ends:
        return ""
    lows = [float(np.nanmin(values)) for values in lines]
    high = max(end[1] for end in ends)
    low = min(lows)
    axes.set_ylim(low - 0.05 * (high - low), high)
    return " (the first ones lie above)"


def _finish(axes: Axes, history: History, what: str) -> None:
    last = history.epochs[-1].epoch
    axes.set_xlim(0.5, last + 0.5)
    if history.taught_epochs:
        axes.axvspan(0.5, history.taught_epochs + 0.5, color="0.92", zorder=0, label="encoder taught first, no bound yet")
    for leg in history.legs:
        axes.axvline(leg.epoch - 0.5, color="0.6", linewidth=0.8)
        axes.text(leg.epoch, 0.98, leg.name, transform=axes.get_xaxis_transform(), fontsize=7, color="0.35", va="top")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"nats per {what}")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.18))
