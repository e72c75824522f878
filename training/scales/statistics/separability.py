"""From which window length on labelled points can be told apart by their latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array

# Balanced accuracy at which classes count as told apart.
TOLD_APART = 0.9


@dataclass(frozen=True)
class Separability:
    """Over k window lengths.

    Attributes:
        window: (k,) ascending, the caller's unit of length.
        accuracy: (k,) balanced accuracy, leaving one out, in [0, 1]; 1/classes by chance.
        from_window: the least window from which on, at every longer one too, accuracy is at least 0.9; 0: there is none.
    """

    window: Array
    accuracy: Array
    from_window: float


def separability(window: Array, latents: Array, labels: Array) -> Separability:
    """Nearest class mean over the lengths, each point left out of its own class's mean.

    Without point i the mean of its class of n_c lies n_c/(n_c − 1) times as far from it as the whole mean; a tie is no hit. Balanced: the mean over
    the classes of the share of hits, so that a large class does not speak for a small one.

    Args:
        window: (k,) ascending.
        latents: (k, n, L) posterior means, unit 1.
        labels: (n,) integer; below 0: unlabelled, left out.

    Raises:
        ValueError: other shapes, lengths that do not ascend, fewer than two classes, or a class with one point (no mean is left of it).
    """
    lengths, found = np.asarray(window, np.float64), np.asarray(latents, np.float64)
    if found.ndim != 3 or len(found) != len(lengths) or found.shape[1] != len(labels):
        raise ValueError(f"latents are (k, n, L) for {len(lengths)} windows and {len(labels)} labels, not {found.shape}")
    if (np.diff(lengths) <= 0).any():
        raise ValueError("window lengths ascend")
    known = np.asarray(labels) >= 0
    classes, index, counts = np.unique(np.asarray(labels)[known], return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(f"two classes or more of two points or more are compared, not classes {classes.tolist()} of {counts.tolist()} points")
    accuracy = np.array([_accuracy(each[known], index, counts) for each in found])
    lost = np.flatnonzero(accuracy < TOLD_APART)
    first = int(lost[-1]) + 1 if lost.size else 0
    return Separability(lengths, accuracy, float(lengths[first]) if first < len(lengths) else 0.0)


def _accuracy(points: Array, index: Array, counts: Array) -> float:
    means = np.stack([points[index == each].mean(axis=0) for each in range(len(counts))])
    distance = np.linalg.norm(points[:, None, :] - means[None, :, :], axis=2)
    rows = np.arange(len(points))
    own = distance[rows, index] * counts[index] / (counts[index] - 1)
    distance[rows, index] = np.inf
    hits = own < distance.min(axis=1)
    return float(np.mean([hits[index == each].mean() for each in range(len(counts))]))
