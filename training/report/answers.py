"""What the model says of the subjects: latents, what it draws, how far that is from what was measured, and the targets it tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.report.canvas import unit_label
from training.report.graphs import LatentGraphs
from training.report.subjects import Subjects, in_unit


@dataclass(frozen=True)
class Answers:
    """One row for each subject.

    Attributes:
        encoded: by the names of encode's outputs.
        drawn: (n, h, w[, c]) or (n, l[, c]) in the drawn unit: the reconstruction, or the output predicted at the posterior mean.
        measured: what `drawn` should be, in the same unit; None where the data does not hold it.
        error: (n,) of `drawn`; None without `measured`.
        error_meaning: what `error` is, with its unit.
        target_mean: (n, t) in the targets' units; None for a model without targets.
        target_sd: goes with it.
    """

    encoded: dict[str, Array]
    drawn: Array
    measured: Array | None
    error: Array | None
    error_meaning: str
    target_mean: Array | None = None
    target_sd: Array | None = None


def answer(graphs: LatentGraphs, subjects: Subjects) -> Answers:
    """Asks the graphs, each image or spectrum at its own conditions."""
    encoded = graphs.encode(subjects.values, subjects.conditions)
    told = graphs.regress(subjects.values) if graphs.latent.targets else {}
    targets = (told.get("target_mean"), told.get("target_sd"))
    if not graphs.translates:
        found = graphs.reconstruct(subjects.values, subjects.conditions)
        meaning = "error: mean squared difference, input range scaled to 1 (unit 1)"
        return Answers(encoded, found["reconstruction"], in_unit(graphs, subjects.values), found["error"], meaning, *targets)
    drawn = predicted(graphs, subjects, encoded, targets[0])
    meaning = unit_label(graphs.drawn_unit, "error: root mean square difference of predicted and measured")
    if subjects.outputs is None:
        return Answers(encoded, drawn, None, None, meaning, *targets)
    squares = np.square(drawn - subjects.outputs, dtype=np.float64)
    error = np.sqrt(squares.mean(axis=tuple(range(1, squares.ndim))))
    return Answers(encoded, drawn, subjects.outputs, error, meaning, *targets)


def predicted(graphs: LatentGraphs, subjects: Subjects, encoded: dict[str, Array], targets: Array | None) -> Array:
    """What is decoded from what was encoded, the most probable class and the targets' means: what a reconstruct graph would give."""
    rows = len(subjects.values)
    content = encoded.get("content", np.zeros((rows, 0), np.float32))
    pose: dict[str, Array] = {name: encoded[name] for name in ("angle_rad", "scale", "shift_down_px", "shift_right_px") if name in encoded}
    classes = encoded["class_probabilities"].argmax(axis=1) if "class_probabilities" in encoded else 0
    return graphs.decode(content, classes, pose, subjects.conditions, targets)
