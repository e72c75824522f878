"""What to do next with the dopants of one image, so that they come to their goals soonest. Nothing is remembered: ask anew with every image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.errors import ForbiddenSiteError, GoalUnreachableError
from services.transition.actions import beam_at
from services.transition.arrays import Float64, Int64
from services.transition.arrival import in_sequence
from services.transition.assignment import assign
from services.transition.bonds import NEIGHBOUR_DISTANCES
from services.transition.observation import CARBON, SILICON, check_atoms, find_dopants
from services.transition.routes import Route, Ways, movable
from services.transition.table import SHELLS, ActionTable
from services.transition.wishes import Wish, candidates, check_wish, goal_atoms

# What every plan takes for granted.
ASSUMPTIONS = (
    "rates at every site are those of a perfect lattice in the same orientation",
    "dwells are independent given the site; the beam stands still relative to the sample within a dwell",
    "after every dwell an image shows the site; images move no atom",
    f"farther than {SHELLS} hops in one dwell the dopant is taken for as far from the goal as it can be",
    "edges, defects, foreign atoms, forbidden sites and other dopants end the attempt",
    "probabilities are the mean over the model's members",
    "several dopants are moved one after another, each as the others stand now",
)


@dataclass(frozen=True)
class Planned:
    """The next step, and what may be expected after it. Times count from now; each dwell's image is included.

    Attributes:
        dopant: index of the atom that is moved next.
        goal: index of the atom whose place it is to take.
        arrived: whether nothing is left to do; then the dwell is 0 s and the beam on the dopant.
        beam_xy: (2,) float64, Å, in the coordinates of the atoms.
        beam_from_dopant: (2,) float64, Å.
        dwell_s: s.
        path: (k,) int64 atoms' indices, start to goal: where images will most likely show this dopant one after another, some perhaps two hops apart.
        expected_s: mean time until an image shows it at the goal, of the attempts that succeed within the deadline, s; NaN where none does.
        success_probability: within the deadline.
        lost_probability: that it leaves the lattice or comes where it may not, within the deadline.
        value_s: what the policy minimises: expected time without a deadline, with the aversion to risk, being lost counted as `lost_s`.
        lost_s: see there.
        assignment: (g, 2) int64 dopant and goal of each target, those that have arrived first, the others in the order they are moved.
        all_expected_s: as expected_s, until all have arrived.
        all_success_probability: that all arrive within the deadline.
        assumptions: ASSUMPTIONS.
    """

    dopant: int
    goal: int
    arrived: bool
    beam_xy: Float64
    beam_from_dopant: Float64
    dwell_s: float
    path: Int64
    expected_s: float
    success_probability: float
    lost_probability: float
    value_s: float
    lost_s: float
    assignment: Int64
    all_expected_s: float
    all_success_probability: float
    assumptions: tuple[str, ...] = ASSUMPTIONS


def plan(
    atoms_xy: Float64,
    atomic_numbers: Int64,
    goals_xy: Float64,
    table: ActionTable,
    wish: Wish | None = None,
    *,
    dopant_number: int = SILICON,
    host_number: int = CARBON,
    distances: tuple[float, float] = NEIGHBOUR_DISTANCES,
) -> Planned:
    """Plans from one image.

    Args:
        atoms_xy: (m, 2) float64, Å: all atoms that were seen. With y down all is mirrored, and holds as well.
        atomic_numbers: (m,) int64.
        goals_xy: (g, 2) float64, Å, each within half a bond of an atom. One for one dopant; several are assigned to as many dopants, so that
            the sum of expected times is least.
        table: what can be done, for this model, context and image time.
        wish: deadline, forbidden sites, aversion to risk, which dopant; None: the defaults.
        dopant_number: atomic number of what is moved.
        host_number: atomic number of what the lattice is made of. Atoms of any other are foreign, and gone round like defects.
        distances: within which atoms are bonded, Å.

    Raises:
        InvalidTensorError: no atoms, numbers or goals; names the field and the row.
        InvalidFieldError: a wish out of range; two goals at one atom; more goals than dopants.
        BondLengthError: lengths are not Å.
        NoDopantError: there is none to move.
        SeveralDopantsError: several, one goal, and none was named.
        EdgeSiteError: the dopant has fewer than three neighbours.
        NotThreeFoldError: it has more than three.
        GoalOffLatticeError: no atom lies where a goal is; names the row.
        ForbiddenSiteError: the dopant stands, or a goal lies, where none may be; names the row, and `metadata` says why.
        GoalUnreachableError: no way leads there; names the row, unless it is of several goals together that it is said.
    """
    wish = Wish() if wish is None else wish
    check_atoms(atoms_xy, atomic_numbers, distances)
    check_wish(wish, len(atoms_xy))
    dopants = find_dopants(atomic_numbers, dopant_number)
    goals = goal_atoms(atoms_xy, goals_xy)
    chosen = candidates(dopants, len(goals), wish)
    foreign = np.flatnonzero((atomic_numbers != dopant_number) & (atomic_numbers != host_number))
    ways = Ways(atoms_xy, dopants, foreign, table, wish, distances=distances)
    for row, goal in enumerate(goals):
        ways.check_goal(goal, row)
    done, routes = _assigned(ways, chosen, goals)
    if not routes:
        return _at_rest(atoms_xy, done)
    routes.sort(key=lambda route: route.value_s)
    first = routes[0]
    action = int(first.policy.choice[first.state.dopant])
    frame, which = divmod(action, len(table.actions))
    beam = beam_at(table.actions.along[which], table.actions.across[which], np.array(frame), first.state.neighbours)
    arrivals = [ways.arrival(route, distribution=len(routes) > 1) for route in routes]
    everybody = in_sequence(arrivals, wish.deadline_s) if len(routes) > 1 else arrivals[0]
    return Planned(
        first.state.dopant,
        first.problem.goal,
        arrived=False,
        beam_xy=atoms_xy[first.state.dopant] + beam,
        beam_from_dopant=beam,
        dwell_s=float(table.actions.dwell_s[which]),
        path=ways.path(first),
        expected_s=arrivals[0].expected_s,
        success_probability=arrivals[0].success_probability,
        lost_probability=arrivals[0].lost,
        value_s=first.value_s,
        lost_s=first.problem.lost_s,
        assignment=np.array([*done, *((route.state.dopant, route.problem.goal) for route in routes)], np.int64),
        all_expected_s=everybody.expected_s,
        all_success_probability=everybody.success_probability,
    )


def _assigned(ways: Ways, dopants: list[int], goals: list[int]) -> tuple[list[tuple[int, int]], list[Route]]:
    """Which dopants stand where they are to be, and the routes of the others."""
    here = [(dopant, goal) for goal in goals for dopant in dopants if dopant == goal]
    if len(here) == len(goals):
        return here, []
    states = movable(ways, dopants)
    cost = np.full((len(dopants), len(goals)), np.inf)
    routes: dict[tuple[int, int], Route] = {}
    refusal: GoalUnreachableError | ForbiddenSiteError | None = None
    for row, dopant in enumerate(dopants):
        for column, goal in enumerate(goals):
            if dopant == goal:
                cost[row, column] = 0
            elif dopant in states:
                try:
                    routes[row, column] = ways.route(states[dopant], goal, column)
                    cost[row, column] = routes[row, column].value_s
                except (GoalUnreachableError, ForbiddenSiteError) as found:
                    refusal = found
    pairs = assign(cost)
    if pairs is None:
        if refusal is not None and len(goals) == 1:
            raise refusal
        message = f"The dopants cannot all be brought to the {len(goals)} goals: ways are cut off, or too few dopants can be moved."
        raise GoalUnreachableError(message, field="goals_xy_angstrom")
    done = [(dopants[row], goals[column]) for row, column in pairs if dopants[row] == goals[column]]
    return done, [routes[pair] for pair in pairs if pair in routes]


def _at_rest(atoms_xy: Float64, done: list[tuple[int, int]]) -> Planned:
    """Nothing is left to do."""
    dopant, goal = done[0]
    still = np.zeros(2)
    path = np.array([dopant], np.int64)
    assigned = np.array(done, np.int64)
    return Planned(dopant, goal, True, atoms_xy[dopant].copy(), still, 0.0, path, 0.0, 1.0, 0.0, 0.0, 0.0, assigned, 0.0, 1.0)
