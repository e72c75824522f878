from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.dune.episodes import Episodes, Outcomes
from training.data.dune.lattice import bonds_at
from training.errors import InputError


def test_goals_are_as_far_as_in_the_published_setting() -> None:
    episodes = Episodes.drawn(10_000, 0)
    assert episodes.hops.mean() == pytest.approx(7.7, abs=0.15)
    assert episodes.hops.min() == 1
    goals = (episodes.goal_steps[:, None] @ episodes.neighbours)[:, 0]
    assert np.abs(goals).max() <= 15
    assert np.abs(goals).max() > 14
    # As likely in every direction, and on either sublattice.
    assert np.abs(goals.mean(axis=0)).max() < 0.25
    assert episodes.goal_steps.sum(axis=1).mean() == pytest.approx(0.5, abs=0.03)


def test_every_other_atom_of_the_view_is_as_likely_a_goal() -> None:
    episodes = Episodes.drawn(6000, 2, field_of_view_angstrom=(6.0, 6.0))
    near = episodes.hops == 1
    # Atoms within ±3 Å: three first neighbours always, of about 13 others.
    inside = 36 * 4 / (3 * math.sqrt(3) * 1.42**2) - 1
    assert near.mean() == pytest.approx(3 / inside, rel=0.1)
    shares = np.bincount(episodes.goal_steps[near].argmax(axis=1), minlength=3) / near.sum()
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)


def test_the_same_seed_gives_the_same_episodes_and_a_longer_set_begins_with_the_shorter() -> None:
    short, again, long, other = (Episodes.drawn(count, seed) for count, seed in ((700, 1), (700, 1), (1300, 1), (700, 2)))
    for name in ("neighbours", "goal_steps"):
        np.testing.assert_array_equal(getattr(short, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:700])
    assert not np.isin(short.neighbours[:, 0, 0], other.neighbours[:, 0, 0]).any()


def test_means_are_those_of_successes_with_their_standard_error() -> None:
    outcomes = Outcomes(np.array([True, True, False]), np.array([10.0, 14.0, 600.0]), np.array([1, 2, 3]))
    assert outcomes.success_rate == pytest.approx(2 / 3)
    assert outcomes.mean_seconds() == pytest.approx((12, 2))
    assert all(map(math.isnan, Outcomes(np.array([False]), np.array([600.0]), np.array([9])).mean_seconds()))


def test_episodes_that_are_none_are_refused() -> None:
    bonds = bonds_at(np.zeros(2))
    cases = (
        (lambda: Episodes(bonds, np.array([[1, 1, 0], [0, 0, 0]])), "INVALID_OPTION"),
        (lambda: Episodes(bonds[:1], np.zeros((2, 3), np.int64)), "UNSUPPORTED_SHAPE"),
        (lambda: Episodes.drawn(0, 1), "INVALID_OPTION"),
        (lambda: Episodes.drawn(3, 1, field_of_view_angstrom=(30.0, 15.0)), "INVALID_OPTION"),
        (lambda: Episodes.drawn(3, 1, bond_length=1.0), "INVALID_OPTION"),
    )
    for make, reason in cases:
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.reason == reason
