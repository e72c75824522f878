"""What a caller asks a plan for: an image's atoms, goals and options, compared with what the model takes, in the names of the wire."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import TransitionSection
from dichroic.bundle.transition_section import TrainedRange
from dichroic.errors import BondLengthError, DichroicError, InvalidFieldError, InvalidTensorError
from services.transition.arrays import Int64
from services.transition.assignment import MOST_TARGETS
from services.transition.inputs import chosen_dopant, default_of, distances_of, hinted
from services.transition.observation import check_atoms, find_dopants
from services.transition.table import IMAGE_S
from services.transition.values import Risk
from services.transition.wishes import DEADLINE_S, MOST_DEADLINE_S, Wish, candidates, goal_atoms

NDArray = np.ndarray[Any, np.dtype[Any]]

# What a request has to tell, what it may, and numbers, all with a default.
SCENE_NEEDS = ("atoms_xy_angstrom", "atomic_numbers", "goals_xy_angstrom")
SCENE_MAY = ("forbidden_index", "dopant_index")
OPTIONS = ("current_na", "voltage_kv", "image_s", "deadline_s", "risk_aversion")
MOST_IMAGE_S = 600.0
# Atoms times ways that are compared, of each dopant to each goal: planning cannot be broken off, and this takes seconds.
MOST_WORK = 100_000
# Of several goals: each is followed step by step of time until the deadline, so many steps in all. This takes seconds, too.
MOST_STEPS = 110_000
# The planner's names of what the wire calls otherwise.
NAMES = {"dopant": "dopant_index", "forbidden": "forbidden_index", "kappa": "risk_aversion"}


@dataclass(frozen=True, eq=False)
class Scene:
    """What a caller sends of an image: the names of the wire, see PlanRequest. None: not sent."""

    atoms_xy_angstrom: NDArray
    atomic_numbers: NDArray
    goals_xy_angstrom: NDArray
    forbidden_index: NDArray | None = None
    dopant_index: NDArray | None = None


@dataclass(frozen=True)
class Options:
    """How the goals are to be reached: the names of the wire, see PlanRequest. 0: the default."""

    current_na: float = 0.0
    voltage_kv: float = 0.0
    image_s: float = 0.0
    deadline_s: float = 0.0
    risk_aversion: float = 0.0


@dataclass(frozen=True)
class Asked:
    """The same as the planner takes it.

    Attributes:
        wish: deadline, forbidden sites, aversion to risk, which dopant.
        current_na: of the beam.
        voltage_kv: of the beam.
        image_s: what an image takes.
    """

    wish: Wish
    current_na: float
    voltage_kv: float
    image_s: float


def asked(section: TransitionSection, scene: Scene, options: Options) -> Asked:
    """All that can be said without looking for ways, so that nothing is prepared for a request that will be refused.

    Raises:
        InvalidTensorError: a dtype, a shape, NaN or infinity; names field and row.
        InvalidFieldError: a number or an index out of range; two goals at one atom; more goals than dopants; too much to compare.
        BondLengthError: lengths are not Å.
        NoDopantError: there is none to move.
        SeveralDopantsError: several, one goal, and none was named.
        GoalOffLatticeError: no atom lies where a goal is; names the row.
    """
    current, voltage = (_context(name, getattr(options, name), getattr(section, name)) for name in ("current_na", "voltage_kv"))
    image_s = _number("image_s", options.image_s, MOST_IMAGE_S) or IMAGE_S
    deadline_s = _number("deadline_s", options.deadline_s, MOST_DEADLINE_S) or DEADLINE_S
    kappa = _number("risk_aversion", options.risk_aversion, math.inf)
    atoms, numbers, goals = scene.atoms_xy_angstrom, scene.atomic_numbers, scene.goals_xy_angstrom
    with of_the_wire(section):
        check_atoms(atoms, numbers, distances_of(section))
        forbidden = _forbidden(scene.forbidden_index, len(atoms))
        wish = Wish(deadline_s, forbidden, Risk(kappa), chosen_dopant(section, numbers, scene.dopant_index))
        dopants = find_dopants(numbers, section.dopant)
        count = len(goal_atoms(atoms, goals))
        movable = len(candidates(dopants, count, wish))
    if len(atoms) * movable * count > MOST_WORK:
        message = (
            f"{len(atoms)} atoms, {movable} dopants and {count} goals are too much for one plan (atoms x dopants x goals: {MOST_WORK} at most). "
            f"Send fewer goals at once ({MOST_TARGETS} at most), or the atoms around."
        )
        raise InvalidFieldError(message, field="goals_xy_angstrom")
    farthest_s = _grid_step(image_s) * MOST_STEPS / count
    if count > 1 and deadline_s > farthest_s:
        message = (
            f"deadline_s is {deadline_s:g}; with {count} goals and images of {image_s:g} s it is {farthest_s:.0f} at most. Send fewer goals at once."
        )
        raise InvalidFieldError(message, field="deadline_s")
    return Asked(wish, current, voltage, image_s)


@contextmanager
def of_the_wire(section: TransitionSection) -> Iterator[None]:
    """Within it the planner's errors name the fields as the wire does, and say what lengths were probably meant in."""
    try:
        yield
    except BondLengthError as error:
        raise hinted(error, section) from None
    except DichroicError as error:
        error.field = NAMES.get(error.field, error.field)
        raise


def _context(name: str, value: float, trained: TrainedRange) -> float:
    return _number(name, value, math.inf) or default_of(name, trained)


def _number(name: str, value: float, most: float) -> float:
    # Also true for NaN.
    if not 0 <= value <= most or math.isinf(value):
        limit = "" if math.isinf(most) else f", {most:g} at most"
        raise InvalidFieldError(f"{name} is {value:g}; it is 0 (the default) or more{limit}.", field=name)
    return value


def _forbidden(index: NDArray | None, atoms: int) -> tuple[int, ...]:
    if index is None:
        return ()
    if index.dtype != np.int64 or index.ndim != 1:
        raise InvalidTensorError(f"forbidden_index is {index.dtype.name} of shape {index.shape}; send int64 (k,).", field="forbidden_index")
    wrong = (index < 0) | (index >= atoms)
    if wrong.any():
        row = int(np.argmax(wrong))
        message = f"forbidden_index of row {row} is {index[row]}; there are atoms 0 to {atoms - 1}."
        raise InvalidTensorError(message, field="forbidden_index", row=row)
    found: Int64 = np.unique(index)
    return tuple(found.tolist())


def _grid_step(image_s: float) -> float:
    """Of time, s: what dwells in half seconds and an image are multiples of, to a tenth of a second."""
    return math.gcd(5, round(image_s * 10)) / 10
