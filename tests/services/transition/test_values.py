import numpy as np
import pytest

from services.transition.actions import Actions, perfect_neighbours
from services.transition.open_lattice import Displacements
from services.transition.sites import Sites
from services.transition.values import Choices, Problem, Risk, action_costs, solve
from tests.services.transition.graphene import long_tailed, nearest, occupancy_by, patch, peaked

ACTIONS = Actions(np.array([1.2, 1.0, 1.5, 0.7]), np.array([0.0, 0.3, 0.0, 1.2]), np.array([4.0, 2.0, 3.0, 5.0]))


def choices(rates, members=None):
    neighbours = np.broadcast_to(perfect_neighbours(1.42), (len(ACTIONS), 3, 2))
    told = occupancy_by(rates, members=members)(
        np.stack([ACTIONS.along, ACTIONS.across], axis=1), neighbours, ACTIONS.dwell_s, np.zeros((len(ACTIONS), 2))
    )
    if members is None:
        return Choices(told, ACTIONS.dwell_s, 2.0, 2)
    return Choices(told.mean(axis=1), ACTIONS.dwell_s, 2.0, 2, np.moveaxis(told, 1, 0))


def patch_problem(side=14.0, blocked_places=(), lost_s=500.0, goal=(0, 0)):
    xy = patch(side)
    sites = Sites.of(xy)
    blocked = ~sites.regular
    for place in blocked_places:
        blocked[nearest(xy, place)] = True
    at = nearest(xy, goal)
    blocked[at] = False
    return Problem(sites.landings(2), at, blocked, sites.hops_to(at, blocked), lost_s), xy


def backup(problem, which, value, site):
    """s of every action at one site, as the definition has it: no staying taken out, one site at a time."""
    far, share = problem.destinations()
    extended = np.append(value, problem.lost_s)
    worth = extended[problem.landings.within[site]]
    elsewhere = share[site] * extended[far[site]] + (1 - share[site]) * problem.lost_s
    return which.cost_s + which.occupancy @ np.append(worth, elsewhere)


@pytest.mark.parametrize("rates", [peaked, long_tailed])
@pytest.mark.parametrize("blocked", [(), ((2, 1), (-1, -3), (0, 3))])
def test_values_solve_bellmans_equation(rates, blocked):
    problem, _ = patch_problem(blocked_places=blocked)
    which = choices(rates)
    policy = solve(problem, which, start_s=np.zeros(len(problem.blocked)), tolerance_s=1e-7)
    assert policy.value_s[problem.goal] == 0
    assert len(problem.moving()) > 40
    for site in problem.moving():
        costs = backup(problem, which, policy.value_s, site)
        assert costs.min() == pytest.approx(policy.value_s[site], abs=1e-5)
        assert costs[policy.choice[site]] == pytest.approx(costs.min(), abs=1e-5)


def test_blocked_sites_cost_what_being_lost_does():
    problem, _ = patch_problem(blocked_places=((2, 1),))
    policy = solve(problem, choices(peaked), start_s=np.zeros(len(problem.blocked)))
    assert (policy.value_s[problem.blocked] == problem.lost_s).all()
    assert policy.value_s[problem.moving()].max() < problem.lost_s


def test_the_beginning_makes_no_difference():
    problem, _ = patch_problem()
    which = choices(long_tailed)
    found = [solve(problem, which, start_s=np.full(len(problem.blocked), start), tolerance_s=1e-6).value_s for start in (0.0, 50.0, 400.0)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    np.testing.assert_allclose(found[2], found[0], atol=1e-3)


def test_an_obstacle_costs_time_and_more_so_beside_it():
    free, xy = patch_problem(goal=(-4, 0))
    walled, _ = patch_problem(goal=(-4, 0), blocked_places=[(0, y) for y in np.arange(-5, 3, 0.3)])
    which = choices(peaked)
    start = np.zeros(len(xy))
    before, after = (solve(each, which, start_s=start).value_s for each in (free, walled))
    moving = walled.moving()
    assert (after[moving] >= before[moving] - 0.01).all()
    assert after[nearest(xy, (4, 0))] > before[nearest(xy, (4, 0))] + 10


def test_elsewhere_is_the_farthest_that_it_may_be():
    problem, _ = patch_problem(side=22.0)
    far, share = problem.destinations()
    inside = np.flatnonzero(share == 1)
    assert len(inside) > 30
    hops = problem.hops[problem.landings.beyond[inside]]
    np.testing.assert_array_equal(problem.hops[far[inside]], hops.max(axis=1))
    assert (hops.max(axis=1) > problem.hops[inside]).all()
    beside = np.flatnonzero((share < 1) & (share > 0))
    good = ~np.append(problem.blocked, True)[problem.landings.beyond[beside]]
    np.testing.assert_allclose(share[beside], good.mean(axis=1))


def test_costs_of_actions_are_least_where_the_policy_chose():
    problem, _ = patch_problem()
    which = choices(peaked)
    policy = solve(problem, which, start_s=np.zeros(len(problem.blocked)), tolerance_s=1e-6)
    costs = action_costs(problem, which, policy)
    np.testing.assert_allclose(costs.min(axis=1), policy.value_s[problem.moving()], atol=1e-4)


MEMBERS = (0.5, 1.0, 1.6)


def risky(problem, **risk):
    return solve(problem, choices(peaked, MEMBERS), start_s=np.zeros(len(problem.blocked)), risk=Risk(**risk), tolerance_s=1e-6).value_s


def test_aversion_lies_between_the_mean_and_the_worst():
    problem = Displacements.within(5).problem(2)
    mean, little, more, worst = (risky(problem, **each) for each in ({}, {"kappa": 0.3}, {"kappa": 0.6}, {"worst": True}))
    assert mean[1:].mean() + 1 < little[1:].mean() < more[1:].mean() < worst[1:].mean() - 1


def test_great_aversion_ends_at_the_worst_member():
    problem = Displacements.within(4).problem(2)
    np.testing.assert_allclose(risky(problem, kappa=50.0), risky(problem, worst=True), rtol=1e-4)


def test_the_worst_member_is_the_slowest_where_all_differ_by_a_factor():
    problem = Displacements.within(4).problem(2)
    slowest = solve(problem, choices(lambda *where: 0.5 * peaked(*where)), start_s=np.zeros(len(problem.blocked)), tolerance_s=1e-6).value_s
    assert risky(problem, worst=True)[1:4].mean() >= slowest[1:4].mean() - 1e-3
    assert risky(problem, worst=True)[1:4].mean() < 1.2 * slowest[1:4].mean()


def test_no_aversion_is_the_mean_of_the_members():
    problem = Displacements.within(4).problem(2)
    which = choices(peaked, MEMBERS)
    plain = Choices(which.occupancy[: len(ACTIONS)], ACTIONS.dwell_s, 2.0, 2)
    np.testing.assert_allclose(risky(problem), solve(problem, plain, start_s=np.zeros(len(problem.blocked)), tolerance_s=1e-6).value_s, atol=1e-4)
