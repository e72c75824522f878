"""The distribution of errors, with the novelty threshold where the bundle has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.report.answers import Answers
from training.report.canvas import COLOURS, figure, model_name, save
from training.report.graphs import LatentGraphs
from training.report.subjects import Subjects


def draw_errors(graphs: LatentGraphs, subjects: Subjects, answers: Answers, folder: Path) -> list[Path]:
    """errors.png: histogram of the error with the bundle's novelty threshold, where it has one; nothing without errors."""
    if answers.error is None:
        return []
    what = "prediction" if graphs.translates else "reconstruction"
    made = figure(6.4, 3.8, f"{model_name(graphs)}: {what} error of {subjects.name}{subjects.at_own_conditions}")
    axes = made.add_subplot()
    # Errors may span decades; an error of exactly zero (a constant image) would have no place on the axis.
    positive = np.maximum(answers.error.astype(np.float64), 1e-12)
    low, high = float(positive.min()) * 0.98, float(positive.max()) * 1.02
    decades = high > 10 * low
    bins = (np.geomspace if decades else np.linspace)(low, high, 50).tolist()
    axes.hist(positive, bins=bins, color=COLOURS[0], label=f"{len(positive)} {graphs.latent.input_kind}")
    threshold, rate = graphs.latent.novelty_threshold, graphs.latent.novelty_false_alarm_rate
    if threshold is not None and rate is not None and not graphs.translates:
        share = float(np.mean(answers.error > threshold))
        label = f"threshold {threshold:.3g}: {share:.1%} of these lie above,\n{rate:.1%} of the held-out {graphs.latent.input_kind} did"
        axes.axvline(threshold, color=COLOURS[1], linestyle="--", label=label)
    axes.set_xscale("log" if decades else "linear")
    axes.set_xlabel(answers.error_meaning)
    axes.set_ylabel(graphs.latent.input_kind)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))
    return [save(made, folder / "errors.png")]
