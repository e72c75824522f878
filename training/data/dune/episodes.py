"""Episodes: a silicon atom, a goal, and what an agent is shown of them. Lattices are unbounded; the view only says how far goals may lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.lattice import bonds_at, check_bond_length, hops_between, sites_within
from training.data.dune.rates import BOND_LENGTH
from training.data.dune.streams import EPISODES
from training.errors import InputError

_TILE = 500


@dataclass(frozen=True)
class Episodes:
    """Where atoms start and where they are to go.

    Attributes:
        neighbours: (n, 3, 2) float64, Å, of the atom at its start.
        goal_steps: (n, 3) int64: the goal lies at goal_steps @ neighbours; their sum is 0 or 1.
    """

    neighbours: Array
    goal_steps: Array

    def __post_init__(self) -> None:
        """Checks.

        Raises:
            InputError: UNSUPPORTED_SHAPE; INVALID_OPTION where a goal is no site.
        """
        count = len(self.neighbours)
        if self.neighbours.shape != (count, 3, 2) or self.goal_steps.shape != (count, 3) or not count:
            raise InputError("UNSUPPORTED_SHAPE", "Episodes have `neighbours` (n, 3, 2) and `goal_steps` (n, 3), n >= 1.")
        if not np.isin(self.goal_steps.sum(axis=1), (0, 1)).all():
            raise InputError("INVALID_OPTION", "A goal is a site of the lattice: its steps sum to 0 or 1.")

    def __len__(self) -> int:
        return len(self.neighbours)

    @property
    def hops(self) -> Array:
        """(n,) int64, the fewest that lead to the goal."""
        return hops_between(self.goal_steps)

    @classmethod
    def drawn(
        cls, count: int, seed: int, *, field_of_view_angstrom: tuple[float, float] = (15.0, 30.0), bond_length: float = BOND_LENGTH
    ) -> Episodes:
        """As published: a square view with the atom at its centre and the lattice turned at random, the goal any other atom of the view.

        The side is uniform between two, every atom is as likely; in the mean the goal is 7.7 hops away.

        Args:
            count: episodes, >= 1.
            seed: the same seed gives the same episodes; a longer set begins with the shorter one.
            field_of_view_angstrom: LOW HIGH of the side, Å, 6 <= LOW <= HIGH <= 200.
            bond_length: Å.

        Raises:
            InputError: INVALID_OPTION.
        """
        low, high = field_of_view_angstrom
        if count < 1 or not 6 <= low <= high <= 200:
            raise InputError("INVALID_OPTION", f"There is at least one episode, in 6 to 200 Å of view, not {count} in {low:g} to {high:g}.")
        check_bond_length(bond_length)
        drawn = random_stream(seed, EPISODES).random((count, 3))
        neighbours = bonds_at(2 * math.pi * drawn[:, 0], bond_length)
        side = low + (high - low) * drawn[:, 1]
        sites = sites_within(high / math.sqrt(2), bond_length)
        sites = sites[sites.any(axis=1)]
        goals = np.empty((count, 3), np.int64)
        for start in range(0, count, _TILE):
            rows = slice(start, start + _TILE)
            inside = (np.abs(sites @ neighbours[rows]) <= side[rows, None, None] / 2).all(axis=-1)
            so_many = np.cumsum(inside, axis=1)
            wanted = np.floor(drawn[rows, 2] * so_many[:, -1]).astype(np.int64)
            goals[rows] = sites[(so_many > wanted[:, None]).argmax(axis=1)]
        return cls(neighbours, goals)


@dataclass(frozen=True)
class AgentObservation:
    """What agents are shown of the episodes that still run: n rows.

    Attributes:
        neighbours: (n, 3, 2) float64, Å relative to the silicon atom.
        goal: (n, 2) float64, Å relative to it.
        goal_steps: (n, 3) int64: goal = goal_steps @ neighbours, whichever sublattice the atom is on. All that a planner on a perfect lattice needs.
        sublattice: (n,) int64, 0 the start's, 1 the other.
        context: (n, 2) float64, nA and kV.
        seconds: (n,) float64, since the episode began.
    """

    neighbours: Array
    goal: Array
    goal_steps: Array
    sublattice: Array
    context: Array
    seconds: Array


class Agent(Protocol):
    """Where to put the beam, and for how long."""

    def __call__(self, observation: AgentObservation) -> tuple[Array, Array]:
        """Beams (n, 2) float64, Å relative to the silicon atom, and dwells (n,) float64, s, > 0."""
        ...


@dataclass(frozen=True)
class Outcomes:
    """What became of the episodes.

    Attributes:
        success: (n,) bool, the goal was seen to be reached in time.
        seconds: (n,) float64, until the image that showed it, or until the episode was given up.
        steps: (n,) int64, dwells.
    """

    success: Array
    seconds: Array
    steps: Array

    @property
    def success_rate(self) -> float:
        """0 to 1."""
        return float(self.success.mean())

    def mean_seconds(self) -> tuple[float, float]:
        """Mean time to the goal of those that reached it, and its standard error, s; NaN where fewer than two did."""
        seconds = self.seconds[self.success]
        if len(seconds) < 2:
            return math.nan, math.nan
        return float(seconds.mean()), float(seconds.std(ddof=1) / math.sqrt(len(seconds)))
