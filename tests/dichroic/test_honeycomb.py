"""The numbering of the sites around an atom."""

from __future__ import annotations

import numpy as np
import pytest

from dichroic.honeycomb import MOST_SHELLS, surroundings

ANGLES = np.radians([10.0, 130.0, 250.0])
NEIGHBOURS = 1.42 * np.stack((np.cos(ANGLES), np.sin(ANGLES)), axis=1)


def test_the_origin_its_neighbours_and_the_shells_of_graphene() -> None:
    around = surroundings(4)
    assert around.steps[:4].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert np.bincount(around.shell).tolist() == [1, 3, 6, 9, 12]
    distances = np.linalg.norm(around.positions(NEIGHBOURS), axis=1)
    np.testing.assert_allclose(distances[1:4], 1.42)
    np.testing.assert_allclose(distances[4:10], 1.42 * np.sqrt(3))


def test_a_hop_leads_where_the_site_s_own_neighbour_lies() -> None:
    around = surroundings(5)
    at = around.positions(NEIGHBOURS)
    apart = np.linalg.norm(at[:, None] - at, axis=2) + 9 * np.eye(len(at))
    assert apart.min() > 1.4  # no site stands twice
    sign = 1 - 2 * around.sublattice
    for site, reached in enumerate(around.neighbour):
        for j, other in enumerate(reached):
            expected = at[site] + sign[site] * NEIGHBOURS[j]
            if other == len(around):
                assert np.linalg.norm(at - expected, axis=1).min() > 1.4
            else:
                np.testing.assert_allclose(at[other], expected, atol=1e-12)
                assert around.neighbour[other, j] == site


def test_only_the_last_shell_leads_elsewhere() -> None:
    around = surroundings(3)
    assert set(around.shell[(around.neighbour == len(around)).any(axis=1)]) == {3}


@pytest.mark.parametrize("shells", [0, -1, MOST_SHELLS + 1])
def test_a_number_of_shells_that_nobody_needs_is_refused(shells: int) -> None:
    with pytest.raises(ValueError, match="shells"):
        surroundings(shells)
