from __future__ import annotations

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.dune.episodes import AgentObservation, Episodes
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at, greedy_on_neighbour, nearest_to_goal, random_beam
from training.data.dune.rates import HumanPrior
from training.data.dune.simulator import Simulator
from training.errors import InputError


def observations(count: int = 500) -> AgentObservation:
    simulator = Simulator(HumanPrior(), Episodes.drawn(count, 0), 0)
    return simulator.observe(simulator.running)


def lengths(vectors: Array) -> Array:
    found: Array = np.linalg.norm(vectors, axis=-1)
    return found


def test_the_neighbour_nearest_to_the_goal_is_chosen() -> None:
    seen = observations()
    chosen = nearest_to_goal(seen)
    np.testing.assert_allclose(lengths(chosen - seen.goal), lengths(seen.neighbours - seen.goal[:, None]).min(axis=1), atol=1e-3)
    beam, dwell = greedy_on_neighbour(5.0)(seen)
    np.testing.assert_array_equal(beam, chosen)
    np.testing.assert_array_equal(dwell, 5.0)


def test_positions_are_along_the_bond_and_counter_clockwise_across_it() -> None:
    seen = observations()
    chosen = nearest_to_goal(seen)
    beam, _ = greedy_at((1.0, 0.5), 3.0)(seen)
    np.testing.assert_allclose((beam * chosen).sum(axis=1) / 1.42, 1.0, rtol=1e-9)
    np.testing.assert_allclose((chosen[:, 0] * beam[:, 1] - chosen[:, 1] * beam[:, 0]) / 1.42, 0.5, rtol=1e-9)
    peak, _ = greedy_at(PRIOR_PEAK_POSITION, 3.0)(seen)
    np.testing.assert_allclose(peak, 0.85 * chosen, rtol=1e-9)


def test_random_beams_fill_a_square_of_two_bonds_and_repeat_by_seed() -> None:
    seen = observations(5000)
    beam, dwell = random_beam(1.5, 3)(seen)
    assert np.abs(beam).max() <= 1.42
    assert np.abs(beam).max() > 1.41
    np.testing.assert_allclose(beam.mean(axis=0), 0, atol=0.05)
    np.testing.assert_array_equal(dwell, 1.5)
    np.testing.assert_array_equal(beam, random_beam(1.5, 3)(seen)[0])
    assert (beam != random_beam(1.5, 4)(seen)[0]).all()


def test_agents_out_of_range_are_refused() -> None:
    for make in (
        lambda: greedy_on_neighbour(0.0),
        lambda: greedy_at((np.nan, 0), 1.0),
        lambda: greedy_at((1, 0), np.inf),
        lambda: random_beam(-1.0, 0),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.reason == "INVALID_OPTION"
