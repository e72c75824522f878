from __future__ import annotations

import numpy as np
import pytest

from training.mechanism.reference_measure import measure_of


def test_few_places_are_the_measure_with_their_shares() -> None:
    latents = np.eye(3)[[0, 0, 1, 2, 0, 1]]
    found = measure_of(latents, seed=0)
    assert len(found.points) == 3
    for point, weight in zip(found.points, found.weights, strict=True):
        assert weight == pytest.approx([3 / 6, 2 / 6, 1 / 6][int(point.argmax())])


def test_many_places_are_64_centres_with_the_mean_of_all_points_and_nearly_their_averages() -> None:
    latents = np.random.default_rng(0).random((2000, 2))
    found = measure_of(latents, seed=0)
    assert found.points.shape == (64, 2)
    assert found.weights.sum() == pytest.approx(1)
    assert np.allclose(found.weights @ found.points, latents.mean(axis=0), atol=1e-12)
    wave = lambda z: np.sin(2 * np.pi * z[:, 0]) * np.cos(2 * np.pi * z[:, 1]) + z[:, 0] ** 2  # noqa: E731
    assert found.weights @ wave(found.points) == pytest.approx(wave(latents).mean(), abs=0.01)


def test_the_same_seed_gives_the_same_measure() -> None:
    latents = np.random.default_rng(0).normal(size=(300, 3))
    first, second = (measure_of(latents, seed=4) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.weights, second.weights)
