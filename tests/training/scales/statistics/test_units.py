"""V_j, A_j and KL_j of latents whose values are known."""

import numpy as np
import pytest

from training.scales.statistics.units import unit_use


def test_a_used_and_an_unused_unit_are_told_apart_by_their_variance():
    mean = np.stack([np.array([-1.0, 1.0] * 500), np.full(1000, 0.3), np.array([-0.099, 0.099] * 500), np.array([-0.101, 0.101] * 500)], axis=1)
    found = unit_use(mean, np.stack([np.full(1000, 0.5), *[np.ones(1000)] * 3], axis=1))
    assert found.variance == pytest.approx([1.0, 0.0, 0.009801, 0.010201])
    assert found.uncertainty == pytest.approx([0.25, 1.0, 1.0, 1.0])
    assert found.active.tolist() == [True, False, False, True]
    assert found.active_count == 2


def test_the_divergence_is_that_of_two_normal_distributions():
    mean, sd = np.array([[0.0, 2.0, 0.0]]), np.array([[1.0, 1.0, np.exp(-1)]])
    assert unit_use(mean, sd).divergence_nats == pytest.approx([0.0, 2.0, 0.5 * (np.exp(-2) - 1 + 2)])
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.4, 0.7, 400_000)
    sampled = np.mean(-0.5 * ((drawn - 0.4) / 0.7) ** 2 - np.log(0.7) + 0.5 * drawn**2)
    assert unit_use(np.array([[0.4]]), np.array([[0.7]])).divergence_nats[0] == pytest.approx(sampled, abs=5e-3)


@pytest.mark.parametrize(
    ("mean", "sd", "words"),
    [
        (np.zeros((3, 2)), np.ones((3, 1)), r"\(n, L\)"),
        (np.zeros((0, 2)), np.ones((0, 2)), "n ≥ 1"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "above 0"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "above 0"),
    ],
)
def test_what_is_no_posterior_is_refused(mean, sd, words):
    with pytest.raises(ValueError, match=words):
        unit_use(mean, sd)
