"""The semi-Markov decision process over a lattice: what each site is worth, in seconds, and what is best done there.

V(s) = min_a [c_a + Σ_s' P_a(s → s') V(s')], c_a the dwell and an image; V = 0 at the goal, and V = a stated number of seconds wherever the dopant
is lost: off the lattice or on a blocked site. Staying is taken out first, V(s) = min_a [c_a + Σ_(s' ≠ s) P_a V(s')] / (1 − P_a(stay)), which has
the same solution and reaches it in about as many sweeps as there are hops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.transition.actions import turned
from services.transition.arrays import Bool, Float64, Int64
from services.transition.sites import Landings

# An action that leaves more seldom than this in one dwell is none: nothing is gained by waiting for it.
_LEAST_LEAVING = 1e-6
# Sweeps under one policy between two searches for a better one.
_SWEEPS = 10
_MOST_ROUNDS = 500
TOLERANCE_S = 1e-3


@dataclass(frozen=True)
class Risk:
    """How a plan weighs what the members of an ensemble disagree on.

    Attributes:
        kappa: κ >= 0: an action costs its mean and κ standard deviations over the members, but never more than by the worst of them.
        worst: an action costs what the worst member says.
    """

    kappa: float = 0.0
    worst: bool = False

    @property
    def neutral(self) -> bool:
        """Whether only the mean counts."""
        return not self.worst and self.kappa == 0


NEUTRAL = Risk()


class Choices:
    """What can be done at any site: 3 A actions, frame by frame, and where they lead.

    Attributes:
        cost_s: (3 A,) float64, dwell and image.
        occupancy: (3 A, S + 1) float64.
    """

    def __init__(self, occupancy: Float64, dwell_s: Float64, image_s: float, shells: int, members: Float64 | None = None) -> None:
        """Turns actions into all three frames.

        Args:
            occupancy: (A, S + 1) of actions in the frame of the first neighbour.
            dwell_s: (A,) s.
            image_s: s.
            shells: of the surroundings.
            members: (M, A, S + 1) by each member of an ensemble.
        """
        self.shells, self.image_s = shells, image_s
        self.cost_s: Float64 = np.tile(dwell_s + image_s, 3)
        self.occupancy = turned(occupancy, shells)
        self.leaving, self.per_leaving = _without_staying(self.occupancy, self.cost_s)
        self._members = [] if members is None else [_without_staying(turned(each, shells), self.cost_s) for each in members]

    def __len__(self) -> int:
        return len(self.cost_s)

    def costs(self, landed: Float64, risk: Risk) -> Float64:
        """(m, S) values of where a dopant may land, its own place left out and elsewhere last → (m, 3 A) s, of each action at each site."""
        mean = landed @ self.leaving.T + self.per_leaving
        if risk.neutral or not self._members:
            return mean
        total, square, worst = np.zeros_like(mean), np.zeros_like(mean), mean
        for leaving, per_leaving in self._members:
            own = landed @ leaving.T + per_leaving
            worst = np.maximum(worst, own)
            # About the mean, so that nothing cancels.
            total += own - mean
            square += (own - mean) ** 2
        if risk.worst:
            return worst
        count = len(self._members)
        sd = np.sqrt(np.maximum(square / count - (total / count) ** 2, 0))
        found: Float64 = np.minimum(mean + risk.kappa * sd, worst)
        return found


@dataclass(frozen=True)
class Problem:
    """Where to, and where not.

    Attributes:
        landings: where a dwell may end.
        goal: the place that is to be reached.
        blocked: (m,) places where the dopant is lost.
        hops: (m,) fewest hops to the goal, −1 where no way leads.
        lost_s: what losing the dopant costs, s.
    """

    landings: Landings
    goal: int
    blocked: Bool
    hops: Int64
    lost_s: float

    def moving(self) -> Int64:
        """The places where something is to be decided."""
        return np.flatnonzero(~self.blocked & (self.hops > 0))

    def blocked_or_cut_off(self) -> Int64:
        """The places where the dopant is lost."""
        return np.flatnonzero(self.blocked | (self.hops < 0))

    def destinations(self) -> tuple[Int64, Float64]:
        """Where "elsewhere" is, for the worst: at the place one shell farther out from which the goal is farthest.

        Returns:
            (m,) int64 that place, and (m,) float64 the share of places in that shell where a dopant may be; with the rest of its chance it is lost.
        """
        beyond, count = self.landings.beyond, len(self.blocked)
        hops = np.append(np.where(self.blocked, -1, self.hops), -1)[beyond]
        hops[beyond == self.goal] = 0
        farthest = beyond[np.arange(count), hops.argmax(axis=1)]
        return farthest, (hops >= 0).mean(axis=1)


@dataclass(frozen=True)
class Policy:
    """What is best done.

    Attributes:
        value_s: (m,) float64, seconds to the goal, with what it costs to be lost; of the goal 0, of blocked sites `lost_s`.
        choice: (m,) int64, which of the choices; 0 where nothing is decided.
    """

    value_s: Float64
    choice: Int64


def solve(problem: Problem, choices: Choices, *, start_s: Float64, risk: Risk = NEUTRAL, tolerance_s: float = TOLERANCE_S) -> Policy:
    """The best policy, by modified policy iteration.

    Args:
        problem: m places.
        choices: what can be done at each.
        start_s: (m,) float64, values to begin with; the nearer, the sooner it is done.
        risk: of the ensemble.
        tolerance_s: by which no value changes any more when it ends.
    """
    places = _Places(problem)
    moving, count = places.moving, len(problem.blocked)
    value = np.full(count + 1, problem.lost_s)
    value[moving] = start_s[moving]
    value[problem.goal] = 0
    chosen = np.zeros(len(moving), np.int64)
    for _ in range(_MOST_ROUNDS if len(moving) else 0):
        landed = places.landed(value)
        costs = choices.costs(landed, risk)
        chosen = costs.argmin(axis=1)
        best = costs[np.arange(len(moving)), chosen]
        change = np.abs(best - value[moving]).max()
        value[moving] = best
        if change < tolerance_s:
            break
        leaving = choices.leaving[chosen]
        # What is left beside the mean is held while the policy is: it changes little, and searching for it is what takes long.
        fixed = best - np.einsum("ms,ms->m", landed, leaving)
        for _ in range(_SWEEPS):
            landed = places.landed(value)
            value[moving] = np.einsum("ms,ms->m", landed, leaving) + fixed
    choice = np.zeros(count, np.int64)
    choice[moving] = chosen
    return Policy(value[:-1], choice)


def action_costs(problem: Problem, choices: Choices, policy: Policy, risk: Risk = NEUTRAL) -> Float64:
    """(r, 3 A) s: what each action costs at each of the r places where something is decided, and the policy is followed from there on."""
    return choices.costs(_Places(problem).landed(np.append(policy.value_s, problem.lost_s)), risk)


class _Places:
    """The places where something is to be decided, and where they may land."""

    def __init__(self, problem: Problem) -> None:
        self.moving = problem.moving()
        far, share = problem.destinations()
        self._where = np.concatenate([problem.landings.within[self.moving, 1:], far[self.moving, None]], axis=1)
        self._share, self._lost_s = share[self.moving], (1 - share[self.moving]) * problem.lost_s

    def landed(self, value: Float64) -> Float64:
        """(m + 1,) values, that of being lost last → (r, S) of where a dopant may land, its own place left out and elsewhere last."""
        found: Float64 = value[self._where]
        found[:, -1] *= self._share
        found[:, -1] += self._lost_s
        return found


def _without_staying(occupancy: Float64, cost_s: Float64) -> tuple[Float64, Float64]:
    """(a, S) where actions lead when they lead away, elsewhere last, and (a,) s until they do; no action that never does is ever the best."""
    # The sum of what leaves, not 1 − staying: rows of small probabilities keep their digits.
    away = occupancy[:, 1:].sum(axis=1)
    leaving = occupancy[:, 1:] / np.maximum(away, _LEAST_LEAVING)[:, None]
    return leaving, cost_s / np.maximum(away, _LEAST_LEAVING)
