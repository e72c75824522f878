"""How well latents tell labelled points apart, against a loop that leaves one point out after another; and from which length on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dichroic.separability import FEWEST_POINTS, fewest_points, separability_of, separable_from, separation

NDArray = np.ndarray[Any, np.dtype[Any]]


def by_leaving_out(latents: NDArray, labels: NDArray) -> float:
    """Each point in turn: mean and spread of all others, class by class, and in whose distribution the point is most probable."""
    classes = [each for each in np.unique(labels) if each >= 0 and np.count_nonzero(labels == each) >= 2]
    size, shares = latents.shape[1], []
    for each in classes:
        right = 0
        for i in np.flatnonzero(labels == each):
            others = np.arange(len(labels)) != i
            told = [latents[others & (labels == c)].astype(float) for c in classes]
            squares = [((points - points.mean(axis=0)) ** 2).sum() for points in told]
            shared = sum(squares) / (size * sum(len(points) - 1 for points in told))
            spreads = [(own + 2 * size * shared) / (size * (len(points) - 1) + 2 * size) for own, points in zip(squares, told, strict=True)]
            scores = [
                -((latents[i].astype(float) - points.mean(axis=0)) ** 2).sum() / (2 * spread) - size / 2 * math.log(spread)
                for points, spread in zip(told, spreads, strict=True)
            ]
            best = max(scores)
            right += scores.count(best) == 1 and classes[scores.index(best)] == each
        shares.append(right / np.count_nonzero(labels == each))
    return float(np.mean(shares)) if len(classes) > 1 else math.nan


@pytest.mark.parametrize("seed", range(12))
def test_separability_is_that_of_a_loop_that_leaves_one_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(-1, 4, 25)
    labels[0] = 9  # a class of one point is left out
    latents = (random.standard_normal((25, 3)) * (1 + labels[:, None] % 3) + 0.8 * labels[:, None]).astype(np.float32)
    found = separability_of(latents, labels)
    assert found == pytest.approx(by_leaving_out(latents, labels), abs=1e-12)
    assert 0 < found <= 1


def test_a_class_all_around_another_one_is_told_from_it() -> None:
    random = np.random.default_rng(0)
    phase = random.uniform(0, 2 * np.pi, 40)
    ring = 2 * np.column_stack((np.cos(phase), np.sin(phase))) + 0.2 * random.standard_normal((40, 2))
    middle = 0.2 * random.standard_normal((40, 2))
    assert separability_of(np.concatenate((middle, ring)), np.repeat([0, 1], 40)) > 0.97


def test_latents_that_say_nothing_tell_nothing_apart() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], FEWEST_POINTS)
    found = np.array([separability_of(random.standard_normal((len(labels), 4)), labels) for _ in range(1000)])
    assert found.mean() == pytest.approx(0.5, abs=0.03)
    assert np.mean(found >= 0.9) < 0.005
    many = separability_of(random.standard_normal((20, 200)), np.repeat([0, 1], 10))  # with themselves in the mean all would be right
    assert many < 0.8


def test_a_large_class_does_not_speak_for_a_small_one() -> None:
    latents = np.concatenate([np.linspace(-1, 1, 96)[:, None], np.array([[0.9], [-0.9], [0.5], [-0.5]])])
    assert separability_of(latents, np.repeat([0, 1], [96, 4])) < 0.8


def test_separability_of_too_few_is_not_a_number_and_a_tie_is_an_error() -> None:
    assert math.isnan(separability_of(np.zeros((3, 1)), np.array([0, 0, 1])))
    assert math.isnan(separability_of(np.zeros((0, 1)), np.zeros(0, np.int64)))
    assert separability_of(np.ones((4, 1)), np.array([0, 0, 1, 1])) == 0
    assert separability_of(np.array([[0.0], [0], [1], [1]]), np.array([0, 0, 1, 1])) == 1


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_the_scale_of_the_latents_does_not_matter(factor: float) -> None:
    random = np.random.default_rng(2)
    latents, labels = random.standard_normal((30, 3)) + np.repeat([0, 1.5], 15)[:, None], np.repeat([0, 1], 15)
    assert separability_of(factor * latents, labels) == separability_of(latents, labels)


def test_the_length_from_which_on_is_the_least_of_those_up_to_the_greatest() -> None:
    windows, enough = np.array([1.0, 16, 4, 2, 8]), np.full(5, FEWEST_POINTS)
    assert separable_from(windows, np.array([1, 0.9, 0.95, 0.5, 1]), enough) == 4
    assert separable_from(windows, np.array([1, 0.89, 1, 1, 1]), enough) == 0
    assert separable_from(windows, np.array([1, 1, math.nan, 1, 1.0]), enough) == 8
    assert separable_from(windows, np.ones(5), enough) == 1


def test_over_windows_each_is_told_by_its_own_valid_points() -> None:
    random = np.random.default_rng(3)
    labels = np.append(np.repeat([0, 1], FEWEST_POINTS), [0, 1])
    apart = [random.standard_normal((len(labels), 2)) + far * labels[:, None] for far in (0.0, 9.0, 9.0)]
    valid = np.ones((3, len(labels)), bool)
    valid[1, -2:], apart[1][-2:] = False, np.nan
    accuracy, least = separation(np.array([4.0, 8, 16]), apart, valid, labels)
    assert accuracy[0] == separability_of(apart[0], labels)
    assert accuracy[1:].tolist() == [1, 1]
    assert least == 8
    valid[1, 0] = False  # one too few
    assert separation(np.array([4.0, 8, 16]), apart, valid, labels)[1] == 16


def test_few_points_are_told_apart_by_chance_and_so_not_at_all() -> None:
    windows, all_right = np.array([1.0, 2, 4]), np.ones(3)
    assert separable_from(windows, all_right, np.full(3, FEWEST_POINTS - 1)) == 0
    assert separable_from(windows, all_right, np.array([FEWEST_POINTS - 1, FEWEST_POINTS, 99])) == 2
    assert fewest_points(np.array([0, 0, 2, 2, 2, -1])) == 2
    assert fewest_points(np.array([-1])) == 0
