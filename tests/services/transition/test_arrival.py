import functools
import time

import numpy as np
import pytest

from services.transition.arrival import Arrival, arrival, grid_step, in_sequence
from services.transition.assignment import MOST_TARGETS
from services.transition.scenes import MOST_STEPS
from services.transition.values import Choices, solve
from tests.services.transition.graphene import long_tailed, nearest, peaked
from tests.services.transition.test_values import choices, patch_problem


def simulated(problem, which, policy, *, start, deadline_s, count=40_000):
    """Times of arrival (inf of those that do not), and how many were lost in time: one episode a row, drawn from the chain."""
    stream = np.random.default_rng(0)
    far, share = problem.destinations()
    place, seconds = np.full(count, start), np.zeros(count)
    arrived, lost = np.full(count, np.inf), 0
    going = np.arange(count)
    ends = np.append(problem.blocked | (problem.hops < 0), True)
    while len(going):
        choice = policy.choice[place[going]]
        running = np.cumsum(which.occupancy[choice], axis=1)
        landed = (stream.random(len(going))[:, None] >= running[:, :-1]).sum(axis=1)
        seconds[going] += which.cost_s[choice]
        where = np.concatenate([problem.landings.within, np.where(share > 0, far, len(far))[:, None]], axis=1)[place[going], landed]
        elsewhere = landed == which.occupancy.shape[1] - 1
        where[elsewhere & (stream.random(len(going)) >= share[place[going]])] = len(far)
        place[going] = where
        late = seconds[going] > deadline_s
        home = (where == problem.goal) & ~late
        arrived[going[home]] = seconds[going[home]]
        lost += int((ends[where] & ~late & ~home).sum())
        going = going[~late & ~home & ~ends[where]]
    return arrived, lost / count


@pytest.mark.parametrize(("rates", "deadline_s"), [(peaked, 600.0), (peaked, 45.0), (long_tailed, 600.0), (long_tailed, 30.5)])
def test_time_and_chance_are_those_of_the_simulated_chain(rates, deadline_s):
    problem, xy = patch_problem(blocked_places=((1, 1.5),))
    which = choices(rates)
    policy = solve(problem, which, start_s=np.zeros(len(xy)))
    start = nearest(xy, (3.5, 2))
    told = arrival(problem, which, policy, start, deadline_s)
    arrived, lost = simulated(problem, which, policy, start=start, deadline_s=deadline_s)
    success = np.isfinite(arrived)
    assert success.mean() > 0.1
    assert told.success_probability == pytest.approx(success.mean(), abs=0.01)
    assert told.lost == pytest.approx(lost, abs=0.005)
    error = arrived[success].std() / np.sqrt(success.sum())
    assert told.expected_s == pytest.approx(arrived[success].mean(), abs=4 * error)


def test_without_a_deadline_the_mean_is_the_value():
    problem, xy = patch_problem(side=24.0)
    which = choices(peaked)
    policy = solve(problem, which, start_s=np.zeros(len(xy)), tolerance_s=1e-6)
    start = nearest(xy, (3.5, 2))
    told = arrival(problem, which, policy, start, 5000.0)
    assert told.success_probability > 0.999
    assert told.expected_s * told.success_probability + told.lost * problem.lost_s == pytest.approx(policy.value_s[start], rel=0.01)
    assert told.success_probability + told.lost == pytest.approx(1, abs=2e-5)


def test_one_action_that_needs_one_dwell_is_geometric():
    problem, xy = patch_problem(blocked_places=())
    which = choices(peaked)
    policy = solve(problem, which, start_s=np.zeros(len(xy)))
    start = int(problem.landings.within[problem.goal, 1])
    told = arrival(problem, which, policy, start, 600.0, distribution=True)
    first = round(which.cost_s[policy.choice[start]] / told.step_s)
    to_goal = which.occupancy[policy.choice[start]][int(np.flatnonzero(problem.landings.within[start] == problem.goal)[0])]
    assert told.chance[:first].sum() == 0
    assert told.chance[first] == pytest.approx(to_goal)


@pytest.mark.parametrize("deadline_s", [20.0, 90.0, 600.0, 2000.0])
def test_sums_alone_are_those_of_the_distribution(deadline_s):
    problem, xy = patch_problem(blocked_places=((1, 1.5),))
    which = choices(long_tailed)
    policy = solve(problem, which, start_s=np.zeros(len(xy)))
    start = nearest(xy, (3.5, 2))
    whole, sums = (arrival(problem, which, policy, start, deadline_s, distribution=each) for each in (True, False))
    assert whole.chance is not None
    # Only where a deadline may cut something off is every step of time looked at.
    assert (sums.chance is None) == (deadline_s >= 600)
    assert sums.success_probability == pytest.approx(whole.success_probability, abs=1e-4)
    assert sums.lost == pytest.approx(whole.lost, abs=1e-4)
    assert sums.expected_s == pytest.approx(whole.expected_s, abs=0.01)


def test_at_the_goal_nothing_is_left():
    problem, xy = patch_problem()
    which = choices(peaked)
    told = arrival(problem, which, solve(problem, which, start_s=np.zeros(len(xy))), problem.goal, 10.0)
    assert (told.success_probability, told.expected_s, told.lost) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(("image_s", "step_s"), [(2.0, 0.5), (1.3, 0.1), (0.5, 0.5), (0.25, 0.1)])
def test_the_grid_of_time_suits_the_image(image_s, step_s):
    which = Choices(np.ones((2, 11)) / 11, np.array([1.0, 2.5]), image_s, 2)
    assert grid_step(which) == step_s


def test_one_after_another_adds_times_and_multiplies_chances():
    first = Arrival.at(np.array([0, 0.5, 0, 0.4]), 0.5, 0.1)
    second = Arrival.at(np.array([0, 0, 1.0, 0]), 0.5, 0.0)
    both = in_sequence([first, second], 1.5)
    np.testing.assert_allclose(both.chance, [0, 0, 0, 0.5])
    assert both.lost == pytest.approx(0.1)
    assert in_sequence([first, second], 2.5).expected_s == pytest.approx((0.5 * 1.5 + 0.4 * 2.5) / 0.9)


def drawn(count, seed, late=0):
    """A distribution over so many steps, nothing within the first `late`."""
    chance = np.random.default_rng(seed).random(count) ** 8
    chance[:late] = 0
    return Arrival.at(0.9 * chance / chance.sum(), 0.1, 0.05)


@pytest.mark.parametrize(("lengths", "steps"), [((7, 5), 11), ((7, 5), 6), ((300, 41, 513), 1000), ((300, 41, 513), 257), ((1, 64), 64)])
def test_added_times_are_those_of_the_direct_sum(lengths, steps):
    each = [drawn(length, seed) for seed, length in enumerate(lengths)]
    expected = functools.reduce(np.convolve, [one.chance for one in each])[:steps]
    found = in_sequence(each, 0.1 * (steps - 1))
    np.testing.assert_allclose(found.chance, expected, rtol=0, atol=1e-12)


def test_where_the_deadline_comes_before_any_can_arrive_no_time_is_told():
    both = in_sequence([drawn(200, 0, late=60), drawn(200, 1, late=50)], 10.0)
    assert both.success_probability == 0
    assert np.isnan(both.expected_s)
    assert in_sequence([drawn(200, 0, late=60), drawn(200, 1, late=50)], 11.5).expected_s >= 11.0


@pytest.mark.parametrize("goals", [2, MOST_TARGETS])
def test_adding_times_takes_no_time_up_to_several_times_the_longest_deadline_that_is_accepted(goals):
    steps = 4 * MOST_STEPS // goals
    each = [drawn(steps + 1, seed) for seed in range(goals)]
    began = time.process_time()
    found = in_sequence(each, 0.1 * steps)
    # The direct sum takes many seconds.
    assert time.process_time() - began < 1
    assert len(found.chance) == steps + 1
