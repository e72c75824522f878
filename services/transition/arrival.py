"""When a dopant arrives that follows a policy: the distribution over places and times, carried forward from where it is now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.transition.arrays import Float64, Int64
from services.transition.values import Choices, Policy, Problem

# What is at one place at one time and not worth following, as a probability.
_TINY = 1e-8
# So many times the shortest duration are held in memory at once.
_BLOCKS = 32


@dataclass(frozen=True)
class Arrival:
    """From the start, by the end of each grid step of time.

    Attributes:
        chance: (t,) float64, that the image which shows the dopant at the goal ends at this step.
        step_s: of the grid, s: index k is k · step_s after now.
        lost: that it leaves the lattice or comes to a blocked site within the deadline.
    """

    chance: Float64
    step_s: float
    lost: float

    @property
    def success_probability(self) -> float:
        """That it arrives within the deadline."""
        return float(min(self.chance.sum(), 1.0))

    @property
    def expected_s(self) -> float:
        """Mean time of those that arrive within the deadline; NaN where none does."""
        total = self.chance.sum()
        return float((self.chance * np.arange(len(self.chance))).sum() / total * self.step_s) if total > 0 else math.nan


def arrival(problem: Problem, choices: Choices, policy: Policy, start: int, deadline_s: float) -> Arrival:
    """Follows a policy from one place.

    Args:
        problem: that the policy solves.
        choices: that it chooses from; the mean over the members counts.
        policy: what is done.
        start: the place.
        deadline_s: until which it is followed, s.
    """
    step_s = grid_step(choices)
    last = math.floor(deadline_s / step_s + 1e-9)
    if start == problem.goal:
        return Arrival(np.ones(1), step_s, 0.0)
    where, chance, duration = _rows(problem, choices, policy, step_s)
    count, width = len(where), len(where) + 2
    # Whatever is under way within the shortest duration from now cannot come back within it: so many steps are carried on at once.
    shortest, longest = int(duration.min()), int(duration.max())
    target = duration[:, None] * width + where
    arrived = np.zeros(last + 1)
    lost, now, quiet = 0.0, 0, 0
    ahead = np.zeros((_BLOCKS * shortest + longest, width))
    ahead[0, start] = 1
    while now <= last and quiet <= longest:
        flat = ahead.reshape(-1)
        for block in range(0, _BLOCKS * shortest, shortest):
            mass = ahead[block : block + shortest, :count]
            step, place = np.divmod(np.flatnonzero(mass > _TINY), count)
            quiet = 0 if len(place) else quiet + shortest
            if quiet > longest or now + block > last:
                break
            flow = mass[step, place][:, None] * chance[place]
            landing = ((block + step) * width)[:, None] + target[place]
            np.add.at(flat, landing.ravel(), flow.ravel())
        # All that still comes in this many rows is there now.
        rows = ahead[: min(_BLOCKS * shortest, last + 1 - now)]
        arrived[now : now + len(rows)] = rows[:, count]
        lost += float(rows[:, count + 1].sum())
        now += _BLOCKS * shortest
        later = np.zeros_like(ahead)
        later[:longest] = ahead[-longest:]
        ahead = later
    return Arrival(arrived, step_s, lost)


def grid_step(choices: Choices) -> float:
    """Of time, s, of which all durations are multiples: 0.5 s, or what suits the image, in tenths of a second."""
    tenths = np.unique(np.round(choices.cost_s * 10).astype(np.int64))
    return math.gcd(5, *tenths.tolist()) / 10


def in_sequence(arrivals: list[Arrival], deadline_s: float) -> Arrival:
    """One after another: the times add, and all have to succeed. At least one; all on the same grid."""
    step_s = arrivals[0].step_s
    chance = np.ones(1)
    lost = 0.0
    for each in arrivals:
        lost += float(chance.sum()) * each.lost
        chance = np.convolve(chance, each.chance)[: math.floor(deadline_s / step_s + 1e-9) + 1]
    return Arrival(chance, step_s, lost)


def _rows(problem: Problem, choices: Choices, policy: Policy, step_s: float) -> tuple[Int64, Float64, Int64]:
    """Of each place under the policy: where it leads (m, S + 2), with what chance (m, S + 2), and how long it takes (m,), in grid steps.

    m stands for the goal and m + 1 for being lost.
    """
    count = len(problem.blocked)
    name = np.arange(count + 1)
    name[problem.blocked_or_cut_off()] = count + 1
    name[problem.goal], name[count] = count, count + 1
    occupancy = choices.occupancy[policy.choice]
    far, share = problem.destinations()
    # Half a step of rounding at most, where an image takes no tenths of a second.
    duration = np.maximum(np.round(choices.cost_s[policy.choice] / step_s).astype(np.int64), 1)
    where = name[np.concatenate([problem.landings.within, far[:, None], np.full((count, 1), count)], axis=1)]
    elsewhere = occupancy[:, -1:]
    chance = np.concatenate([occupancy[:, :-1], elsewhere * share[:, None], elsewhere * (1 - share)[:, None]], axis=1)
    return where, chance, duration
