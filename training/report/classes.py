"""Classes of a joint or semi-supervised model: what each one draws, and how they agree with known labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import Array
from training.latent.class_metrics import class_agreement
from training.report.canvas import COLOURS, INTENSITY, bare, channel, figure, model_name, save, unit_label
from training.report.curves import POINT
from training.report.graphs import LatentGraphs
from training.report.settings import NOTHING_TOLD, Setting
from training.report.subjects import Subjects

_ACROSS = 8


def draw_class_gallery(
    graphs: LatentGraphs, folder: Path, probabilities: Array | None = None, settings: tuple[Setting, ...] = (NOTHING_TOLD,)
) -> list[Path]:
    """classes.png: what each class decodes to at the prior's mean content, in the canonical pose; nothing without classes.

    `probabilities` (n, K) of images: each class then says how many of them are its own, since a class that no image uses still has a picture.
    """
    names = graphs.latent.class_names
    if not names or not settings:
        return []
    setting, kind = settings[0], graphs.latent.output_kind
    content = np.zeros((len(names), graphs.latent.content_size))
    pictures = channel(graphs.decode(content, np.arange(len(names)), None, setting.conditions, setting.targets), 0, kind)
    columns = min(_ACROSS, len(names))
    rows = -(-len(names) // columns)
    width = 1.7 if kind == "images" else 2.2
    made = figure(width * columns + 1.6, 2.1 * rows + 0.5, f"{model_name(graphs)}: its classes at content 0, in the canonical pose{setting.words()}")
    shares = None if probabilities is None else np.bincount(probabilities.argmax(axis=1), minlength=len(names)) / len(probabilities)
    grid = made.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    low, high = float(pictures.min()), float(pictures.max())
    for index, axes in enumerate(grid.ravel()):
        if index >= len(names):
            axes.set_axis_off()
            continue
        if kind == "images":
            bare(axes).imshow(pictures[index], cmap=INTENSITY, vmin=low, vmax=high)
        else:
            axes.plot(pictures[index], color=COLOURS[0], linewidth=1.2)
            axes.set_xlabel(POINT)
        used = "" if shares is None else f"\n{shares[index]:.0%} of the {graphs.latent.input_kind}"
        axes.set_title(f"{index}: {names[index]}{used}", fontsize=8)
    if kind == "images":
        made.colorbar(grid[0, 0].images[0], ax=grid.ravel().tolist(), label=unit_label(graphs.drawn_unit, "pixel value"), shrink=0.8)
    else:
        made.supylabel(unit_label(graphs.drawn_unit), fontsize=9)
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
