from __future__ import annotations

import math

import numpy as np
import pytest

from dichroic.honeycomb import surroundings
from training.data.dune.lattice import Lattice, bonds_at, hops_between, sites_within
from training.errors import InputError


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_are_the_atoms_one_bond_away_and_edges_have_fewer(seed: int) -> None:
    lattice = Lattice.drawn(25.0, seed)
    distance = np.linalg.norm(lattice.atoms_xy[:, None] - lattice.atoms_xy, axis=-1)
    near = np.abs(distance - 1.42) < 1e-6
    assert np.sort(distance, axis=1)[:, 1].min() == pytest.approx(1.42)
    for atom, (row, bonds) in enumerate(zip(lattice.neighbours, lattice.bonds, strict=True)):
        assert set(row[row >= 0]) == set(np.flatnonzero(near[atom]))
        for reached, bond in zip(row, bonds, strict=True):
            if reached >= 0:
                np.testing.assert_allclose(lattice.atoms_xy[reached] - lattice.atoms_xy[atom], bond, atol=1e-9)
            else:
                assert not ((lattice.atoms_xy[atom] + bond >= 0) & (lattice.atoms_xy[atom] + bond <= 25)).all()
    whole = (lattice.neighbours >= 0).all(axis=1)
    assert 0.6 < whole.mean() < 1


def test_a_patch_is_full_of_atoms_whatever_its_rotation_and_offset() -> None:
    counts = np.array([len(Lattice.drawn(30.0, seed)) for seed in range(60)])
    # Two atoms for each cell of 3√3/2 a².
    density = 4 / (3 * math.sqrt(3) * 1.42**2)
    assert counts.mean() == pytest.approx(900 * density, rel=0.01)
    assert counts.min() > 0.93 * 900 * density


def test_rotation_and_offset_are_uniform_and_repeatable() -> None:
    lattices = [Lattice.drawn(15.0, seed) for seed in range(400)]
    bonds = np.array([each.bonds[0, 0] for each in lattices])
    turned = (np.arctan2(bonds[:, 1], bonds[:, 0]) % (math.pi / 3)) / (math.pi / 3)
    assert np.abs(np.histogram(turned, 4, (0, 1))[0] - 100).max() < 40
    nearest = np.array([np.linalg.norm(each.atoms_xy - 7.5, axis=1).min() for each in lattices])
    assert nearest.max() > 1.2  # the middle of a hexagon is as likely as an atom
    assert nearest.min() < 0.2
    np.testing.assert_array_equal(lattices[3].atoms_xy, Lattice.drawn(15.0, 3).atoms_xy)


def test_steps_count_as_the_honeycomb_that_all_share() -> None:
    sites = surroundings(6)
    np.testing.assert_array_equal(hops_between(sites.steps), sites.shell)
    bonds = bonds_at(np.array([0.3]))[0]
    near = sites_within(6.0)
    inside = near[np.linalg.norm(near @ bonds, axis=1) < 6.0]
    reached = sites.steps[np.linalg.norm(sites.positions(bonds), axis=1) < 6.0]
    assert sorted(map(tuple, inside)) == sorted(map(tuple, reached))


def test_the_nearest_atom_is_found() -> None:
    lattice = Lattice.drawn(20.0, 0, bond_length=1.5)
    assert lattice.nearest(lattice.atoms_xy[17] + 0.3) == 17
    assert np.linalg.norm(lattice.bonds[0, 0]) == pytest.approx(1.5)


@pytest.mark.parametrize(("view", "bond"), [(5.0, 1.42), (1e4, 1.42), (float("nan"), 1.42), (20.0, 0.142), (20.0, 14.2)])
def test_patches_out_of_range_are_refused(view: float, bond: float) -> None:
    with pytest.raises(InputError) as caught:
        Lattice.drawn(view, 0, bond)
    assert caught.value.reason == "INVALID_OPTION"
