"""What a caller asks a plan for, compared with what was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dichroic.errors import GoalOffLatticeError, InvalidFieldError, InvalidTensorError, SeveralDopantsError
from services.transition.arrays import Float64, Int64
from services.transition.assignment import MOST_TARGETS
from services.transition.bonds import check_positions
from services.transition.values import NEUTRAL, Risk

DEADLINE_S = 600.0
MOST_DEADLINE_S = 86_400.0
# The goal is an atom's site when it lies no farther from it, Å: half a bond.
GOAL_RADIUS = 0.71


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        deadline_s: within which success is counted, from now, s.
        forbidden: indices of atoms on whose sites no dopant may come.
        risk: how the members' disagreement weighs.
        dopant: index of the one that goes to the one goal; None: the only one, or with several goals whichever suits.
    """

    deadline_s: float = DEADLINE_S
    forbidden: tuple[int, ...] = ()
    risk: Risk = NEUTRAL
    dopant: int | None = None


def check_wish(wish: Wish, atoms: int) -> None:
    """Whether it can be meant, of so many atoms.

    Raises:
        InvalidFieldError: a deadline, an aversion or an index out of range.
    """
    # Also true for NaN.
    if not 0 < wish.deadline_s <= MOST_DEADLINE_S:
        raise InvalidFieldError(f"deadline_s is {wish.deadline_s:g}; it is above 0 s, {MOST_DEADLINE_S:g} s at most.", field="deadline_s")
    if not 0 <= wish.risk.kappa < math.inf:
        raise InvalidFieldError(f"kappa is {wish.risk.kappa:g}; it is 0 (the default) or more.", field="kappa")
    wrong = [each for each in wish.forbidden if not 0 <= each < atoms]
    if wrong:
        raise InvalidFieldError(f"forbidden names atom {wrong[0]}; there are atoms 0 to {atoms - 1}.", field="forbidden")


def goal_atoms(atoms_xy: Float64, goals_xy: Float64) -> list[int]:
    """The atom at each goal.

    Args:
        atoms_xy: (m, 2) float64, Å.
        goals_xy: (g, 2) float64, Å, g at most MOST_TARGETS.

    Raises:
        InvalidTensorError: no positions, or too many.
        InvalidFieldError: two goals at one atom.
        GoalOffLatticeError: no atom at one; names the row.
    """
    field = "goals_xy_angstrom"
    check_positions(goals_xy, field)
    if len(goals_xy) > MOST_TARGETS:
        raise InvalidTensorError(f"There are {len(goals_xy)} goals; {MOST_TARGETS} at most are planned for at once.", field=field)
    vectors = atoms_xy - goals_xy[:, None]
    distance = np.hypot(vectors[..., 0], vectors[..., 1])
    nearest = distance.argmin(axis=1)
    for row, atom in enumerate(nearest.tolist()):
        if distance[row, atom] > GOAL_RADIUS:
            message = (
                f"The atom nearest to goal {row} lies {distance[row, atom]:.3g} Å from it; half a bond, {GOAL_RADIUS:g} Å, is the most. "
                "Send a site of the lattice that was seen, in the coordinates of the atoms."
            )
            raise GoalOffLatticeError(message, field=field, row=row)
    if len(set(nearest.tolist())) < len(nearest):
        raise InvalidFieldError("Two goals lie at the same atom; one dopant goes to each.", field=field)
    return [int(each) for each in nearest]


def candidates(dopants: Int64, goals: int, wish: Wish) -> list[int]:
    """Which dopants may be moved to so many goals.

    Args:
        dopants: (d,) int64 indices of all of them.
        goals: how many goals.
        wish: may name one.

    Raises:
        InvalidFieldError: the one that was named is none, or there are more goals than dopants.
        SeveralDopantsError: one goal, several dopants, and none was named.
    """
    if wish.dopant is not None:
        if wish.dopant not in dopants:
            listed = ", ".join(map(str, dopants.tolist()))
            raise InvalidFieldError(f"dopant is {wish.dopant}, which is no dopant; these are: {listed}.", field="dopant")
        if goals > 1:
            raise InvalidFieldError(f"dopant names one, and there are {goals} goals. Name none, or send one goal.", field="dopant")
        return [wish.dopant]
    if goals == 1 and len(dopants) > 1:
        message = f"There are {len(dopants)} dopants and one goal. Name the one that is to be moved, or send a goal for each."
        raise SeveralDopantsError(message, field="dopant", metadata={"dopants": ",".join(map(str, dopants.tolist()))})
    if goals > len(dopants):
        raise InvalidFieldError(f"There are {goals} goals and {len(dopants)} dopants; each goal needs one of its own.", field="goals_xy_angstrom")
    return [int(each) for each in dopants]
