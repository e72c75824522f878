"""Whether P(hop) is what it says, and what becomes of the atom as a dwell grows longer: its first hop, and where it is at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binom

from training.data.dataset import Array
from training.data.dune.truth import first_hop_probabilities, outcome_probabilities
from training.report.canvas import COLOURS, figure, save
from training.report.transition_graphs import TransitionGraphs

_POINTS = 121
# Dwells are drawn to this times the longest in training.
_BEYOND = 1.5
_TRUE = {"color": "0.15", "linewidth": 1.0, "linestyle": (0, (1, 1.5))}


def draw_hop_calibration(graphs: TransitionGraphs, folder: Path) -> list[Path]:
    """hop_calibration.png: told against observed P(hop) on held-out transitions, and how many there are of each."""
    told = graphs.manifest.calibration.hop_calibration
    assert told is not None  # noqa: S101 - the manifest refuses such a bundle
    predicted, observed, count = (np.array([getattr(each, name) for each in told.bins]) for name in ("predicted", "observed", "count"))
    made = figure(5.4, 5.6, f"{graphs.name}: P(hop) on held-out transitions: {told.split}")
    upper, lower = made.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    low, high = (binom.ppf(end, count, predicted) / count for end in (0.025, 0.975))
    upper.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
    upper.vlines(predicted, low, high, color="0.78", linewidth=6, label="chance, 95 % of sets as large")
    upper.plot(predicted, observed, "o-", color=COLOURS[1], markersize=4, linewidth=1, label="this model")
    upper.set_title(f"off by {told.expected_calibration_error:.4f} in the mean", fontsize=9)
    upper.set_ylabel("share that hopped")
    upper.legend(fontsize=8, loc="upper left")
    lower.bar(predicted, count, width=0.03, color=COLOURS[0])
    lower.set_yscale("log")
    lower.set_ylabel("transitions")
    lower.set_xlabel("P(hop) as told")
    highest = min(1.0, 1.1 * float(max(predicted.max(), observed.max(), high.max())))
    upper.set_xlim(0, highest)
    upper.set_ylim(0, highest)
    return [save(made, folder / "hop_calibration.png")]


def draw_outcomes(graphs: TransitionGraphs, folder: Path) -> list[Path]:
    """outcomes.png: rates along a bond, and at their peak what happens in a dwell of any length."""
    made = figure(9.8, 4.0, f"{graphs.name}: along a bond, and what becomes of the atom, {graphs.setting}")
    left, right = made.subplots(1, 2)
    peak = _along_bond(left, graphs)
    _with_time(right, graphs, peak)
    return [save(made, folder / "outcomes.png")]


def _along_bond(axes: Axes, graphs: TransitionGraphs) -> float:
    """Draws the rates for beams on the line through the atom and neighbour 1; returns where the hop there is fastest, Å from the atom."""
    radius = graphs.section.beam_radius_angstrom
    at = np.linspace(-radius, radius, _POINTS)
    beam = _on_bond(graphs, at)
    told = graphs.ask("predict", beam, np.full(_POINTS, graphs.section.dwell_s.high))
    true = graphs.true_rates(beam)
    for hop, (what, colour) in enumerate((("to neighbour 1", COLOURS[1]), ("to neighbours 2 and 3", COLOURS[0]))):
        _band(axes, at, told["rates_mean"][:, hop], told["rates_sd"][:, hop], colour=colour, what=what)
        if true is not None:
            axes.plot(at, true[:, hop], **_TRUE, label="truth" if hop else None)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(graphs.section.bond_length_angstrom, color="0.8", linewidth=0.8, zorder=0)
    top = axes.get_ylim()[1]
    axes.set_ylim(0, 1.35 * top)
    for place, name in ((0.0, "Si"), (graphs.section.bond_length_angstrom, "C 1")):
        axes.text(place, 1.34 * top, name, ha="center", va="top", fontsize=8, color="0.4", backgroundcolor="white")
    axes.set_xlabel("beam on the line to neighbour 1 (Å from the atom)")
    axes.set_ylabel("rate (1/s), ± 2 sd")
    axes.legend(fontsize=8, loc="upper left", handlelength=1.2, borderaxespad=0)
    return float(at[int(np.argmax(told["rates_mean"][:, 0]))])


def _with_time(axes: Axes, graphs: TransitionGraphs, peak: float) -> None:
    longest = graphs.section.dwell_s.high
    dwell = np.linspace(0, _BEYOND * longest, _POINTS)
    beam = _on_bond(graphs, np.full(_POINTS, peak))
    told = graphs.ask("predict", beam, dwell)
    end, first = told["occupancy_mean"], told["first_hop_mean"]
    elsewhere = 1 - end[:, :2].sum(axis=1)
    lines = (("at its place", end[:, 0], first[:, 0], COLOURS[6]), ("at neighbour 1", end[:, 1], first[:, 1], COLOURS[1]))
    for what, at_end, of_first, colour in (*lines, ("anywhere else", elsewhere, None, COLOURS[2])):
        axes.plot(dwell, at_end, color=colour, label=f"{what} at the end")
        if of_first is not None:
            axes.plot(
                dwell, of_first, color=colour, linestyle="--", linewidth=1.0, label="no hop" if colour == COLOURS[6] else "first hop to neighbour 1"
            )
    if graphs.truth is not None:
        _draw_truth(axes, graphs, beam, dwell)
    axes.axvspan(longest, dwell[-1], color="0.93", linewidth=0, zorder=0)
    axes.text(longest, 0.95, " longer than trained", fontsize=8, color="0.4")
    axes.set_title(f"beam {abs(peak):.2f} Å from the atom, {'towards' if peak >= 0 else 'away from'} neighbour 1", fontsize=9)
    axes.set_xlim(0, dwell[-1])
    axes.set_ylim(0, 1)
    axes.set_xlabel("dwell (s)")
    axes.set_ylabel("probability")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _draw_truth(axes: Axes, graphs: TransitionGraphs, beam: Array, dwell: Array) -> None:
    assert graphs.truth is not None  # noqa: S101 (its only caller asks)
    asked = beam, np.tile(graphs.neighbours, (len(beam), 1, 1)), dwell, graphs.contexts(len(beam))
    end, first = outcome_probabilities(graphs.truth, *asked), first_hop_probabilities(graphs.truth, *asked)
    for index, values in enumerate((end[:, 0], end[:, 1], end[:, 4] + end[:, 2] + end[:, 3], first[:, 0], first[:, 1])):
        axes.plot(dwell, values, **_TRUE, label=None if index else "truth")


def _on_bond(graphs: TransitionGraphs, at: Array) -> Array:
    """Beams (n, 2) so many Å from the atom towards neighbour 1."""
    return at[:, None] * graphs.neighbours[0] / np.linalg.norm(graphs.neighbours[0])


def _band(axes: Axes, at: Array, mean: Array, sd: Array, *, colour: str, what: str) -> None:
    axes.fill_between(at, np.maximum(mean - 2 * sd, 0), mean + 2 * sd, color=colour, alpha=0.25, linewidth=0)
    axes.plot(at, mean, color=colour, label=what)
