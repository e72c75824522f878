from __future__ import annotations

import numpy as np
import pytest

from training.data.places import by_group, held_out_points
from training.errors import InputError


def test_groups_are_held_out_whole_until_their_share_is_reached() -> None:
    group = np.repeat(np.arange(10), 7)
    held, how = held_out_points({"y": np.zeros(70), "group": group}, 0.25, seed=0)
    assert how == "held-out groups"
    shares = [held[group == name].mean() for name in range(10)]
    assert set(shares) == {0.0, 1.0}
    assert sum(shares) == 3  # 21 of 70: the first sum of whole groups that is a quarter or more


def test_groups_may_be_words_and_of_different_sizes() -> None:
    group = np.array(["a"] * 30 + ["b"] * 10 + ["c"] * 10)
    held = by_group(group, 0.3, np.random.default_rng(0))
    assert {len(set(held[group == name])) for name in "abc"} == {1}
    assert 0 < held.sum() < 50


def test_one_group_is_always_left_to_train_on() -> None:
    group = np.repeat([0, 1], 20)
    assert by_group(group, 0.89, np.random.default_rng(0)).sum() == 20


def test_blocks_of_the_plane_are_held_out_whole() -> None:
    rng = np.random.default_rng(0)
    place = rng.random((400, 2)) * (12.0, 3.0)
    held, how = held_out_points({"y": np.zeros(400), "position_um": place}, 0.2, seed=1)
    assert "blocks of the plane" in how
    low, extent = place.min(axis=0), np.ptp(place, axis=0)
    cell = np.minimum((6 * (place - low) / extent).astype(int), 5)
    number = 6 * cell[:, 0] + cell[:, 1]
    assert {len(set(held[number == each])) for each in set(number)} == {1}
    assert 0.2 <= held.mean() < 0.3


def test_points_on_a_line_have_blocks_too() -> None:
    place = np.column_stack((np.linspace(0, 1, 60), np.zeros(60)))
    held, _ = held_out_points({"y": np.zeros(60), "position_um": place}, 0.2, seed=0)
    assert held.sum() == 20  # two of six
    assert np.diff(np.flatnonzero(held)).max() >= 1


def test_points_without_place_and_group_are_held_out_at_random_and_it_says_so() -> None:
    held, how = held_out_points({"y": np.zeros(50)}, 0.2, seed=0)
    assert held.sum() == 10
    assert "random" in how
    assert "flatter" in how
    other, _ = held_out_points({"y": np.zeros(50)}, 0.2, seed=1)
    assert (other != held).any()
    again, _ = held_out_points({"y": np.zeros(50)}, 0.2, seed=0)
    assert (again == held).all()


@pytest.mark.parametrize("arrays", [{"group": np.zeros(30)}, {"position_um": np.ones((30, 2))}])
def test_one_group_or_one_place_cannot_be_split(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError) as caught:
        held_out_points({"y": np.zeros(30), **arrays}, 0.2, seed=0)
    assert caught.value.reason == "TOO_FEW_GROUPS"
    assert "Leave out group and position_um" in caught.value.message
