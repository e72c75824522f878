from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.transition_agents import GreedyTime, Planner, WideMixture, peak_of, room_left
from benchmarks.transition_page import page_of
from training.data.dune.episodes import Episodes
from training.data.dune.greedy import greedy_at
from training.data.dune.rates import GaussianMixture, Simple
from training.data.dune.simulator import run_episodes


@pytest.mark.parametrize(("position", "dwell_s"), [((1.42, 0.0), 1.5), ((1.1, 0.4), 3.0)])
def test_a_greedy_agents_time_is_solved_as_it_is_run(position: tuple[float, float], dwell_s: float) -> None:
    episodes = Episodes.drawn(1500, 1)
    told = GreedyTime(Simple(), episodes).seconds(*position, dwell_s)
    mean, error = run_episodes(greedy_at(position, dwell_s), Simple(), episodes, 2).mean_seconds()
    # The starts are the same; what is left is the hops' own spread, a part of the error.
    assert told == pytest.approx(mean, abs=3 * error)
    assert error < 0.05 * mean


def test_the_best_dwell_is_no_worse_than_any_of_a_grid() -> None:
    greedy = GreedyTime(Simple(), Episodes.drawn(200, 1))
    dwell, seconds = greedy.best_dwell(1.42, 0.0)
    assert seconds <= min(greedy.seconds(1.42, 0.0, each) for each in (0.5, 1.0, 1.5, 2.0, 5.0))
    assert greedy.seconds(1.42, 0.0, dwell) == seconds


def test_no_greedy_agent_is_below_the_bound_and_the_planner_is_near_it() -> None:
    episodes = Episodes.drawn(200, 1)
    planner = Planner.knowing(Simple(), 4)
    expected = 2 + float(planner.table.open_lattice.value_s(episodes.goal_steps).mean())
    room = room_left(Simple(), fine=False)
    assert 0 <= room < 0.02
    assert expected / (1 + room) < GreedyTime(Simple(), episodes).best()[2]


def test_the_planner_comes_home_as_fast_as_it_expects() -> None:
    rates, episodes = GaussianMixture.drawn(18), Episodes.drawn(1000, 3)
    planner = Planner.knowing(rates, 3)
    mean, error = run_episodes(planner.agent, rates, episodes, 4).mean_seconds()
    assert mean == pytest.approx(2 + float(planner.table.open_lattice.value_s(episodes.goal_steps).mean()), abs=4 * error)


def test_the_peak_is_where_the_rate_is_highest() -> None:
    assert peak_of(Simple()) == pytest.approx((1.42, 0.0), abs=0.011)


def test_wide_mixtures_are_the_same_by_seed_and_symmetric() -> None:
    angle = 2 * np.pi / 3 * np.arange(3)
    neighbours = 1.42 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
    beam, context = np.array([[1.0, 0.5]]), np.array([[0.1, 60.0]])
    told = WideMixture(3).rates(beam, neighbours, context)
    np.testing.assert_array_equal(told, WideMixture(3).rates(beam, neighbours, context))
    mirrored = WideMixture(3).rates(beam * (1, -1), neighbours, context)
    np.testing.assert_allclose(mirrored[0], told[0, [0, 2, 1]])
    assert (told != WideMixture(4).rates(beam, neighbours, context)).all()


def test_the_page_tells_what_stands_in_the_files(tmp_path: Path) -> None:
    row = {"success": 1.0, "seconds": 80.0, "standard_error": 0.4}
    planner = {**row, "seconds": 60.0, "less": 0.25, "less_error": 0.1, "expected": 60.6, "actions": 3}
    case = {"case": "prior", "episodes": 7, "reference": "greedy", "figures": {"greedy": row, "planner, 4 shells": planner}, "room_left": 0.01}
    (tmp_path / "planning-prior.json").write_text(json.dumps(case), encoding="utf-8")
    page = page_of(tmp_path)
    assert "| planner, 4 shells | 1.0000 | 60.0 ± 0.4 | 25.0 % (± 0.10 s) |" in page
    assert "expects 60.60 s; bound: 60.00 s" in page
    assert "Random mixtures" not in page
