"""Energy distance of samples whose distributions are known."""

import math

import numpy as np
import pytest

from training.scales.statistics.energy import energy_distance


def expected_absolute(mean, sd):
    """E|Z| of N(mean, sd²)."""
    return sd * math.sqrt(2 / math.pi) * math.exp(-((mean / sd) ** 2) / 2) + mean * math.erf(mean / sd / math.sqrt(2))


@pytest.mark.parametrize(("shift", "sd"), [(0.0, 2.0), (1.0, 1.0), (3.0, 0.5)])
def test_two_normal_distributions_lie_as_far_apart_as_they_do(shift, sd):
    rng = np.random.default_rng(0)
    found = energy_distance(rng.normal(size=(3000, 1)), rng.normal(shift, sd, (3000, 1)))
    between = expected_absolute(shift, math.sqrt(1 + sd**2))
    assert found.between == pytest.approx(between, rel=0.05)
    assert found.within_first == pytest.approx(2 / math.sqrt(math.pi), rel=0.05)
    assert found.unbiased == pytest.approx(2 * between - 2 / math.sqrt(math.pi) * (1 + sd), abs=0.12)
    assert found.distance == pytest.approx(math.sqrt(found.unbiased))
    assert 0 < found.coefficient <= 1


def test_like_samples_lie_at_nought_on_average_and_the_biased_form_above_it_by_its_bias():
    unbiased, biased = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = energy_distance(rng.normal(size=(40, 3)), rng.normal(size=(60, 3)))
        unbiased.append(found.unbiased)
        biased.append(found.biased)
    typical = 2 * math.sqrt(2) * math.sqrt(2 / math.pi)  # E|N(0, 2 I)| in three dimensions
    assert np.mean(unbiased) == pytest.approx(0, abs=4 * np.std(unbiased) / math.sqrt(60))
    assert min(unbiased) < 0 < min(biased)
    assert np.mean(biased) - np.mean(unbiased) == pytest.approx(typical * (1 / 40 + 1 / 60), rel=0.05)


def test_pieces_give_what_all_pairs_at_once_would():
    rng = np.random.default_rng(1)
    x, y = rng.normal(1000, 1, (700, 4)), rng.normal(1000.5, 1, (1100, 4))  # several pieces, far from 0

    def mean(a, b, pairs):
        return np.linalg.norm(a[:, None, :] - b[None, :, :], axis=2).sum() / pairs

    found = energy_distance(x, y)
    assert found.between == pytest.approx(mean(x, y, 700 * 1100), rel=1e-9)
    assert found.within_first == pytest.approx(mean(x, x, 700 * 699), rel=1e-9)
    assert found.within_second == pytest.approx(mean(y, y, 1100 * 1099), rel=1e-9)


def test_turning_both_samples_changes_nothing_and_scaling_scales_all_but_the_coefficient():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(200, 3)), rng.normal(0.5, 1, (250, 3))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    plain, turned, scaled = energy_distance(x, y), energy_distance(x @ q, y @ q), energy_distance(3 * x, 3 * y)
    assert turned.unbiased == pytest.approx(plain.unbiased)
    assert scaled.unbiased == pytest.approx(3 * plain.unbiased)
    assert scaled.coefficient == pytest.approx(plain.coefficient)


def test_points_that_are_all_one_lie_nowhere_apart():
    found = energy_distance(np.ones((5, 2)), np.ones((7, 2)))
    assert (found.unbiased, found.biased, found.distance, found.coefficient) == (0, 0, 0, 0)
    apart = energy_distance(np.zeros((5, 1)), np.ones((7, 1)))
    assert (apart.unbiased, apart.biased, apart.coefficient) == pytest.approx((2, 2, 1))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (np.zeros((5, 2)), np.zeros((5, 3)), "samples"),
        (np.zeros((1, 2)), np.zeros((5, 2)), "two rows"),
        (np.zeros(5), np.zeros((5, 1)), "samples"),
        (np.full((5, 1), np.nan), np.zeros((5, 1)), "not finite"),
    ],
)
def test_what_are_no_samples_is_refused(first, second, words):
    with pytest.raises(ValueError, match=words):
        energy_distance(first, second)
