"""The lattice without edges or defects: a policy by displacement alone, which actions it needs, and how an agent follows it.

A place is where the goal lies as seen from the dopant, in steps along its own three neighbours (dichroic/honeycomb.py): their sum is 0 where the
goal stands on the dopant's own sublattice and 1 where on the other. On either sublattice the rates are the same functions of the own neighbours,
so nothing else needs to be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.honeycomb import surroundings
from services.transition.actions import Actions, beam_at
from services.transition.arrays import Bool, Float64, Int64
from services.transition.sites import Landings
from services.transition.values import NEUTRAL, Choices, Policy, Problem, Risk, solve

# Hops from the goal within which places are told apart: farther than across any view that atoms can be seen in at once.
HOPS = 30


@dataclass(frozen=True)
class Displacements:
    """All places within so many hops of the goal.

    Attributes:
        steps: (m, 3) int64, where the goal lies; first the goal's own, all 0.
        index: (2 h + 3, 2 h + 3, 2) int64: which place has steps i, j and sum σ, at [i + h + 1, j + h + 1, σ]; −1 for none.
        hops: h.
    """

    steps: Int64
    index: Int64
    hops: int

    @classmethod
    def within(cls, hops: int) -> Displacements:
        """Those at most so many hops away."""
        axis = np.arange(-hops, hops + 1)
        i, j, total = (each.ravel() for each in np.meshgrid(axis, axis, [0, 1], indexing="ij"))
        steps = np.stack([i, j, total - i - j], axis=1)
        so_many = np.abs(steps).sum(axis=1)
        steps = steps[so_many <= hops][np.argsort(so_many[so_many <= hops], kind="stable")]
        index = np.full((2 * hops + 3, 2 * hops + 3, 2), -1, np.int64)
        index[steps[:, 0] + hops + 1, steps[:, 1] + hops + 1, steps.sum(axis=1)] = np.arange(len(steps))
        return cls(steps, index, hops)

    def __len__(self) -> int:
        return len(self.steps)

    def find(self, steps: Int64) -> Int64:
        """(..., 3) → (...,) the place; one that is too far off is looked up at the nearest to it on the way to the goal."""
        found = steps.copy()
        while (too_far := np.abs(found).sum(axis=-1) > self.hops).any():
            # One forward step and one backward step less: two hops nearer, on the same sublattice.
            rows = found[too_far]
            every = np.arange(len(rows))
            rows[every, rows.argmax(axis=1)] -= 1
            rows[every, rows.argmin(axis=1)] += 1
            found[too_far] = rows
        places: Int64 = self.index[found[..., 0] + self.hops + 1, found[..., 1] + self.hops + 1, found.sum(axis=-1)]
        return places

    def landings(self, shells: int) -> Landings:
        """Where dwells may end. Who would come beyond the last place is taken to stay: nothing may be gained by leaving."""
        sites = surroundings(shells + 1)
        sign = 1 - 2 * sites.sublattice
        # Seen from a site of the other sublattice all steps count the other way.
        steps = (self.steps[:, None] - sites.steps) * sign[:, None]
        inside = np.abs(steps).sum(axis=-1) <= self.hops
        found = np.where(inside, self.find(steps), np.arange(len(self))[:, None])
        count = len(surroundings(shells))
        return Landings(found[:, :count], found[:, count:])

    def problem(self, shells: int, blocked: Bool | None = None, lost_s: float = 600.0) -> Problem:
        """To the goal from everywhere."""
        so_many = np.abs(self.steps).sum(axis=1)
        none: Bool = np.zeros(len(self), bool)
        return Problem(self.landings(shells), 0, none if blocked is None else blocked, so_many, lost_s)


class OpenLattice:
    """The best policy on the open lattice.

    Attributes:
        policy: by place.
        hop_s: seconds that one more hop costs, far from the goal.
    """

    def __init__(self, actions: Actions, choices: Choices, *, hops: int = HOPS, risk: Risk = NEUTRAL) -> None:
        """Solves it.

        Args:
            actions: (A,) in the frame of any neighbour.
            choices: what they do.
            hops: from the goal within which it is solved.
            risk: of an ensemble.
        """
        self.actions, self.choices = actions, choices
        self.displacements = Displacements.within(hops)
        self.problem = self.displacements.problem(choices.shells)
        so_many = self.problem.hops
        self.policy: Policy = solve(self.problem, choices, start_s=first_guess(choices) * so_many.astype(np.float64), risk=risk)
        near, far = so_many == hops // 3, so_many == 2 * hops // 3
        self.hop_s = float((self.policy.value_s[far].mean() - self.policy.value_s[near].mean()) / (2 * hops // 3 - hops // 3))

    def value_s(self, goal_steps: Int64) -> Float64:
        """(n, 3) where goals lie → (n,) expected seconds to them, images included."""
        found: Float64 = self.policy.value_s[self.displacements.find(goal_steps)]
        return found

    def decide(self, neighbours: Float64, goal_steps: Int64) -> tuple[Float64, Float64]:
        """What to do next, for many dopants at once.

        Args:
            neighbours: (n, 3, 2) float64, Å from the dopant, counter-clockwise.
            goal_steps: (n, 3) int64: the goal lies at goal_steps @ neighbours.

        Returns:
            beams (n, 2) float64, Å from the dopant, and dwells (n,) float64, s.
        """
        frame, action = np.divmod(self.policy.choice[self.displacements.find(goal_steps)], len(self.actions))
        return beam_at(self.actions.along[action], self.actions.across[action], frame, neighbours), self.actions.dwell_s[action]


def steps_to(goal_xy: Float64, atoms_xy: Float64, neighbours: Float64) -> Int64:
    """Where a goal lies as seen from each atom, counted on the perfect lattice that suits the goal's own neighbours best.

    Args:
        goal_xy: (2,) Å.
        atoms_xy: (m, 2) Å.
        neighbours: (3, 2) Å from the goal, counter-clockwise.

    Returns:
        (m, 3) int64; near the truth where the lattice is strained or broken.
    """
    length = float(np.hypot(neighbours[:, 0], neighbours[:, 1]).mean())
    bonds = beam_at(np.full(3, length), np.zeros(3), np.arange(3), np.broadcast_to(neighbours, (3, 3, 2)))
    edges = np.linalg.inv(bonds[:2] - bonds[2])
    # From the goal: on its own sublattice at i (n_1 − n_3) + j (n_2 − n_3), on the other n_3 farther.
    offsets = np.stack([np.zeros(2), bonds[2]])[:, None]
    place = ((atoms_xy - goal_xy) - offsets) @ edges
    whole = np.round(place)
    sublattice = ((place - whole) ** 2).sum(axis=-1).argmin(axis=0)
    ij = whole[sublattice, np.arange(len(atoms_xy))].astype(np.int64)
    steps = np.concatenate([ij, sublattice[:, None] - ij.sum(axis=1, keepdims=True)], axis=1)
    # Seen from the atom: back along all of them, which on the other sublattice count the other way.
    return steps * np.where(sublattice == 0, -1, 1)[:, None]


def first_guess(choices: Choices) -> float:
    """Seconds that a hop costs where the best single action leads to the first neighbour, all other outcomes being repeated."""
    chance = choices.leaving[:, 0]
    return float((choices.per_leaving / np.maximum(chance, 1e-6)).min())
