"""What `benchmarks.transition_planning` compares: the planner as an agent, greedy agents at their best, and what room is left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.transition.actions import Actions, perfect_neighbours, turned
from services.transition.arrays import Float64
from services.transition.open_lattice import Displacements, OpenLattice
from services.transition.table import BEAM_RADIUS, BOND_LENGTH, IMAGE_S, LONGEST_DWELL_S, ActionTable, tabulate
from training.data.drawing import random_stream
from training.data.dune.episodes import Agent, AgentObservation, Episodes
from training.data.dune.rates import RateModel, neighbour_frames
from training.data.dune.simulator import REFERENCE_CONTEXT
from training.data.dune.truth import occupancy_probabilities

# Hops within which a greedy agent's expected time is solved for, and shells of what a dwell may do.
_HOPS, _SHELLS = 20, 5
# Of the bound: places within so many hops, beams on such a grid and on a finer one around those the planner uses, dwells in such steps.
_BOUND_HOPS, _BOUND_SPACING, _FINE_SPACING, _FINE_REACH = 14, 0.1, 0.02, 0.2
_BOUND_DWELLS = np.arange(0.25, LONGEST_DWELL_S + 0.1, 0.25)


class WideMixture:
    """Random mixtures as the published simulator draws them: on the bond, 1 + Poisson(2) Gaussians at −2 to 3 bonds, variances 0.1 to 5 Å².

    The highest component's peak is at 0.01 to 1 /s. Wide ones hardly tell the three neighbours from each other.
    """

    def __init__(self, seed: int) -> None:
        """Draws one; the same seed gives the same."""
        stream = random_stream(seed, 900)
        count = int(stream.poisson(2.0)) + 1
        highest = stream.uniform(0.01, 1.0)
        weight = stream.uniform(0.0, 10.0, count)
        self._along = stream.uniform(-2.0, 3.0, count)
        self._variance = stream.uniform(0.1, 5.0, (count, 2))
        height = weight / np.sqrt(self._variance.prod(axis=1))
        self._height = height * highest / height.max()

    def rates(self, beam: Any, neighbours: Any, context: Any) -> Any:
        """As `RateModel` says."""
        del context
        along, across, distance = neighbour_frames(beam, neighbours)
        found = np.zeros_like(along)
        for height, at, (wide, tall) in zip(self._height, self._along, self._variance, strict=True):
            square = (along - at * distance) ** 2 / wide + across**2 / tall
            found += height * np.exp(-square * BOND_LENGTH**2 / 2)
        return found


@dataclass(frozen=True)
class Planner:
    """The planner for rates that are known.

    Attributes:
        table: its actions.
        seconds: that it took to find them.
    """

    table: ActionTable
    seconds: float

    @classmethod
    def knowing(cls, rates: RateModel, shells: int) -> Planner:
        """True rates in the place of a model's."""
        began = time.perf_counter()
        return cls(tabulate(occupancy_of(rates, shells), REFERENCE_CONTEXT, shells=shells), time.perf_counter() - began)

    @property
    def agent(self) -> Agent:
        """Follows the open lattice's policy."""
        lattice = self.table.open_lattice

        def decide(observation: AgentObservation) -> tuple[Any, Any]:
            return lattice.decide(observation.neighbours, observation.goal_steps)

        return decide


def occupancy_of(rates: RateModel, shells: int) -> Any:
    """The exact occupancy by these rates, as a table is made of."""

    def occupancy(beam: Any, neighbours: Any, dwell_s: Any, context: Any) -> Any:
        return occupancy_probabilities(rates, beam, neighbours, dwell_s, context, shells=shells)

    return occupancy


def peak_of(rates: RateModel) -> tuple[float, float]:
    """(along, across) Å: where the rate to one neighbour is highest within the radius in which beams are tried, of either side the left."""
    grid = np.arange(-BEAM_RADIUS, BEAM_RADIUS + 0.01, 0.02)
    along, across = (each.ravel() for each in np.meshgrid(grid, grid[grid >= -1e-9], indexing="ij"))
    inside = np.hypot(along, across) <= BEAM_RADIUS
    beam = np.stack([along[inside], across[inside]], axis=1)
    told = rates.rates(beam, _perfect(len(beam)), np.broadcast_to(REFERENCE_CONTEXT, (len(beam), 2)))[:, 0]
    best = beam[int(told.argmax())]
    return float(best[0]), float(best[1])


class GreedyTime:
    """The exact expected time of a greedy agent, no deadline: its beam and dwell are fixed, so its Markov chain is solved, not drawn."""

    def __init__(self, rates: RateModel, goals: Episodes) -> None:
        """For the mean over these episodes' goals."""
        self._rates = rates
        self._places = Displacements.within(_HOPS)
        within = self._places.landings(_SHELLS).within
        # Who goes farther than the shells, once in millions of dwells, is taken to stay: no worse for him.
        self._where = np.concatenate([within, np.arange(len(within))[:, None]], axis=1)
        bonds = perfect_neighbours(BOND_LENGTH)
        square = ((bonds - (self._places.steps @ bonds)[:, None]) ** 2).sum(axis=-1)
        self._frame = (square < square.min(axis=1, keepdims=True) + 1e-6).argmax(axis=1)
        self._weight = np.bincount(self._places.find(goals.goal_steps), minlength=len(self._places)) / len(goals)

    def seconds(self, along: float, across: float, dwell_s: float) -> float:
        """Mean time to the goal, s, with the first image; infinite where it does not come there."""
        told = occupancy_of(self._rates, _SHELLS)(np.array([[along, across]]), _perfect(1), np.array([dwell_s]), np.array([REFERENCE_CONTEXT]))
        rows = turned(told, _SHELLS)[self._frame]
        count = len(self._where)
        generator = np.eye(count)
        np.add.at(generator, (np.arange(count)[:, None], self._where), -rows)
        try:
            value = np.linalg.solve(generator[1:, 1:], np.full(count - 1, dwell_s + IMAGE_S))
        except np.linalg.LinAlgError:
            return float("inf")
        return IMAGE_S + float(self._weight[1:] @ value) if (value > 0).all() else float("inf")

    def best_dwell(self, along: float, across: float) -> tuple[float, float]:
        """(dwell s, expected s) by golden steps through 0.25 to 15 s, to 0.05 s."""
        grid = np.geomspace(0.25, 15.0, 14)
        found = min((self.seconds(along, across, float(each)), float(each)) for each in grid)
        step = 0.25 * found[1]
        while step > 0.02:
            around = [(self.seconds(along, across, each), each) for each in (found[1] - step, found[1] + step) if each > 0.1]
            found, step = (min(around), step) if min(around) < found else (found, step / 2)
        return found[1], found[0]

    def best(self) -> tuple[tuple[float, float], float, float]:
        """((along, across) Å, dwell s, expected s): the best position and dwell, by a grid and then by ever smaller steps."""
        starts = [(a, b, t) for a in np.arange(0.6, 2.6, 0.2) for b in (0.0, 0.35, 0.7) for t in (0.75, 1.25, 2.0, 3.5, 6.0)]
        found = min((self.seconds(*map(float, each)), tuple(map(float, each))) for each in starts)
        length, dwell = 0.1, 0.5
        while length > 0.004:
            a, b, t = found[1]
            moves = [(a + length, b, t), (a - length, b, t), (a, b + length, t), (a, b - length, t), (a, b, t + dwell), (a, b, max(t - dwell, 0.1))]
            around = min((self.seconds(*each), each) for each in moves)
            if around[0] < found[0]:
                found = around
            else:
                length, dwell = length / 2, dwell / 2
        return (found[1][0], found[1][1]), found[1][2], found[0]


def room_left(rates: RateModel, shells: int = 4, *, fine: bool = True) -> float:
    """ρ >= 0: no agent takes less than 1/(1 + ρ) of the planner's expected time, from nowhere within _BOUND_HOPS hops.

    V that is <= (1 + ρ) c_a + P_a V at every place and for every action a is no more than (1 + ρ) times the least expected time: it bounds the value
    of the same process with all costs 1 + ρ times as high. Here ρ is the greatest that any place and any action of a fine grid asks for; elsewhere
    counts as the best that it may be.

    Args:
        rates: that are known.
        shells: within which a dwell's outcome is told.
        fine: beams also on a finer grid around those that the planner uses.
    """
    table = tabulate(occupancy_of(rates, shells), REFERENCE_CONTEXT, shells=shells)
    lattice = table.open_lattice
    places, value = lattice.displacements, lattice.policy.value_s
    steps = places.steps
    # One of three that are each other's rotations.
    chosen = (np.abs(steps).sum(axis=1) <= _BOUND_HOPS) & (steps[:, 0] >= steps[:, 1]) & (steps[:, 0] >= steps[:, 2])
    rows = np.flatnonzero(chosen)[1:]
    landings = lattice.problem.landings
    landed = np.concatenate([value[landings.within[rows]], value[landings.beyond[rows]].min(axis=1, keepdims=True)], axis=1)
    worst = 0.0
    for actions in _tried(lattice, fine):
        told = occupancy_of(rates, shells)(
            np.stack([actions.along, actions.across], axis=1),
            _perfect(len(actions)),
            actions.dwell_s,
            np.broadcast_to(REFERENCE_CONTEXT, (len(actions), 2)),
        )
        cost = np.tile(actions.dwell_s + IMAGE_S, 3)
        gained = (value[rows, None] - landed @ turned(told, shells).T) / cost
        worst = max(worst, float(gained.max()) - 1)
    return worst


def _tried(lattice: OpenLattice, fine: bool) -> list[Actions]:
    """Coarse everywhere, and fine around what is used; in parts."""
    used = np.unique(lattice.policy.choice[1:] % len(lattice.actions))
    centres = {(float(lattice.actions.along[each]), float(lattice.actions.across[each])) for each in used}
    grid = Actions.grid(_BOUND_SPACING, BEAM_RADIUS, np.ones(1))
    around = np.arange(-_FINE_REACH, _FINE_REACH + 0.001, _FINE_SPACING)
    near = {(round(a + x, 3), round(b + y, 3)) for a, b in centres for x in around for y in around if np.hypot(a + x, b + y) <= BEAM_RADIUS}
    beams = np.array([*zip(grid.along, grid.across, strict=True), *(sorted(near) if fine else ())])
    parts = []
    for part in np.array_split(beams, max(1, len(beams) // 100)):
        place, dwell = (each.ravel() for each in np.meshgrid(np.arange(len(part)), _BOUND_DWELLS, indexing="ij"))
        parts.append(Actions(part[place, 0], part[place, 1], dwell))
    return parts


def _perfect(count: int) -> Float64:
    return np.broadcast_to(perfect_neighbours(BOND_LENGTH), (count, 3, 2)).copy()


__all__ = ["GreedyTime", "Planner", "WideMixture", "occupancy_of", "peak_of", "room_left"]
