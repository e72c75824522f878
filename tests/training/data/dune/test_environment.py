from __future__ import annotations

import numpy as np
import pytest

from training.data.dune.environment import DuneEnvironment
from training.data.dune.episodes import Episodes
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at
from training.data.dune.rates import HumanPrior
from training.data.dune.simulator import run_episodes
from training.errors import InputError


@pytest.mark.parametrize("seed", range(4))
def test_stepping_is_running_one_episode(seed: int) -> None:
    agent, environment = greedy_at(PRIOR_PEAK_POSITION, 3.0), DuneEnvironment(HumanPrior())
    shown, info = environment.reset(seed)
    rewards, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        beam, dwell = agent(info["observation"])
        shown, reward, terminated, truncated, info = environment.step([*beam[0], dwell[0]])
        rewards += reward
    outcomes = run_episodes(agent, HumanPrior(), Episodes.drawn(1, seed), seed)
    assert terminated == bool(outcomes.success[0])
    assert shown["time_s"] == outcomes.seconds[0] == pytest.approx(2 - rewards)
    assert info["hops_to_goal"] == 0
    np.testing.assert_allclose(shown["goal_xy_angstrom"], 0, atol=1e-12)


def test_the_goal_stays_where_it_is_while_the_atom_moves() -> None:
    environment = DuneEnvironment(HumanPrior(), field_of_view_angstrom=(25.0, 25.0))
    shown, info = environment.reset(0)
    hops = [info["hops_to_goal"]]
    for _ in range(12):
        beam = 0.85 * shown["neighbours_xy_angstrom"][0]
        following, _, _, _, info = environment.step([*beam, 3.0])
        # A hop changes the hops to the goal by one, and the parity of several hops by their number.
        moved = shown["goal_xy_angstrom"] - following["goal_xy_angstrom"]
        assert np.linalg.norm(moved) < 1e-9 or np.linalg.norm(moved) > 1.41
        hops.append(info["hops_to_goal"])
        shown = following
    assert len(set(hops)) > 1


def test_an_episode_is_truncated_after_its_time() -> None:
    environment = DuneEnvironment(HumanPrior())
    environment.reset(1)
    _, reward, terminated, truncated, _ = environment.step([1e6, 0.0, 700.0])
    assert (reward, terminated, truncated) == (-702.0, False, True)
    with pytest.raises(InputError, match="reset"):
        environment.step([0.0, 0.0, 1.0])


def test_without_a_seed_the_next_one_follows() -> None:
    first, second = DuneEnvironment(HumanPrior()), DuneEnvironment(HumanPrior())
    first.reset(8)
    np.testing.assert_array_equal(first.reset()[0]["goal_xy_angstrom"], second.reset(9)[0]["goal_xy_angstrom"])
    third, fourth = DuneEnvironment(HumanPrior()), DuneEnvironment(HumanPrior())
    np.testing.assert_array_equal(third.reset()[0]["goal_xy_angstrom"], fourth.reset(0)[0]["goal_xy_angstrom"])


@pytest.mark.parametrize("action", [[0.0, 0.0], [0.0, 0.0, 0.0], [0.0, np.nan, 1.0], [0.0, 0.0, -1.0], [[0.0, 0.0, 1.0]]])
def test_actions_that_are_none_are_refused(action: list[float]) -> None:
    environment = DuneEnvironment(HumanPrior())
    environment.reset(0)
    with pytest.raises(InputError) as caught:
        environment.step(action)
    assert caught.value.reason == "INVALID_OPTION"


def test_a_step_before_a_reset_and_a_negative_seed_are_refused() -> None:
    environment = DuneEnvironment(HumanPrior())
    with pytest.raises(InputError, match="reset"):
        environment.step([0.0, 0.0, 1.0])
    with pytest.raises(InputError, match="seed"):
        environment.reset(-1)
