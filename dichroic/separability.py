"""How well latents tell labelled points apart, and from which window length on. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NDArray = np.ndarray[Any, np.dtype[Any]]

# Classes are told apart from this balanced accuracy on.
SEPARABLE = 0.9
# Points of every class from which on that is said: latents that say nothing reach SEPARABLE once in a thousand times then.
FEWEST_POINTS = 8
# The spread that all classes share counts as much as so many points of a class's own.
_SHARED_POINTS = 2
# Of the whole variance: below it points of a class count as equal.
_ROUNDING = 1e-12


def separability_of(latents: NDArray, labels: NDArray) -> float:
    """Leave-one-out balanced accuracy of one round normal distribution for each class, in [0, 1]; 1/classes by chance.

    Point i is compared with what the other points say of every class c: their mean m_c and spread s_c, of d latents

        i is of the c with the greatest  −‖z_i − m_c‖²/(2 s_c²) − d ln s_c,    s_c² = (S_c + 2d s²)/(d (n_c − 1) + 2d)

    with S_c the sum of squared distances from m_c and s² the same mean over all classes. So a class that lies all around another one, as stripes'
    phases lie around a place without stripes, is told from it, which the nearest mean would not do; classes of few points have the spread of all.
    The accuracy is the mean over classes of the share of points that are found right; a tie is an error.

    Args:
        latents: (n, d) finite, unit 1.
        labels: (n,) int64, −1: left out; classes of one point are left out too.

    Returns:
        The accuracy; NaN where fewer than two classes have two points.
    """
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = (counts >= 2) & (classes >= 0)
    if np.count_nonzero(kept) < 2:
        return float("nan")
    points = latents[kept[index]].astype(np.float64)
    own = (np.cumsum(kept) - 1)[index[kept[index]]]
    size, rows = points.shape[1], np.arange(len(points))
    number = np.tile(counts[kept].astype(np.float64), (len(points), 1))  # (n, C), of each class without the point itself
    means = np.stack([points[own == each].mean(axis=0) for each in range(number.shape[1])])
    distance = ((points[:, None, :] - means) ** 2).sum(axis=2)
    within = np.bincount(own, weights=distance[rows, own])
    # Without point i its class's mean moves away from it, by n/(n − 1) of the distance, and its class's squares lose n/(n − 1) of the square.
    ratio = number[rows, own] / (number[rows, own] - 1)
    squares = np.tile(within, (len(points), 1))
    squares[rows, own] -= ratio * distance[rows, own]
    distance[rows, own] *= ratio**2
    number[rows, own] -= 1
    least = _ROUNDING * max(float(points.var(axis=0).sum()), np.finfo(np.float64).tiny / _ROUNDING)
    shared = squares.sum(axis=1, keepdims=True) / (size * np.maximum((number - 1).sum(axis=1, keepdims=True), 1))
    spread = (squares + _SHARED_POINTS * size * shared) / (size * (number - 1 + _SHARED_POINTS))
    spread = np.maximum(spread, least)
    score = -distance / (2 * spread) - size / 2 * np.log(spread)
    mine = score[rows, own].copy()
    score[rows, own] = -np.inf
    right = mine > score.max(axis=1)
    return float(np.mean([right[own == each].mean() for each in range(len(means))]))


def separation(windows: NDArray, latents: Sequence[NDArray], valid: NDArray, labels: NDArray) -> tuple[NDArray, float]:
    """Of k windows about n points.

    Args:
        windows: (k,) lengths, in any order and unit.
        latents: k times (n, d), finite where valid.
        valid: (k, n) bool.
        labels: (n,) int64, −1: not known.

    Returns:
        `separability_of` the valid points of each, (k,), and `separable_from` of them.
    """
    accuracy = np.array([separability_of(each[rows], labels[rows]) for each, rows in zip(latents, valid, strict=True)])
    return accuracy, separable_from(windows, accuracy, np.array([fewest_points(labels[rows]) for rows in valid]))


def separable_from(windows: NDArray, separability: NDArray, fewest: NDArray) -> float:
    """The least window from which on, up to the greatest, separability is at least SEPARABLE, of FEWEST_POINTS of every class; 0: there is none.

    Args:
        windows: (k,) lengths, in any order and unit.
        separability: (k,) of each, NaN where not known.
        fewest: (k,) points of the smallest class at each.
    """
    least = 0.0
    for index in np.argsort(windows)[::-1]:
        if fewest[index] < FEWEST_POINTS or not separability[index] >= SEPARABLE:  # also true for NaN
            break
        least = float(windows[index])
    return least


def fewest_points(labels: NDArray) -> int:
    """Of the smallest class, of those that have a point; 0 without any."""
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    return int(counts.min()) if len(counts) else 0
