"""When a dopant arrives that follows a policy: the distribution over places and times, carried forward from where it is now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.transition.arrays import Float64, Int64
from services.transition.values import Choices, Policy, Problem

# What is at one place at one time and not worth following, as a probability.
_TINY = 1e-8
# Whoever arrives later than the deadline by no more than such a chance is not looked for; θ D of the bound that says so, and after how many dwells
# nothing is said.
_LATE, _TILT, _MOST_DWELLS = 1e-5, 25.0, 2000
# So many times the shortest duration are held in memory at once.
_BLOCKS = 32


@dataclass(frozen=True)
class Arrival:
    """From the start, within the deadline. Chances too small to be followed are counted as neither success nor loss: 1e-4 in all at most.

    Attributes:
        success_probability: that an image shows the dopant at the goal.
        expected_s: mean time until then, of those that arrive, s; NaN where none does.
        lost: that it leaves the lattice or comes to a blocked site.
        chance: (t,) float64, of the success that it comes k · step_s after now; None where only the sums were asked for.
        step_s: of the grid of time, s.
    """

    success_probability: float
    expected_s: float
    lost: float
    chance: Float64 | None
    step_s: float

    @classmethod
    def at(cls, chance: Float64, step_s: float, lost: float) -> Arrival:
        """From the distribution."""
        total = float(chance.sum())
        mean = float((chance * np.arange(len(chance))).sum()) / total * step_s if total > 0 else math.nan
        return cls(min(total, 1.0), mean, lost, chance, step_s)


def arrival(problem: Problem, choices: Choices, policy: Policy, start: int, deadline_s: float, *, distribution: bool = False) -> Arrival:
    """Follows a policy from one place.

    Args:
        problem: that the policy solves.
        choices: that it chooses from; the mean over the members counts.
        policy: what is done.
        start: the place.
        deadline_s: until which it is followed, s.
        distribution: whether `chance` is wanted, which takes longer.
    """
    step_s = grid_step(choices)
    last = math.floor(deadline_s / step_s + 1e-9)
    if start == problem.goal:
        return Arrival.at(np.ones(1), step_s, 0.0)
    rows = _rows(problem, choices, policy, step_s)
    found = None if distribution else _by_dwells(*rows, start=start, last=last, step_s=step_s)
    return found or _by_time(*rows, start=start, last=last, step_s=step_s)


def _by_dwells(where: Int64, chance: Float64, duration: Int64, *, start: int, last: int, step_s: float) -> Arrival | None:
    """Dwell by dwell, with the mean time at every place: enough where the deadline cuts nothing off, and None where it may.

    P(T > D) <= E e^(θ (T − D)), summed over the attempts that arrive.
    """
    count = len(where)
    tilt = _TILT / max(last, 1)
    slower = np.exp(np.minimum(tilt * duration, 700.0))
    # At each place: its chance, its chance times the mean time, and its chance times e^(θ (time − D)).
    state: list[Float64] = [np.zeros(count + 2) for _ in range(3)]
    state[0][start], state[2][start] = 1, math.exp(-_TILT)
    success = seconds = lost = late = 0.0
    for _ in range(_MOST_DWELLS):
        mass, moment, tilted = state
        places = np.flatnonzero(mass[:count] > _TINY)
        if not len(places):
            return Arrival(min(success, 1.0), seconds / success * step_s if success > 0 else math.nan, lost, None, step_s)
        after = (mass[places], moment[places] + mass[places] * duration[places], tilted[places] * slower[places])
        landing = where[places].ravel()
        state = [np.bincount(landing, (each[:, None] * chance[places]).ravel(), minlength=count + 2).astype(np.float64) for each in after]
        success, seconds, lost = success + float(state[0][count]), seconds + float(state[1][count]), lost + float(state[0][count + 1])
        late += float(state[2][count])
        if late > _LATE:
            return None
    return None


def _by_time(where: Int64, chance: Float64, duration: Int64, *, start: int, last: int, step_s: float) -> Arrival:
    """Step by step of time."""
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
    return Arrival.at(arrived, step_s, lost)


def grid_step(choices: Choices) -> float:
    """Of time, s, of which all durations are multiples: 0.5 s, or what suits the image, in tenths of a second."""
    tenths = np.unique(np.round(choices.cost_s * 10).astype(np.int64))
    return math.gcd(5, *tenths.tolist()) / 10


def in_sequence(arrivals: list[Arrival], deadline_s: float) -> Arrival:
    """One after another: the times add, and all have to succeed. At least one; all with their distributions, on the same grid."""
    step_s = arrivals[0].step_s
    steps = math.floor(deadline_s / step_s + 1e-9) + 1
    chance = np.ones(1)
    lost = 0.0
    for each in arrivals:
        lost += float(chance.sum()) * each.lost
        if each.chance is None:
            raise ValueError("times can only be added where their distributions are known")
        chance = _of_the_sum(chance, each.chance, steps)
    return Arrival.at(chance, step_s, lost)


def _of_the_sum(one: Float64, other: Float64, steps: int) -> Float64:
    """(t,) the distribution of the sum of two times, t at most `steps`: a product of Fourier transforms, since a day has 864 000 tenths of a second.

    Right to about 1e-15 of a chance, and nothing where nothing can be: before the first that arrives.
    """
    one, other = one[:steps], other[:steps]
    if not one.any() or not other.any():
        return np.zeros(1)
    length = len(one) + len(other) - 1
    # Powers of two are quick; a shorter one would wrap round.
    size = 1 << (length - 1).bit_length()
    found = np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size), size)[: min(length, steps)]
    found[: int(np.argmax(one > 0)) + int(np.argmax(other > 0))] = 0
    return np.maximum(found, 0)


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
