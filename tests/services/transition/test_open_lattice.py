import numpy as np
import pytest

from services.transition.open_lattice import Displacements, OpenLattice, steps_to
from services.transition.sites import Sites
from services.transition.values import Risk
from tests.services.transition.graphene import nearest, patch


def test_places_are_all_sites_once():
    places = Displacements.within(5)
    # Shells of 1, 3, 6, 9, 12, 15 sites.
    assert len(places) == 46
    assert (places.steps[0] == 0).all()
    assert np.isin(places.steps.sum(axis=1), (0, 1)).all()
    np.testing.assert_array_equal(places.find(places.steps), np.arange(46))


def test_a_place_too_far_off_is_looked_up_on_the_way():
    places = Displacements.within(6)
    found = places.steps[places.find(np.array([[20, -19, 0], [4, -4, 0], [-9, 5, 4]]))]
    assert (np.abs(found).sum(axis=1) <= 6).all()
    assert found[0, 0] > 0 > found[0, 1]
    assert (np.sign(found[2]) * (-1, 1, 1) >= 0).all()
    assert found.sum(axis=1).tolist() == [1, 0, 0]


def test_steps_are_counted_from_each_atom_to_the_goal():
    xy = patch(noise=0.03)
    sites = Sites.of(xy)
    goal = nearest(xy, (1, -2))
    steps = steps_to(xy[goal], xy, xy[sites.neighbours[goal]] - xy[goal])
    inside = np.flatnonzero(sites.coordination == 3)
    np.testing.assert_array_equal(np.abs(steps).sum(axis=1)[inside], sites.hops_to(goal, np.zeros(len(xy), bool))[inside])
    # From the atom's own neighbours, in whichever order theirs begins.
    for atom in inside[:40]:
        bonds = xy[sites.neighbours[atom]] - xy[atom]
        reached = [np.roll(steps[atom], turn) @ bonds for turn in range(3)]
        assert min(np.hypot(*(each - (xy[goal] - xy[atom]))) for each in reached) < 1.0


def test_values_rise_with_hops_and_have_the_lattices_symmetry(table):
    lattice = table.open_lattice
    hops = np.abs(lattice.displacements.steps).sum(axis=1)
    means = [lattice.policy.value_s[hops == so_many].mean() for so_many in range(20)]
    assert means[0] == 0
    assert (np.diff(means) > 0).all()
    assert lattice.hop_s == pytest.approx(means[15] - means[14], rel=0.05)
    steps = lattice.displacements.steps
    np.testing.assert_allclose(lattice.value_s(np.roll(steps, 1, axis=1)), lattice.policy.value_s, atol=0.02)


def test_decisions_turn_with_the_lattice(table):
    lattice = table.open_lattice
    steps = lattice.displacements.steps[1:200]
    turns = np.random.default_rng(0).random(len(steps)) * 2 * np.pi
    angle = 2 * np.pi / 3 * np.arange(3)
    neighbours = 1.42 * np.stack([np.cos(turns[:, None] + angle), np.sin(turns[:, None] + angle)], axis=-1)
    straight = 1.42 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    beam, dwell = lattice.decide(neighbours, steps)
    wanted, wanted_dwell = lattice.decide(np.broadcast_to(straight, neighbours.shape), steps)
    cos, sin = np.cos(turns), np.sin(turns)
    np.testing.assert_allclose(beam, np.stack([cos * wanted[:, 0] - sin * wanted[:, 1], sin * wanted[:, 0] + cos * wanted[:, 1]], axis=1), atol=1e-9)
    np.testing.assert_array_equal(dwell, wanted_dwell)


def test_the_beam_is_on_the_side_of_the_goal(table):
    lattice = table.open_lattice
    steps = lattice.displacements.steps[1:]
    angle = 2 * np.pi / 3 * np.arange(3)
    straight = 1.42 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    beam, _ = lattice.decide(np.broadcast_to(straight, (len(steps), 3, 2)), steps)
    assert (np.einsum("nx,nx->n", beam, steps @ straight) > -1e-9).all()
    assert (np.einsum("nx,nx->n", beam, steps @ straight) > 0.1).mean() > 0.95


def test_aversion_to_risk_takes_longer_in_the_mean(table):
    averse = OpenLattice(table.actions, table.choices, hops=10, risk=Risk(worst=True))
    neutral = OpenLattice(table.actions, table.choices, hops=10)
    assert (averse.policy.value_s >= neutral.policy.value_s - 1e-2).all()
