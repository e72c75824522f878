import numpy as np
import pytest

from dichroic.honeycomb import surroundings
from services.transition.sites import Sites
from tests.services.transition.graphene import nearest, patch


def stone_wales(xy):
    """One bond in the middle turned by 90°, and all atoms let go until bonds are as long as before: two rings of five and two of seven."""
    bonds = {frozenset((atom, int(other))) for atom, row in enumerate(Sites.of(xy).neighbours) for other in row if other >= 0}
    first = nearest(xy, (0, 0))
    second = int(np.argsort(np.hypot(*(xy - xy[first]).T))[1])
    axis = xy[second] - xy[first]
    # Of the four atoms around the bond, each end takes those on one side of it: one is handed over by each.
    side = {atom: float(np.cross(np.r_[axis, 0], np.r_[xy[atom] - xy[first], 0])[2]) for pair in bonds if pair & {first, second} for atom in pair}
    given = [
        max((a for a in side if frozenset((end, a)) in bonds and a not in (first, second)), key=lambda a: way * side[a])
        for end, way in ((first, 1), (second, -1))
    ]
    bonds -= {frozenset((first, given[0])), frozenset((second, given[1]))}
    bonds |= {frozenset((second, given[0])), frozenset((first, given[1]))}
    moved = xy.copy()
    middle, half = (xy[first] + xy[second]) / 2, (xy[first] - xy[second]) / 2
    across = np.array([half[1], -half[0]])
    moved[first], moved[second] = middle + across, middle - across
    ends = np.array([sorted(pair) for pair in bonds])
    bonded = np.zeros((len(xy), len(xy)), bool)
    bonded[ends[:, 0], ends[:, 1]] = bonded[ends[:, 1], ends[:, 0]] = True
    for _ in range(150):
        vector = moved[None] - moved[:, None]
        length = np.hypot(vector[..., 0], vector[..., 1]) + np.eye(len(xy))
        pull = np.where(bonded, length - 1.42, np.minimum(length - 2.4, 0) * ~np.eye(len(xy), dtype=bool))
        moved = moved + 0.1 * ((pull / length)[..., None] * vector).sum(axis=1)
    return moved, first, second


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.1, 4.0])
@pytest.mark.parametrize("shells", [1, 2, 4])
def test_a_walk_ends_where_the_surroundings_say(angle, shells):
    xy = patch(angle=angle)
    sites = Sites.of(xy)
    landings = sites.landings(shells)
    count = len(surroundings(shells))
    assert landings.within.shape == (len(xy), count)
    assert landings.beyond.shape == (len(xy), len(surroundings(shells + 1)) - count)
    found = np.concatenate([landings.within, landings.beyond], axis=1)
    wanted = xy[:, None] + surroundings(shells + 1).positions(xy[sites.neighbours] - xy[:, None])
    there = (found < len(xy)) & (sites.coordination == 3)[:, None]
    assert there[np.hypot(*xy.T) < 3].all()
    np.testing.assert_allclose(xy[np.minimum(found, len(xy) - 1)][there], wanted[there], atol=1e-9)


def test_nobody_walks_past_the_edge():
    xy = patch()
    sites = Sites.of(xy)
    edge = np.flatnonzero(sites.coordination < 3)
    within = sites.landings(2).within
    assert (within[edge, 1:] == len(xy)).all()
    beside = next(atom for atom in np.flatnonzero(sites.coordination == 3) if np.isin(sites.neighbours[atom], edge).any())
    bond = int(np.isin(sites.neighbours[beside], edge).argmax())
    assert within[beside, 1 + bond] == sites.neighbours[beside, bond]
    past = surroundings(2).neighbour[1 + bond]
    assert (within[beside, past[(past > 3)]] == len(xy)).all()


def test_a_perfect_patch_is_regular_but_at_its_edge():
    sites = Sites.of(patch(noise=0.05))
    np.testing.assert_array_equal(sites.regular, sites.coordination == 3)


def test_rings_that_are_no_hexagons_are_not_regular():
    xy, first, second = stone_wales(patch())
    sites = Sites.of(xy)
    assert (sites.coordination[[first, second]] == 3).all()
    irregular = (sites.coordination == 3) & ~sites.regular
    # Two rings of five and two of seven, fused: sixteen atoms in all.
    assert irregular.sum() == 16
    assert irregular[[first, second]].all()
    assert np.hypot(*(xy[irregular] - xy[first]).T).max() < 5


def test_hops_are_counted_round_what_is_blocked():
    xy = patch()
    sites = Sites.of(xy)
    goal = nearest(xy, (0, 0))
    free = sites.hops_to(goal, np.zeros(len(xy), bool))
    assert free[goal] == 0
    assert (free[sites.neighbours[goal]] == 1).all()
    assert free.min() >= 0
    wall = (np.abs(xy[:, 0] - 3) < 1.3) & (xy[:, 1] > -8)
    hops = sites.hops_to(goal, wall)
    behind = nearest(xy, (6, 3))
    assert hops[behind] > free[behind]
    closed = sites.hops_to(goal, np.abs(xy[:, 0] - 3) < 1.3)
    assert closed[behind] == -1


def test_one_comes_to_a_goal_at_the_edge_but_not_through_the_edge():
    xy = patch()
    sites = Sites.of(xy)
    blocked = ~sites.regular
    edge = np.flatnonzero((sites.coordination == 2) & (np.isin(sites.neighbours, np.flatnonzero(sites.regular)).any(axis=1)))[0]
    hops = sites.hops_to(int(edge), blocked)
    assert hops[nearest(xy, (0, 0))] > 0
