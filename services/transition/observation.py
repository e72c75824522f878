"""From atoms that were seen to the state that rates are functions of: the dopant, and the vectors to its three neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.errors import (
    BeamOutOfRangeError,
    BondLengthError,
    EdgeSiteError,
    InvalidFieldError,
    InvalidTensorError,
    NoDopantError,
    NotThreeFoldError,
    SeveralDopantsError,
)
from services.transition.arrays import Float64, Int64
from services.transition.bonds import NEIGHBOUR_DISTANCES, check_positions, check_unit

SILICON, CARBON = 14, 6
# Å from the dopant: no beam that is meant for it lies farther off. Whether it lies outside what was trained is another question.
MOST_BEAM_DISTANCE = 20.0
MOST_DWELL_S = 600.0


@dataclass(frozen=True)
class LocalState:
    """A dopant and its surroundings.

    Attributes:
        dopant: its index among the atoms.
        atoms: (3,) int64 indices of its neighbours.
        neighbours: (3, 2) float64, Å from the dopant, counter-clockwise where y points up.
    """

    dopant: int
    atoms: Int64
    neighbours: Float64


def check_atoms(atoms_xy: Float64, atomic_numbers: Int64, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> None:
    """Whether these are atoms, in Å.

    Args:
        atoms_xy: (m, 2) float64, Å.
        atomic_numbers: (m,) int64.
        distances: within which atoms are bonded, Å.

    Raises:
        InvalidTensorError: a dtype, a shape, or a number that is none.
        BondLengthError: lengths are not Å.
    """
    check_positions(atoms_xy)
    if atomic_numbers.dtype != np.int64 or atomic_numbers.shape != (len(atoms_xy),):
        found = f"{atomic_numbers.dtype.name} of shape {atomic_numbers.shape}"
        raise InvalidTensorError(f"atomic_numbers is {found}; send int64 ({len(atoms_xy)},), one for each atom.", field="atomic_numbers")
    wrong = (atomic_numbers < 1) | (atomic_numbers > 118)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTensorError(f"atomic_numbers: row {row} is {atomic_numbers[row]}, which is no element.", field="atomic_numbers", row=row)
    check_unit(atoms_xy, distances)


def find_dopants(atomic_numbers: Int64, dopant: int = SILICON) -> Int64:
    """Which atoms are dopants.

    Args:
        atomic_numbers: (m,) int64.
        dopant: atomic number of what the model moves.

    Returns:
        (d,) int64 indices, ascending, d >= 1.

    Raises:
        NoDopantError: none is.
    """
    found = np.flatnonzero(atomic_numbers == dopant)
    if not len(found):
        message = f"None of {len(atomic_numbers)} atoms has the atomic number {dopant}, which this model moves. Send the dopant with the other atoms."
        raise NoDopantError(message, field="atomic_numbers")
    return found


def only_dopant(atomic_numbers: Int64, dopant: int = SILICON) -> int:
    """The index of the one dopant.

    Raises:
        NoDopantError: there is none.
        SeveralDopantsError: there are several.
    """
    found = find_dopants(atomic_numbers, dopant)
    if len(found) > 1:
        message = f"{len(found)} atoms have the atomic number {dopant}, where one is meant. Say which is to be moved, or cut the others off."
        raise SeveralDopantsError(message, field="atomic_numbers", metadata={"dopants": ",".join(map(str, found.tolist()))})
    return int(found[0])


def local_state(atoms_xy: Float64, dopant: int, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> LocalState:
    """The three neighbours of an atom.

    Args:
        atoms_xy: (m, 2) float64, Å; all atoms, checked by `check_atoms`.
        dopant: index of the atom.
        distances: within which neighbours lie, Å.

    Raises:
        InvalidFieldError: no atom has this index.
        EdgeSiteError: fewer than three neighbours, or all of them on one side.
        NotThreeFoldError: more than three.
        BondLengthError: a neighbour lies nearer than any bond is long.
    """
    if not 0 <= dopant < len(atoms_xy):
        raise InvalidFieldError(f"dopant is {dopant}; there are atoms 0 to {len(atoms_xy) - 1}.", field="dopant")
    vectors = atoms_xy - atoms_xy[dopant]
    length = np.hypot(vectors[:, 0], vectors[:, 1])
    length[dopant] = np.inf
    atoms = np.flatnonzero(length <= distances[1])
    where = f"The dopant (atom {dopant}) has {len(atoms)} neighbours within {distances[1]:g} Å"
    if len(atoms) < 3:
        raise EdgeSiteError(f"{where}; rates are known of atoms with three. It stands at an edge, beside a hole or at the border of the view.")
    if len(atoms) > 3:
        raise NotThreeFoldError(f"{where}; rates are known of atoms with three. It does not stand in one atom's place, or atoms were found twice.")
    check_neighbours(vectors[None, atoms], distances)
    atoms = atoms[np.argsort(np.arctan2(vectors[atoms, 1], vectors[atoms, 0]))]
    angles = np.arctan2(vectors[atoms, 1], vectors[atoms, 0])
    if (np.diff(np.append(angles, angles[0] + 2 * np.pi)) >= np.pi).any():
        raise EdgeSiteError(f"All three neighbours of the dopant (atom {dopant}) lie on one side of it: it stands at an edge or beside a hole.")
    return LocalState(dopant, atoms, vectors[atoms])


def check_neighbours(neighbours: Float64, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> None:
    """Whether neighbours (n, 3, 2), Å, lie where neighbours lie.

    Raises:
        InvalidTensorError: another dtype or shape, NaN or infinity.
        BondLengthError: nearer or farther; names the row.
    """
    field = "neighbours_xy_angstrom"
    if neighbours.dtype != np.float64 or neighbours.ndim != 3 or neighbours.shape[1:] != (3, 2) or not len(neighbours):
        raise InvalidTensorError(f"{field} is {neighbours.dtype.name} of shape {neighbours.shape}; send float64 (n, 3, 2), Å.", field=field)
    length = np.hypot(neighbours[..., 0], neighbours[..., 1])
    wrong = ~np.isfinite(length).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTensorError(f"{field}: row {row} is not finite.", field=field, row=row)
    low, high = distances
    outside = (length < low) | (length > high)
    if outside.any():
        row, which = (int(each) for each in np.argwhere(outside)[0])
        message = (
            f"Neighbour {which + 1} of row {row} lies {length[row, which]:.3g} from the dopant; bonds are {low:g} to {high:g} Å long. "
            "Send Å, not bond lengths, nm or pm."
        )
        found = {"distance": f"{length[row, which]:.6g}", "expected": f"{low:g} to {high:g}"}
        raise BondLengthError(message, field=field, row=row, metadata=found)


def check_beam(beam_xy: Float64, dwell_s: Float64, most: float = MOST_BEAM_DISTANCE) -> None:
    """Whether these are beams and dwells.

    Args:
        beam_xy: (n, 2) float64, Å from the dopant.
        dwell_s: (n,) float64, s.
        most: Å from the dopant.

    Raises:
        InvalidTensorError: a dtype, a shape, NaN or infinity, or a dwell that is not above 0 s or above MOST_DWELL_S; names the row.
        BeamOutOfRangeError: a beam farther off than `most`; names the row.
    """
    for name, array, shape in (("beam_xy_angstrom", beam_xy, (len(dwell_s), 2)), ("dwell_s", dwell_s, (len(dwell_s),))):
        if array.dtype != np.float64 or array.shape != shape:
            raise InvalidTensorError(f"{name} is {array.dtype.name} of shape {array.shape}; send float64 {shape}.", field=name)
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidTensorError(f"{name}: row {row} is not finite.", field=name, row=row)
    wrong = ~((dwell_s > 0) & (dwell_s <= MOST_DWELL_S))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTensorError(
            f"dwell_s: row {row} is {dwell_s[row]:g}; a dwell is above 0 s, {MOST_DWELL_S:g} s at most.", field="dwell_s", row=row
        )
    distance = np.hypot(beam_xy[:, 0], beam_xy[:, 1])
    if (distance > most).any():
        row = int(np.argmax(distance > most))
        message = (
            f"The beam of row {row} lies {distance[row]:.4g} Å from the dopant; {most:g} Å is the farthest. Send it relative to the dopant, in Å."
        )
        raise BeamOutOfRangeError(message, field="beam_xy_angstrom", row=row, metadata={"distance": f"{distance[row]:.6g}", "most": f"{most:g}"})
