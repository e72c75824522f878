from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.dune.episodes import AgentObservation, Episodes
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at, greedy_on_neighbour, random_beam
from training.data.dune.lattice import bonds_at
from training.data.dune.rates import BeyondCarbon, ContextScaling, HumanPrior, Simple
from training.data.dune.simulator import GOAL_RADIUS, Simulator, run_agents, run_episodes
from training.errors import InputError

COUNT = 10_000
# What was measured before, over 1 000 episodes: standard errors 1.3 s.
PEAK, NEIGHBOUR = (80.9, 1.3), (86.7, 1.3)


def test_the_published_agents_are_as_good_as_they_were() -> None:
    episodes = Episodes.drawn(COUNT, 0)
    agents = {"peak": greedy_at(PRIOR_PEAK_POSITION, 3.0), "neighbour": greedy_on_neighbour(5.0), "random": random_beam(1.5, 0)}
    found = run_agents(agents, HumanPrior(), episodes, 0)
    for name, (mean, error) in (("peak", PEAK), ("neighbour", NEIGHBOUR)):
        seconds, own = found[name].mean_seconds()
        assert found[name].success_rate > 0.999
        assert abs(seconds - mean) < 3 * math.hypot(error, own)
        assert own < 0.5
    # 0.06 of 1 000 has a standard error of 0.0075.
    assert found["random"].success_rate == pytest.approx(0.06, abs=3 * 0.008)


def test_an_agent_that_knows_the_prior_reversed_hardly_ever_succeeds() -> None:
    # The public simulator's human prior peaks at −θ of a neighbour at θ; who trusts that drives the atom anywhere.
    straight = greedy_at(PRIOR_PEAK_POSITION, 3.0)

    def mirrored(observation: AgentObservation) -> tuple[Array, Array]:
        beam, dwell = straight(observation)
        return beam * np.array([1.0, -1.0]), dwell

    outcomes = run_episodes(mirrored, HumanPrior(), Episodes.drawn(1000, 0), 0)
    assert outcomes.success_rate < 0.04


def test_simple_rates_want_short_dwells() -> None:
    found = run_agents({"5": greedy_on_neighbour(5.0), "1.5": greedy_on_neighbour(1.5)}, Simple(), Episodes.drawn(COUNT, 0), 0)
    for name, before in (("5", 60.9), ("1.5", 38.0)):
        seconds, error = found[name].mean_seconds()
        assert abs(seconds - before) < 3 * math.hypot(error, error * math.sqrt(COUNT / 1000))


def test_whoever_trusts_the_priors_peak_where_rates_peak_beyond_the_carbon_takes_twice_as_long() -> None:
    episodes = Episodes.drawn(1000, 2)
    found = run_agents({"prior": greedy_at(PRIOR_PEAK_POSITION, 3.0), "true": greedy_at((1.9, 0.0), 3.0)}, BeyondCarbon(), episodes, 2)
    assert found["true"].success_rate == 1
    assert found["prior"].mean_seconds()[0] > 2 * found["true"].mean_seconds()[0]


def test_time_is_an_image_first_and_an_image_after_every_dwell() -> None:
    episodes = Episodes.drawn(300, 3)
    outcomes = run_episodes(greedy_at(PRIOR_PEAK_POSITION, 3.0), HumanPrior(), episodes, 3)
    np.testing.assert_allclose(outcomes.seconds, 2 + 5 * outcomes.steps, rtol=1e-12)
    assert (outcomes.steps >= 1).all()
    # 0.71 Å is nearer than any two sites are to each other.
    assert pytest.approx(0.71) == GOAL_RADIUS


def test_an_episode_is_given_up_after_600_seconds_and_not_before() -> None:
    def far(observation: AgentObservation) -> tuple[Array, Array]:
        return np.full((len(observation.goal), 2), 1e6), np.full(len(observation.goal), 3.0)

    outcomes = run_episodes(far, HumanPrior(), Episodes.drawn(5, 0), 0)
    assert not outcomes.success.any()
    np.testing.assert_array_equal(outcomes.steps, 120)  # 2 + 119 · 5 = 597 goes on
    np.testing.assert_array_equal(outcomes.seconds, 602)


def test_agents_see_the_goal_from_their_own_site_on_either_sublattice() -> None:
    seen: list[AgentObservation] = []
    agent = greedy_at(PRIOR_PEAK_POSITION, 3.0)
    episodes = Episodes.drawn(50, 4)

    def watched(observation: AgentObservation) -> tuple[Array, Array]:
        seen.append(observation)
        return agent(observation)

    run_episodes(watched, HumanPrior(), episodes, 4)
    np.testing.assert_array_equal(seen[0].neighbours, episodes.neighbours)
    np.testing.assert_array_equal(seen[0].goal_steps, episodes.goal_steps)
    for each in seen:
        np.testing.assert_allclose((each.goal_steps[:, None] @ each.neighbours)[:, 0], each.goal, atol=1e-12)
        assert np.isin(each.goal_steps.sum(axis=1), (0, 1)).all()
        assert each.goal_steps.any(axis=1).all()
        assert (each.seconds >= 2).all()
    both = np.concatenate([each.sublattice for each in seen])
    assert set(both) == {0, 1}


def test_the_same_seed_gives_the_same_episodes_whichever_others_run_and_another_gives_others() -> None:
    agent = greedy_at(PRIOR_PEAK_POSITION, 3.0)
    whole, part = Episodes.drawn(400, 5), Episodes.drawn(150, 5)
    first, again, fewer, other = (run_episodes(agent, HumanPrior(), *pair) for pair in ((whole, 5), (whole, 5), (part, 5), (whole, 6)))
    for name in ("success", "seconds", "steps"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(first, name)[:150], getattr(fewer, name))
    assert (first.seconds != other.seconds).mean() > 0.5


def test_agents_that_are_compared_share_their_luck() -> None:
    episodes = Episodes.drawn(4000, 6)
    found = run_agents({"3": greedy_at(PRIOR_PEAK_POSITION, 3.0), "same": greedy_at(PRIOR_PEAK_POSITION, 3.0)}, HumanPrior(), episodes, 6)
    np.testing.assert_array_equal(found["3"].seconds, found["same"].seconds)
    # One that differs little differs less than independent luck would make it, with the hops' share of the spread taken out.
    near = run_episodes(greedy_at((1.2, 0.02), 3.0), HumanPrior(), episodes, 6).seconds
    apart = run_episodes(greedy_at((1.2, 0.02), 3.0), HumanPrior(), episodes, 7).seconds
    assert (near - found["3"].seconds).std() < 0.7 * (apart - found["3"].seconds).std()


def test_rates_follow_each_episodes_context() -> None:
    episodes = Episodes.drawn(2, 0)
    same = Episodes(np.repeat(episodes.neighbours[:1], 2000, axis=0), np.repeat(episodes.goal_steps[:1], 2000, axis=0))
    context = np.tile([[0.1, 60.0], [0.3, 60.0]], (1000, 1))
    outcomes = run_episodes(greedy_at(PRIOR_PEAK_POSITION, 1.0), HumanPrior(scaling=ContextScaling()), same, 0, context=context)
    assert outcomes.seconds[1::2].mean() < 0.7 * outcomes.seconds[::2].mean()


def test_a_goal_under_the_atom_is_reached_by_the_first_image() -> None:
    outcomes = run_episodes(greedy_on_neighbour(5.0), HumanPrior(), Episodes(bonds_at(np.zeros(1)), np.zeros((1, 3), np.int64)), 0)
    assert (outcomes.success.tolist(), outcomes.seconds.tolist(), outcomes.steps.tolist()) == ([True], [2.0], [0])


@pytest.mark.parametrize(
    "wrong", [(np.zeros((3, 2)), np.zeros(3)), (np.zeros((3, 2)), np.ones(2)), (np.zeros((2, 2)), np.ones(3)), (np.zeros(6), np.ones(3))]
)
def test_answers_that_are_no_actions_are_refused(wrong: tuple[Array, Array]) -> None:
    with pytest.raises(InputError) as caught:
        run_episodes(lambda _: wrong, HumanPrior(), Episodes.drawn(3, 0), 0)
    assert caught.value.reason == "INVALID_OPTION"
    with pytest.raises(InputError) as caught:
        run_episodes(lambda _: (np.full((3, 2), np.nan), np.ones(3)), HumanPrior(), Episodes.drawn(3, 0), 0)
    assert caught.value.reason == "NON_FINITE"


@pytest.mark.parametrize("options", [{"image_seconds": 0.0}, {"timeout_seconds": -1.0}, {"context": (0.0, 60.0)}, {"image_seconds": math.inf}])
def test_simulators_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        Simulator(HumanPrior(), Episodes.drawn(3, 0), 0, **options)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_OPTION"
    nanometres = Episodes(bonds_at(np.zeros(1)) / 10, np.zeros((1, 3), np.int64))
    with pytest.raises(InputError) as caught:
        Simulator(HumanPrior(), nanometres, 0)
    assert caught.value.reason == "WRONG_UNITS"
