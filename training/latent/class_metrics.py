"""How well classes agree with labels that the fit did not have: accuracy after the best matching, ARI, NMI, used classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import comb

Array = np.ndarray[Any, np.dtype[Any]]

# A class that fewer of the images than this share of an even portion call most probable is not in use.
_USED_SHARE = 0.1


@dataclass(frozen=True)
class ClassAgreement:
    """Figures over all images.

    Attributes:
        accuracy: share of images in the class of their label; of classes found without labels, after the one-to-one matching that is best.
        adjusted_rand_index: 1 for equal partitions, 0 expected by chance.
        normalised_mutual_information: I / mean of both entropies, in [0, 1].
        used: classes that at least a tenth of an even portion of the images belongs to.
        matching: (K,) the label that each class stands for; −1 for a class left over.
        confusion: (labels, K) counts.
    """

    accuracy: float
    adjusted_rand_index: float
    normalised_mutual_information: float
    used: int
    matching: Array
    confusion: Array


def class_agreement(predicted: Array, labels: Array, class_count: int, *, matched: bool) -> ClassAgreement:
    """Compares the most probable class of each image with its label.

    Args:
        predicted: (n,) int64 in [0, class_count).
        labels: (n,) int64 >= 0.
        class_count: K.
        matched: classes were found without labels, so each may stand for any label; else class k is label k.
    """
    confusion = np.zeros((max(int(labels.max()) + 1, class_count if not matched else 0), class_count), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    matching = np.arange(class_count)
    if matched:
        matching = np.full(class_count, -1)
        rows, columns = linear_sum_assignment(-confusion)
        matching[columns] = rows
    right = sum(int(confusion[label, k]) for k, label in enumerate(matching) if label >= 0)
    used = used_classes(predicted, class_count)
    return ClassAgreement(
        accuracy=right / len(labels),
        adjusted_rand_index=_adjusted_rand_index(confusion),
        normalised_mutual_information=_normalised_mutual_information(confusion),
        used=used,
        matching=matching,
        confusion=confusion,
    )


def used_classes(predicted: Array, class_count: int) -> int:
    """Classes that at least a tenth of an even portion of the images (n,), by their most probable class, belongs to."""
    return int(np.sum(np.bincount(predicted, minlength=class_count) >= _USED_SHARE * len(predicted) / class_count))


def _adjusted_rand_index(confusion: Array) -> float:
    # Hubert and Arabie 1985: pairs together in both, against what the margins alone would give.
    together = comb(confusion, 2).sum()
    of_labels, of_classes = comb(confusion.sum(axis=1), 2).sum(), comb(confusion.sum(axis=0), 2).sum()
    expected = of_labels * of_classes / comb(confusion.sum(), 2)
    most = (of_labels + of_classes) / 2
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _normalised_mutual_information(confusion: Array) -> float:
    joint = confusion / confusion.sum()
    of_labels, of_classes = joint.sum(axis=1), joint.sum(axis=0)
    there = joint > 0
    mutual = float(np.sum(joint[there] * np.log(joint[there] / np.outer(of_labels, of_classes)[there])))
    entropies = [-float(np.sum(p[p > 0] * np.log(p[p > 0]))) for p in (of_labels, of_classes)]
    return 1.0 if sum(entropies) == 0 else float(np.clip(2 * mutual / sum(entropies), 0, 1))
