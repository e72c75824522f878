"""Which atoms of an image are bonded, from their positions alone."""

from __future__ import annotations

import numpy as np

from dichroic.errors import BondLengthError, InvalidTensorError
from services.transition.arrays import Float64, Int64

# Bonded atoms lie so far apart, Å: 1.42 in graphene, 1.6 to 1.8 around a silicon atom; second neighbours begin at 2.4.
NEIGHBOUR_DISTANCES = (1.1, 2.0)
# More than any image of single atoms shows; what a request may make of a few bytes is bounded by it.
MOST_ATOMS = 10_000
# Pairs that are looked at: a hundred times those of so many atoms of graphene.
_MOST_PAIRS = 4_000_000


def check_positions(atoms_xy: Float64, field: str = "atoms_xy_angstrom") -> None:
    """Whether these are positions.

    Args:
        atoms_xy: (m, 2) float64, Å.
        field: what a refusal calls them.

    Raises:
        InvalidTensorError: another dtype or shape, none or too many, NaN or infinity; names the row.
    """
    if atoms_xy.dtype != np.float64 or atoms_xy.ndim != 2 or atoms_xy.shape[1] != 2 or not 0 < len(atoms_xy) <= MOST_ATOMS:
        found = f"{atoms_xy.dtype.name} of shape {atoms_xy.shape}"
        raise InvalidTensorError(f"{field} is {found}; send float64 (m, 2), Å, m from 1 to {MOST_ATOMS}.", field=field)
    wrong = ~np.isfinite(atoms_xy).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidTensorError(f"{field}: row {row} is {atoms_xy[row].tolist()}; positions are finite.", field=field, row=row)


def near_pairs(atoms_xy: Float64, distance: float) -> tuple[Int64, Int64, Float64]:
    """Every pair of atoms that lie no farther apart than `distance` (Å), once in each direction.

    Returns:
        from (p,) int64 ascending, to (p,) int64, and the vectors between them (p, 2) float64, Å.

    Raises:
        BondLengthError: atoms lie so dense that these are no atoms, or not Å.
    """
    # In the order of the longer side, partners are a run of what follows: no grid, and no m² of anything.
    side = int(np.argmax(np.ptp(atoms_xy, axis=0)))
    order = np.argsort(atoms_xy[:, side], kind="stable")
    x = atoms_xy[order, side]
    counts = np.searchsorted(x, x + distance, side="right") - np.arange(len(x)) - 1
    if counts.sum() > _MOST_PAIRS:
        raise _too_dense(distance)
    first = np.repeat(np.arange(len(x)), counts)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = np.abs(atoms_xy[order[first], 1 - side] - atoms_xy[order[second], 1 - side]) <= distance
    first, second = order[first[near]], order[second[near]]
    near = ((atoms_xy[second] - atoms_xy[first]) ** 2).sum(axis=1) <= distance**2
    begin, end = np.concatenate([first[near], second[near]]), np.concatenate([second[near], first[near]])
    arranged = np.lexsort((end, begin))
    begin, end = begin[arranged], end[arranged]
    return begin, end, atoms_xy[end] - atoms_xy[begin]


def check_unit(atoms_xy: Float64, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> None:
    """Whether atoms lie as far from their nearest neighbours as bonded ones do, on the median.

    Raises:
        BondLengthError: they do not, so that the lengths are not Å.
    """
    low, high = distances
    nearest = _median_nearest(atoms_xy)
    if nearest is not None and not low <= nearest <= high:
        message = (
            f"Nearest atoms lie {nearest:.3g} apart, on the median; bonds are {low:g} to {high:g} Å long. Send positions in Å, "
            "not in bond lengths, nm, pm or pixels, and one position for each atom."
        )
        raise BondLengthError(message, field="atoms_xy_angstrom", metadata={"distance": f"{nearest:.6g}", "expected": f"{low:g} to {high:g}"})


def bonded(atoms_xy: Float64, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> tuple[Int64, Int64]:
    """Who is bonded to whom.

    Args:
        atoms_xy: (m, 2) float64, Å.
        distances: within which atoms are bonded, Å. What lies nearer counts as bonded too: noise of positions makes no atom disappear.

    Returns:
        neighbours (m, 3) int64, counter-clockwise where y points up, −1 where there are fewer, and all −1 where there are more than three;
        coordination (m,) int64, how many there are.
    """
    begin, end, vector = near_pairs(atoms_xy, distances[1])
    turned = np.lexsort((np.arctan2(vector[:, 1], vector[:, 0]), begin))
    begin, end = begin[turned], end[turned]
    coordination = np.bincount(begin, minlength=len(atoms_xy))
    place = np.arange(len(begin)) - (np.cumsum(coordination) - coordination)[begin]
    neighbours = np.full((len(atoms_xy), 3), -1, np.int64)
    kept = coordination[begin] <= 3
    neighbours[begin[kept], place[kept]] = end[kept]
    return neighbours, coordination


def _median_nearest(atoms_xy: Float64) -> float | None:
    """Å; None of a single atom. A sample of atoms is enough to know the unit by."""
    if len(atoms_xy) < 2:
        return None
    sample = np.linspace(0, len(atoms_xy) - 1, min(len(atoms_xy), 32)).astype(np.int64)
    square = (atoms_xy[sample, None, 0] - atoms_xy[:, 0]) ** 2 + (atoms_xy[sample, None, 1] - atoms_xy[:, 1]) ** 2
    square[np.arange(len(sample)), sample] = np.inf
    return float(np.sqrt(np.median(square.min(axis=1))))


def _too_dense(distance: float) -> BondLengthError:
    message = f"Far more atoms lie within {distance:g} Å of each other than in any lattice. Send one position for each atom, in Å."
    return BondLengthError(message, field="atoms_xy_angstrom", metadata={"distance": f"under {distance:g}", "expected": "1.42"})
