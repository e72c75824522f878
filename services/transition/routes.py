"""The way of one dopant to one goal over the lattice of an image, and whether there is any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.errors import DichroicError, EdgeSiteError, ForbiddenSiteError, GoalUnreachableError, NotThreeFoldError
from services.transition.arrays import Bool, Float64, Int64
from services.transition.arrival import Arrival, arrival
from services.transition.bonds import NEIGHBOUR_DISTANCES
from services.transition.observation import LocalState, local_state
from services.transition.open_lattice import steps_to
from services.transition.sites import Sites
from services.transition.table import ActionTable
from services.transition.values import Policy, Problem, solve
from services.transition.wishes import Wish


@dataclass(frozen=True)
class Route:
    """One dopant's, by the best policy.

    Attributes:
        state: where it is.
        problem: what was solved.
        policy: what is best done, everywhere.
    """

    state: LocalState
    problem: Problem
    policy: Policy

    @property
    def value_s(self) -> float:
        """What the policy expects, s."""
        return float(self.policy.value_s[self.state.dopant])


class Ways:
    """All that is the same for every dopant and goal of an image."""

    def __init__(
        self,
        atoms_xy: Float64,
        dopants: Int64,
        foreign: Int64,
        table: ActionTable,
        wish: Wish,
        *,
        distances: tuple[float, float] = NEIGHBOUR_DISTANCES,
    ) -> None:
        """Finds the lattice.

        Args:
            atoms_xy: (m, 2) float64, Å.
            dopants: (d,) int64, all of them: each is in the others' way.
            foreign: (f,) int64, atoms that are neither dopants nor the lattice's own: no rates are known of changing places with them.
            table: what can be done.
            wish: deadline, forbidden sites and aversion to risk.
            distances: within which atoms are bonded, Å.
        """
        self.sites = Sites.of(atoms_xy, distances)
        self.table, self.wish, self._distances = table, wish, distances
        self._landings = self.sites.landings(table.choices.shells)
        self._dopants = dopants
        self._forbidden: Bool = np.zeros(len(atoms_xy), bool)
        self._forbidden[list(wish.forbidden)] = True
        self._foreign: Bool = np.zeros(len(atoms_xy), bool)
        self._foreign[foreign] = True

    def check_goal(self, goal: int, row: int) -> None:
        """Whether a dopant may come to rest there. An atom at the border of the view will do: nothing has to leave it.

        Args:
            goal: the atom.
            row: which of the goals it is.

        Raises:
            ForbiddenSiteError: it is forbidden, a foreign atom, or a defect; names the row.
        """
        if self._forbidden[goal]:
            raise _forbidden_goal(goal, row, "forbidden")
        if self._foreign[goal]:
            raise _forbidden_goal(goal, row, "foreign")
        if self.sites.coordination[goal] >= 3 and not self.sites.regular[goal]:
            raise _forbidden_goal(goal, row, "defect")

    def state(self, dopant: int) -> LocalState:
        """Where a dopant stands.

        Raises:
            EdgeSiteError, NotThreeFoldError, BondLengthError: see observation.local_state.
            ForbiddenSiteError: its site is forbidden, or beside a defect, where no rates are known.
        """
        found = local_state(self.sites.atoms_xy, dopant, self._distances)
        if self._forbidden[dopant]:
            raise _forbidden_dopant(dopant, "forbidden")
        if not self.sites.regular[dopant]:
            raise _forbidden_dopant(dopant, "defect")
        return found

    def route(self, state: LocalState, goal: int, row: int) -> Route:
        """The best policy for one dopant.

        Args:
            state: where it stands.
            goal: the atom whose place it is to take.
            row: which of the goals that is.

        Raises:
            ForbiddenSiteError: another dopant stands at the goal; names the row.
            GoalUnreachableError: no way leads there; names the row.
        """
        others = self._dopants[self._dopants != state.dopant]
        if goal in others:
            raise _forbidden_goal(goal, row, "dopant")
        blocked = self._forbidden | self._foreign | ~self.sites.regular
        blocked[others] = True
        blocked[goal] = False
        hops = self.sites.hops_to(goal, blocked)
        if hops[state.dopant] < 0:
            message = (
                f"No way leads from atom {state.dopant} to the goal, atom {goal}, but over forbidden sites, other dopants, foreign atoms, "
                "defects or atoms with fewer than three neighbours. Allow more sites, or choose another goal."
            )
            raise GoalUnreachableError(message, field="goals_xy_angstrom", row=row, metadata={"atom": str(goal)})
        start_s = self._guess(goal, hops)
        # More than any place is worth, so that nothing is ever gained by being lost.
        lost_s = float(self.wish.deadline_s + 2 * start_s.max())
        problem = Problem(self._landings, goal, blocked, hops, lost_s)
        return Route(state, problem, solve(problem, self.table.choices, start_s=start_s, risk=self.wish.risk))

    def _guess(self, goal: int, hops: Int64) -> Float64:
        """(m,) what the open lattice says, and what is to be gone round."""
        atoms_xy, lattice = self.sites.atoms_xy, self.table.open_lattice
        around = self.sites.neighbours[goal]
        if (around < 0).any():
            return np.maximum(hops, 0) * lattice.hop_s
        steps = steps_to(atoms_xy[goal], atoms_xy, atoms_xy[around] - atoms_xy[goal])
        detour = np.clip(hops - np.abs(steps).sum(axis=1), 0, None)
        found: Float64 = lattice.value_s(steps) + detour * lattice.hop_s
        return found

    def arrival(self, route: Route, *, distribution: bool) -> Arrival:
        """When it arrives, with the distribution of times where they are to be added to others."""
        return arrival(route.problem, self.table.choices, route.policy, route.state.dopant, self.wish.deadline_s, distribution=distribution)

    def path(self, route: Route) -> Int64:
        """(k,) where images will most likely show the dopant one after another, start to goal, each nearer to it than the one before."""
        value, choice = route.policy.value_s, route.policy.choice
        found = [route.state.dopant]
        while found[-1] != route.problem.goal:
            here = found[-1]
            around = self._landings.within[here, 1:]
            inside = around < len(self.sites)
            around, chance = around[inside], self.table.choices.occupancy[choice[here], 1:-1][inside]
            nearer = value[around] < value[here]
            # Where the likeliest outcomes are setbacks, the best there is.
            best = np.where(nearer, chance, -1.0).argmax() if nearer.any() else value[around].argmin()
            if int(around[best]) in found:
                break
            found.append(int(around[best]))
        return np.array(found, np.int64)


def movable(ways: Ways, dopants: list[int]) -> dict[int, LocalState]:
    """Those that can be moved. One that stands at an edge or on a forbidden site stays where it is, unless no other can be moved either.

    Raises:
        DichroicError: why the first cannot, where none can.
    """
    found: dict[int, LocalState] = {}
    refused: list[DichroicError] = []
    for dopant in dopants:
        try:
            found[dopant] = ways.state(dopant)
        except (EdgeSiteError, NotThreeFoldError, ForbiddenSiteError) as refusal:
            refused.append(refusal)
    if not found:
        raise refused[0]
    return found


_WHY = {
    "forbidden": "which was forbidden",
    "dopant": "where another dopant stands",
    "foreign": "which is neither a dopant nor of the lattice's own element, so that no rates are known",
    "defect": "beside which a ring of bonds is no hexagon, so that no rates are known",
}


def _forbidden_goal(atom: int, row: int, cause: str) -> ForbiddenSiteError:
    message = f"Goal {row} lies at atom {atom}, {_WHY[cause]}."
    return ForbiddenSiteError(message, field="goals_xy_angstrom", row=row, metadata={"cause": cause, "atom": str(atom)})


def _forbidden_dopant(atom: int, cause: str) -> ForbiddenSiteError:
    message = f"The dopant stands at atom {atom}, {_WHY[cause]}."
    return ForbiddenSiteError(message, field="atoms_xy_angstrom", row=atom, metadata={"cause": cause, "atom": str(atom)})
