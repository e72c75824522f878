"""What a caller tells of states, compared with what the model takes, and turned into the graphs' inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import TransitionSection
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.transition_section import TrainedRange
from dichroic.errors import BondLengthError, EdgeSiteError, InvalidFieldError, InvalidTensorError
from services.engine.model import ServingModel
from services.transition.arrays import Bool, Float64, Int64
from services.transition.observation import (
    MOST_BEAM_DISTANCE,
    MOST_DWELL_S,
    LocalState,
    check_atoms,
    check_beam,
    check_neighbours,
    find_dopants,
    local_state,
    only_dopant,
)

NDArray = np.ndarray[Any, np.dtype[Any]]

# What a request has to tell, and what it may.
STATE_NEEDS = ("beam_xy_angstrom", "dwell_s")
STATE_MAY = ("neighbours_xy_angstrom", "current_na", "voltage_kv", "atoms_xy_angstrom", "atomic_numbers", "dopant_index")
# By which share a value may pass a trained range and be in it: what a caller computes in another precision is the same.
TOLERANCE = 1e-6
FLOAT64 = np.dtype(np.float64)
TINY, HUGE = np.nextafter(0.0, 1.0), np.finfo(np.float64).max
# By which share a length may differ from a bond's in another unit and be taken for one.
LIKE = 0.25


@dataclass(frozen=True, eq=False)
class Given:
    """What a caller sends: the names of the wire, see PredictTransitionsRequest. None: not sent."""

    beam_xy_angstrom: NDArray
    dwell_s: NDArray
    neighbours_xy_angstrom: NDArray | None = None
    current_na: NDArray | None = None
    voltage_kv: NDArray | None = None
    atoms_xy_angstrom: NDArray | None = None
    atomic_numbers: NDArray | None = None
    dopant_index: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Checked:
    """n states that the graphs take.

    Attributes:
        inputs: of the graphs, n rows each.
        outside: (n,) bool, beyond what was trained.
        state: of the dopant among the atoms; None where none were given.
    """

    inputs: Arrays
    outside: Bool
    state: LocalState | None


def checked(model: ServingModel, section: TransitionSection, given: Given) -> Checked:
    """The states of a request.

    Raises:
        InvalidTensorError: a dtype, a shape, a number of rows, NaN or infinity, or a dwell, current or voltage out of range; names field and row.
        InvalidFieldError: both atoms and neighbours, or what belongs to atoms without them; a dopant that is none.
        BondLengthError: lengths are not Å; names the row.
        NoDopantError, SeveralDopantsError, EdgeSiteError, NotThreeFoldError: of the dopant among the atoms.
        BeamOutOfRangeError: farther from the dopant than anything that could be meant; names the row.
        QueueFullError: more rows than could ever be held.
    """
    beam = given.beam_xy_angstrom
    _check("beam_xy_angstrom", beam, (2,), None)
    rows = len(beam)
    # Before anything is repeated for them.
    model.check_rows("predict", rows)
    dwell = _for_all("dwell_s", given.dwell_s, (), rows)
    current, voltage = (_context(name, getattr(given, name), getattr(section, name), rows) for name in ("current_na", "voltage_kv"))
    state: LocalState | None = None
    foreign = False
    if given.atoms_xy_angstrom is None:
        neighbours = _told(given, rows)
    else:
        state = _found(section, given)
        foreign = bool((given.atomic_numbers[state.atoms] != section.host).any())  # type: ignore[index]  # _found has seen it
        neighbours = _for_all("neighbours_xy_angstrom", state.neighbours[None], (3, 2), rows)
        beam = beam - given.atoms_xy_angstrom[state.dopant]
    inputs = {"beam_xy_angstrom": beam, "neighbours_xy_angstrom": neighbours, "dwell_s": dwell, "current_na": current, "voltage_kv": voltage}
    values = _values(inputs)
    if not _sound(section, values, neighbours):
        _refuse(section, inputs)
    low, high = trained_limits(section)
    outside: Bool = np.any((values < low) | (values > high), axis=1)
    return Checked(inputs, outside | foreign if foreign else outside, state)


def trained_limits(section: TransitionSection) -> tuple[Float64, Float64]:
    """(7,) each: within which lie a beam's radius, the three neighbours' distances (any), dwell, current and voltage that were trained."""
    ranges = section.dwell_s, section.current_na, section.voltage_kv
    low = np.array([0.0, 0.0, 0.0, 0.0, *(each.low for each in ranges)]) * (1 - TOLERANCE)
    high = np.array([section.beam_radius_angstrom, np.inf, np.inf, np.inf, *(each.high for each in ranges)]) * (1 + TOLERANCE)
    return low, high


def _values(inputs: Arrays) -> Float64:
    """(n, 7) of each state, in the order of trained_limits."""
    found = np.empty((len(inputs["dwell_s"]), 7))
    with np.errstate(over="ignore", invalid="ignore"):
        found[:, 0] = np.abs(_complex(inputs["beam_xy_angstrom"]))
        found[:, 1:4] = np.abs(_complex(inputs["neighbours_xy_angstrom"]))
    found[:, 4], found[:, 5], found[:, 6] = inputs["dwell_s"], inputs["current_na"], inputs["voltage_kv"]
    return found


def _sound(section: TransitionSection, values: Float64, neighbours: Float64) -> bool:
    """Whether every state can be meant, in a few operations over all rows. Where one cannot, `_refuse` looks for it and says why."""
    near, far = distances_of(section)
    low = np.array([0.0, near, near, near, TINY, TINY, TINY])
    high = np.array([MOST_BEAM_DISTANCE, far, far, far, MOST_DWELL_S, HUGE, HUGE])
    # Also false for NaN.
    return bool(((values >= low) & (values <= high)).all()) and bool((_turns(neighbours) > 0).all())


def _turns(neighbours: Float64) -> Float64:
    """(n, 2), all above 0 where the neighbours go round the dopant, either way: each lies less than half a turn from the one before."""
    vectors = _complex(neighbours)
    turn = (vectors.conj() * vectors[:, [1, 2, 0]]).imag
    found: Float64 = turn[:, :2] * turn[:, 1:]
    return found


def _complex(vectors: Float64) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """(..., 2) as (...,) x + iy."""
    found: np.ndarray[Any, np.dtype[np.complex128]] = np.ascontiguousarray(vectors).view(np.complex128)[..., 0]
    return found


def _refuse(section: TransitionSection, inputs: Arrays) -> None:
    """Raises what is wrong with the first state at fault."""
    for name in ("current_na", "voltage_kv"):
        values = inputs[name]
        # Also true for NaN.
        wrong = ~((values > 0) & (values < np.inf))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidTensorError(f"{name}: row {row} is {values[row]:g}; it is above 0.", field=name, row=row)
    neighbours = inputs["neighbours_xy_angstrom"]
    try:
        check_neighbours(neighbours, distances_of(section))
    except BondLengthError as error:
        raise hinted(error, section) from None
    wrong = ~np.all(_turns(neighbours) > 0, axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        message = f"The neighbours of row {row} do not lie around the dopant but all on one side of it. Send its three nearest atoms, relative to it."
        raise EdgeSiteError(message, field="neighbours_xy_angstrom", row=row)
    check_beam(inputs["beam_xy_angstrom"], inputs["dwell_s"])


def distances_of(section: TransitionSection) -> tuple[float, float]:
    """Within which atoms are bonded, Å."""
    return section.neighbour_distance_angstrom.low, section.neighbour_distance_angstrom.high


def beyond(values: Float64, trained: TrainedRange) -> Bool:
    """Which values lie beyond a trained range."""
    found: Bool = (values < trained.low * (1 - TOLERANCE)) | (values > trained.high * (1 + TOLERANCE))
    return found


def default_of(name: str, trained: TrainedRange) -> float:
    """The value that a model was trained at.

    Raises:
        InvalidFieldError: it was trained over a range, and any value in it would be a guess.
    """
    if trained.low < trained.high:
        message = f"{name} is missing; this model was trained from {trained.low:g} to {trained.high:g}, and its rates depend on it. Send it."
        raise InvalidFieldError(message, field=name)
    return trained.low


def chosen_dopant(section: TransitionSection, atomic_numbers: Int64, index: NDArray | None) -> int | None:
    """The dopant that a request names, among atoms that were checked; None: it names none.

    Raises:
        InvalidTensorError: not int64 (1,).
        InvalidFieldError: no such atom, or no dopant.
        NoDopantError: there is none.
    """
    if index is None:
        return None
    if index.dtype != np.int64 or index.shape != (1,):
        found = f"{index.dtype.name} of shape {index.shape}"
        raise InvalidTensorError(f"dopant_index is {found}; send int64 (1,), or leave it out.", field="dopant_index")
    dopants = find_dopants(atomic_numbers, section.dopant)
    if index[0] not in dopants:
        listed = ", ".join(map(str, dopants[:10].tolist()))
        message = f"dopant_index is {index[0]}, which is none of the {len(dopants)} dopants; these are atoms {listed}{', …' * (len(dopants) > 10)}."
        raise InvalidFieldError(message, field="dopant_index")
    return int(index[0])


def hinted(error: BondLengthError, section: TransitionSection) -> BondLengthError:
    """The same error, which also says what the lengths were probably meant in."""
    bond = section.bond_length_angstrom
    meant = (("bond lengths", 1.0, f"multiply by {bond:g}"), ("nm", bond / 10, "multiply by 10"), ("pm", bond * 100, "divide by 100"))
    try:
        length = float(error.metadata["distance"])
    except ValueError:  # too dense for one to be told
        return error
    for unit, expected, remedy in meant:
        if abs(length / expected - 1) < LIKE:
            message = f"{error.message} Lengths of about {expected:.3g} look like {unit}; {remedy}."
            return BondLengthError(message, field=error.field, row=error.row, metadata=error.metadata)
    return error


def _told(given: Given, rows: int) -> Float64:
    """Neighbours that were sent."""
    for name in ("atomic_numbers", "dopant_index"):
        if getattr(given, name) is not None:
            raise InvalidFieldError(f"{name} was given without atoms_xy_angstrom. Send both, or neighbours_xy_angstrom alone.", field=name)
    if given.neighbours_xy_angstrom is None:
        message = "Neither neighbours_xy_angstrom nor atoms_xy_angstrom was given. Send the dopant's three neighbours, or all atoms of the image."
        raise InvalidFieldError(message, field="neighbours_xy_angstrom")
    return _for_all("neighbours_xy_angstrom", given.neighbours_xy_angstrom, (3, 2), rows)


def _found(section: TransitionSection, given: Given) -> LocalState:
    """The dopant among the atoms that were sent."""
    atoms, numbers = given.atoms_xy_angstrom, given.atomic_numbers
    if given.neighbours_xy_angstrom is not None:
        message = "Both neighbours_xy_angstrom and atoms_xy_angstrom were given; the beam would be relative to the dopant or in the atoms' frame."
        raise InvalidFieldError(f"{message} Send one of them.", field="neighbours_xy_angstrom")
    if atoms is None or numbers is None:
        raise InvalidFieldError("atomic_numbers is missing; send one for each atom.", field="atomic_numbers")
    try:
        check_atoms(atoms, numbers, distances_of(section))
        named = chosen_dopant(section, numbers, given.dopant_index)
        return local_state(atoms, only_dopant(numbers, section.dopant) if named is None else named, distances_of(section))
    except BondLengthError as error:
        raise hinted(error, section) from None


def _context(name: str, values: NDArray | None, trained: TrainedRange, rows: int) -> Float64:
    """(n,) currents or voltages."""
    if values is None:
        return np.full(rows, default_of(name, trained))
    return _for_all(name, values, (), rows)


def _for_all(name: str, values: NDArray, row_shape: tuple[int, ...], rows: int) -> Float64:
    """As n rows: those that were sent, or the one, repeated."""
    _check(name, values, row_shape, rows)
    return values if len(values) == rows else np.repeat(values, rows, axis=0)


def _check(name: str, values: NDArray, row_shape: tuple[int, ...], rows: int | None) -> None:
    if values.dtype != FLOAT64 or values.ndim != 1 + len(row_shape) or values.shape[1:] != row_shape or not len(values):
        shape = f"({', '.join(['n', *map(str, row_shape)])})" if row_shape else "(n,)"
        found = f"{values.dtype.name} of shape {values.shape}"
        raise InvalidTensorError(f"{name} is {found}; send float64 {shape}, n at least 1.", field=name)
    if rows is not None and len(values) not in (1, rows):
        message = f"{name} has {len(values)} rows, beam_xy_angstrom {rows}; send as many, or one for all."
        raise InvalidTensorError(message, field=name)
