"""From which length on classes are told apart."""

import numpy as np
import pytest

from training.scales.statistics.separability import separability

WINDOWS = np.array([4.0, 8.0, 16.0, 32.0])


def two_classes(distances, count=60, seed=0):
    """Latents (k, n, 2) of two classes whose means lie `distances` (k,) apart, sd 1."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], count)
    return rng.normal(size=(len(distances), 2 * count, 2)) + np.array(distances)[:, None, None] * labels[:, None] * np.array([1.0, 0.0]), labels


def test_classes_are_told_apart_from_the_length_at_which_they_stay_apart():
    latents, labels = two_classes([0, 2, 8, 8])
    found = separability(WINDOWS, latents, labels)
    assert found.accuracy[0] == pytest.approx(0.5, abs=0.15)
    assert found.accuracy[1] == pytest.approx(0.841, abs=0.06)  # Φ(1)
    assert found.accuracy[2:].tolist() == [1, 1]
    assert found.from_window == 16


def test_a_length_after_which_classes_mix_again_does_not_count():
    latents, labels = two_classes([8, 0, 8, 8])
    assert separability(WINDOWS, latents, labels).from_window == 16
    assert separability(WINDOWS, *two_classes([8, 8, 8, 0])).from_window == 0
    assert separability(WINDOWS, *two_classes([8, 8, 8, 8])).from_window == 4


def test_a_point_does_not_vote_for_its_own_class():
    # 0 lies nearer to 5, the mean with itself, than to the rival's 5.9, but farther from 10, its class without itself
    latents = np.array([[[0.0], [10.0], [5.8], [6.0]]])
    assert separability([1.0], latents, np.array([0, 0, 1, 1])).accuracy[0] == 0.5
    rng = np.random.default_rng(0)  # many latents for few points: with themselves in the mean all would be right
    noise = rng.normal(size=(1, 20, 200))
    assert separability([1.0], noise, np.repeat([0, 1], 10)).accuracy[0] < 0.8


def test_a_large_class_does_not_speak_for_a_small_one():
    latents = np.concatenate([np.zeros((1, 96, 1)), np.array([[[9.0], [-9.0], [9.0], [-9.4]]])], axis=1)
    assert separability([1.0], latents, np.repeat([0, 1], [96, 4])).accuracy[0] == 0.5


def test_points_without_a_label_are_left_out():
    latents, labels = two_classes([8])
    latents[0, ::7] = np.nan
    labels[::7] = -1
    assert separability([4.0], latents, labels).accuracy[0] == 1


@pytest.mark.parametrize(
    ("windows", "labels", "words"),
    [
        ([1.0, 2.0], [0, 0, 1, 1], "latents are"),
        ([1.0], [0, 0, 1], "latents are"),
        ([1.0], [0, 0, 0, 0], "two classes"),
        ([1.0], [0, 0, 0, 1], "of two points"),
    ],
)
def test_what_cannot_be_compared_is_refused(windows, labels, words):
    with pytest.raises(ValueError, match=words):
        separability(windows, np.zeros((1, 4, 2)), np.array(labels))


def test_lengths_ascend():
    with pytest.raises(ValueError, match="ascend"):
        separability([2.0, 1.0], np.zeros((2, 4, 2)), np.array([0, 0, 1, 1]))
