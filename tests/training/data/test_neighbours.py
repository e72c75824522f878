from __future__ import annotations

import numpy as np
import pytest

from training.data.neighbours import neighbour_patches, split_places
from training.errors import InputError


def test_a_patch_shows_its_neighbours_in_their_places_and_never_its_own_point() -> None:
    values = np.arange(42.0).reshape(6, 7)
    patches, enough = neighbour_patches(values, 1, np.zeros((6, 7), dtype=bool))
    assert patches.shape == (42, 3, 3)
    assert enough.all()
    inner = patches[2 * 7 + 3]
    expected = values[1:4, 2:5].copy()
    expected[1, 1] = (expected.sum() - values[2, 3]) / 8
    np.testing.assert_allclose(inner, expected)
    for place in range(42):  # whatever is measured at a place, its own patch stays what it was
        changed = values.copy()
        changed.flat[place] = 1e9
        np.testing.assert_array_equal(neighbour_patches(changed, 1, np.zeros((6, 7), dtype=bool))[0][place], patches[place])


def test_missing_pixels_and_those_beyond_the_edge_get_the_mean_of_the_rest() -> None:
    values = np.arange(42.0).reshape(6, 7)
    missing = np.zeros((6, 7), dtype=bool)
    missing[0, 1] = missing[5, 4] = missing[5, 5] = missing[4, 5] = True
    patches, enough = neighbour_patches(np.where(missing, 1e9, values), 1, missing)
    corner = patches[0]  # of its three neighbours, one is missing
    assert corner[1, 2] == corner[0, 0] == corner[1, 1] == (7 + 8) / 2
    assert (corner[2, 1], corner[2, 2]) == (7, 8)
    assert patches[enough].max() < 42
    # The last corner's neighbours: one of the three is there, less than a quarter of eight.
    assert not enough[-1]
    assert np.isnan(patches[-1]).all()


@pytest.mark.parametrize("half_width", [0, 1, 2, 3])
def test_held_out_places_are_farther_from_training_places_than_half_a_patch(half_width: int) -> None:
    train, held = split_places((50, 50), half_width, 0.2, seed=1)
    row, column = np.divmod(np.arange(2500), 50)
    apart = np.maximum(np.abs(row[train][:, None] - row[held]), np.abs(column[train][:, None] - column[held]))
    assert apart.min() == half_width + 1
    assert 0.1 < len(held) / (len(held) + len(train)) < 0.3
    assert len(held) + len(train) > 1500


def test_no_training_patch_shows_a_held_out_loop_nor_the_other_way_round() -> None:
    train, held = split_places((30, 30), 2, 0.25, seed=0)
    values = np.zeros((30, 30))
    for own, other in ((train, held), (held, train)):
        changed = values.copy()
        changed.flat[other] = 1.0
        assert not neighbour_patches(changed, 2, np.zeros((30, 30), dtype=bool))[0][own].any()


def test_what_is_no_map_or_no_patch_is_refused() -> None:
    for values, half_width in ((np.zeros(5), 1), (np.zeros((5, 5)), 0)):
        with pytest.raises(InputError) as caught:
            neighbour_patches(values, half_width, np.zeros(values.shape, dtype=bool))
        assert caught.value.reason == "INVALID_OPTION"
