"""Classes of a joint or semi-supervised model: what each one draws, and how they agree with known labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import Array
from training.latent.class_metrics import class_agreement
from training.report.canvas import INTENSITY, bare, channel, figure, model_name, save, unit_label
from training.report.graphs import LatentGraphs
from training.report.subjects import Subjects

_ACROSS = 8


def draw_class_gallery(graphs: LatentGraphs, folder: Path, probabilities: Array | None = None) -> list[Path]:
    """classes.png: the image that each class decodes to at the prior's mean content, in the canonical pose; nothing without classes.

    `probabilities` (n, K) of images: each class then says how many of them are its own, since a class that no image uses still has a picture.
    """
    names = graphs.latent.class_names
    if not names:
        return []
    content = np.zeros((1, graphs.latent.content_size))
    pictures = [channel(graphs.decode(content, index), 0)[0] for index in range(len(names))]
    columns = min(_ACROSS, len(names))
    rows = -(-len(names) // columns)
    made = figure(1.7 * columns + 1.6, 2.1 * rows + 0.5, f"{model_name(graphs)}: its classes at content 0, in the canonical pose")
    shares = None if probabilities is None else np.bincount(probabilities.argmax(axis=1), minlength=len(names)) / len(probabilities)
    grid = made.subplots(rows, columns, squeeze=False)
    low, high = min(float(picture.min()) for picture in pictures), max(float(picture.max()) for picture in pictures)
    for index, axes in enumerate(grid.ravel()):
        bare(axes)
        if index < len(names):
            shown = axes.imshow(pictures[index], cmap=INTENSITY, vmin=low, vmax=high)
            used = "" if shares is None else f"\n{shares[index]:.0%} of the images"
            axes.set_title(f"{index}: {names[index]}{used}", fontsize=8)
    made.colorbar(shown, ax=grid.ravel().tolist(), label=unit_label(graphs.preprocessing.unit, "pixel value"), shrink=0.8)
    return [save(made, folder / "classes.png")]


def draw_confusion(graphs: LatentGraphs, subjects: Subjects, encoded: dict[str, Array], folder: Path) -> list[Path]:
    """confusion.png: counts of labels and most probable classes; classes found without labels stand under the label they match best."""
    if "class_probabilities" not in encoded or subjects.labels is None:
        return []
    names, probabilities = graphs.latent.class_names, encoded["class_probabilities"]
    joint = graphs.latent.class_source == "joint"
    found = class_agreement(probabilities.argmax(axis=1), subjects.labels, len(names), matched=joint)
    order = sorted(range(len(names)), key=lambda k: (found.matching[k] < 0, found.matching[k]))
    counts = found.confusion[:, order]
    how = "after the best one-to-one matching" if joint else "class is label"
    made = figure(0.9 * len(names) + 3.0, 0.8 * len(counts) + 2.2, f"{model_name(graphs)}: {found.accuracy:.1%} right ({how})\n{subjects.name}")
    axes = made.add_subplot()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap=INTENSITY, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        dark = count < 0.5 * max(counts[row].sum(), 1)
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    labels = [subjects.classes[k] if k < len(subjects.classes) else str(k) for k in range(len(counts))]
    # A class that no image uses is matched with what is left over, which says nothing.
    matched = [joint and found.matching[k] >= 0 and found.confusion[found.matching[k], k] > 0 for k in order]
    told = [f"{names[k]} (as {labels[found.matching[k]]})" if real else names[k] for k, real in zip(order, matched, strict=True)]
    axes.set_xticks(range(len(names)), told, rotation=30, ha="right")
    axes.set_yticks(range(len(counts)), labels)
    axes.set_xlabel("most probable class (numbers: images; colour: share of the row)")
    axes.set_ylabel("label")
    return [save(made, folder / "confusion.png")]
