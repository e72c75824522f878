"""The few actions that plans are made of, found once for a model and a context: a coarse grid, then ever smaller steps around what proves best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dichroic.honeycomb import surroundings
from services.transition.actions import Actions, perfect_neighbours
from services.transition.arrays import Bool, Float64
from services.transition.open_lattice import Displacements, OpenLattice, first_guess
from services.transition.values import NEUTRAL, Choices, Problem, Risk, action_costs, solve

BOND_LENGTH = 1.42  # Å
IMAGE_S = 2.0
LONGEST_DWELL_S = 10.0
# Hops within which the end of a dwell is told apart: rates that reach far carry an atom over several in one dwell, and plans gain by knowing where.
SHELLS = 4
BEAM_RADIUS = 3.0  # Å
# Of the first grid: rates vary over some 0.4 Å.
_SPACING = 0.3  # Å
_DWELLS_S = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
# Around what proves best, Å, one round each; the first two walk as far as the grid is coarse.
_STEPS = (0.15, 0.15, 0.1, 0.1, 0.05, 0.05)
# What leaving an action out may cost at any one site, s: while searching, and in the end.
_SLACK_SEARCHING_S, _SLACK_S = 0.05, 0.01
# Places that actions are tried at. Farther out the goal only has a direction.
_HOPS, _HOPS_AT_RISK = 12, 5
# The share of sites blocked at random in the lattices that actions for ways round obstacles are found on, and how many such lattices.
_BLOCKED_SHARE, _OBSTACLE_COURSES = 0.12, 3
# What losing the dopant costs there, in hops.
_LOST_HOPS = 40


class Occupancy(Protocol):
    """Where a dopant is at the end of a dwell: a `Chain` of a model's rates, or the truth."""

    def __call__(self, beam: Float64, neighbours: Float64, dwell_s: Float64, context: Float64) -> Float64:
        """Probabilities of the sites of the surroundings, elsewhere last.

        Args:
            beam: (n, 2) float64, Å from the dopant.
            neighbours: (n, 3, 2) float64, Å from it.
            dwell_s: (n,) float64, s.
            context: (n, 2) float64, nA and kV.

        Returns:
            (n, S + 1) float64, or (n, M, S + 1) by each member of an ensemble.
        """
        ...


@dataclass(frozen=True)
class ActionTable:
    """What plans are made of.

    Attributes:
        actions: A of them, in the frame of any neighbour.
        choices: what they do, in all three frames.
        image_s: what an image costs, s.
        open_lattice: what is best done with them where there are no edges.
        bond_length: Å, for which it was made.
        evaluated: how many actions were asked of the model to find them.
    """

    actions: Actions
    choices: Choices
    image_s: float
    open_lattice: OpenLattice
    bond_length: float
    evaluated: int


def tabulate(
    occupancy: Occupancy,
    context: tuple[float, float],
    *,
    shells: int = SHELLS,
    image_s: float = IMAGE_S,
    bond_length: float = BOND_LENGTH,
    beam_radius: float = BEAM_RADIUS,
    longest_dwell_s: float = LONGEST_DWELL_S,
) -> ActionTable:
    """Finds the actions worth having.

    An action is kept where without it some place would cost more than _SLACK_S: on the open lattice, on lattices with sites blocked at random, and
    for an ensemble also where the worst member counts.

    Args:
        occupancy: of the model.
        context: nA and kV.
        shells: of the surroundings that `occupancy` tells.
        image_s: what an image costs, s.
        bond_length: Å.
        beam_radius: Å, within which beams are tried: where the model was trained.
        longest_dwell_s: dwells are tried in steps of 0.5 s up to it.
    """
    search = _Search(occupancy, context, shells, image_s, bond_length)
    dwells = np.array([each for each in _DWELLS_S if each <= longest_dwell_s] or [longest_dwell_s])
    search.add(Actions.grid(_SPACING, beam_radius, dwells))
    search.keep(_SLACK_SEARCHING_S)
    for step in _STEPS:
        search.add(search.actions.around(step, beam_radius, longest_dwell_s))
        search.keep(_SLACK_SEARCHING_S)
    # All in reach of a dwell's half steps are there; what is left out now is left out for good.
    search.keep(_SLACK_S)
    choices = search.choices()
    return ActionTable(search.actions, choices, image_s, OpenLattice(search.actions, choices), bond_length, search.evaluated)


class _Search:
    """Actions so far, and what the model says of them."""

    def __init__(self, occupancy: Occupancy, context: tuple[float, float], shells: int, image_s: float, bond_length: float) -> None:
        self._occupancy, self._context = occupancy, np.array(context, np.float64)
        self._shells, self._image_s = shells, image_s
        self._neighbours = perfect_neighbours(bond_length)
        self.actions = Actions(np.empty(0), np.empty(0), np.empty(0))
        self._told: Float64 = np.empty((0, 1, len(surroundings(shells)) + 1))
        self.evaluated = 0
        places = Displacements.within(_HOPS)
        self._open = places.problem(shells)
        stream = np.random.default_rng(0)
        self._courses: list[tuple[Bool, Problem]] = []
        for _ in range(_OBSTACLE_COURSES):
            blocked = stream.random(len(places)) < _BLOCKED_SHARE
            blocked[0] = False
            self._courses.append((blocked, places.problem(shells, blocked)))
        self._at_risk = Displacements.within(_HOPS_AT_RISK).problem(shells)

    def add(self, actions: Actions) -> None:
        """Asks the model about more of them."""
        count = len(actions)
        beam = np.stack([actions.along, actions.across], axis=1)
        neighbours = np.broadcast_to(self._neighbours, (count, 3, 2)).copy()
        told = self._occupancy(beam, neighbours, actions.dwell_s, np.broadcast_to(self._context, (count, 2)).copy())
        told = told.reshape(count, -1, told.shape[-1])
        self._told = told if not len(self.actions) else np.concatenate([self._told, told])
        self.actions = self.actions.with_others(actions)
        self.evaluated += count

    def choices(self) -> Choices:
        """What they do."""
        members = np.moveaxis(self._told, 1, 0) if self._told.shape[1] > 1 else None
        return Choices(self._told.mean(axis=1), self.actions.dwell_s, self._image_s, self._shells, members)

    def keep(self, slack_s: float) -> None:
        """Forgets those without which nothing costs more than `slack_s`."""
        choices = self.choices()
        hop_s = first_guess(choices)
        excess = []
        cases: list[tuple[Problem, Risk]] = [(self._open, NEUTRAL), *((problem, NEUTRAL) for _, problem in self._courses)]
        if self._told.shape[1] > 1:
            cases.append((self._at_risk, Risk(worst=True)))
        for problem, risk in cases:
            stated = Problem(problem.landings, problem.goal, problem.blocked, problem.hops, _LOST_HOPS * hop_s)
            policy = solve(stated, choices, start_s=hop_s * stated.hops.astype(np.float64), risk=risk)
            costs = action_costs(stated, choices, policy, risk)
            # An action is had in all frames or in none.
            own = costs.reshape(len(costs), 3, -1).min(axis=1)
            excess.append(own - own.min(axis=1, keepdims=True))
        kept = np.array(_cover(np.concatenate(excess) <= slack_s), np.int64)
        self.actions, self._told = self.actions.kept(kept), self._told[kept]


def _cover(serves: Bool) -> list[int]:
    """(r, A) which action serves which place → a few that serve all, the one that serves most of what is left first."""
    left, kept = serves, []
    while len(left):
        best = int(left.sum(axis=0).argmax())
        kept.append(best)
        left = left[~left[:, best]]
    return sorted(kept)
