"""The weighted points that stand for where a mechanism's training latents lie: over them an orthogonal kernel's functions have mean zero."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from training.mechanism.structure import Array, Measure

# A new point costs one product with each; of latents that stand at fewer places, the measure is that of the training points itself.
MOST_POINTS = 64


def measure_of(latents: Array, *, seed: int, most: int = MOST_POINTS) -> Measure:
    """Of a mechanism's own training latents (N, d): each place by its share of them, or, of more than `most` places, k-means centres by theirs.

    A centre is the mean of its points, so that constant and linear functions have exactly the mean that they have over the training points.
    """
    places, counts = np.unique(latents, axis=0, return_counts=True)
    if len(places) <= most:
        return Measure(places, counts / len(latents))
    found = KMeans(most, n_init=1, random_state=seed).fit_predict(latents)
    counts = np.bincount(found, minlength=most)
    used = np.flatnonzero(counts)
    return Measure(np.stack([latents[found == index].mean(axis=0) for index in used]), counts[used] / len(latents))
