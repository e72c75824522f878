"""The lattice that a dopant walks on: atoms as sites, who lies along whose bonds, and where it may not go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from dichroic.honeycomb import surroundings
from services.transition.arrays import Bool, Float64, Int64
from services.transition.bonds import NEIGHBOUR_DISTANCES, bonded


@dataclass(frozen=True)
class Landings:
    """Where a dopant may be at the end of a dwell, for each of m places that it may start from. m stands for off the lattice.

    Attributes:
        within: (m, S) int64, which place each site of `surroundings(shells)` is, own place first.
        beyond: (m, B) int64, the same of the shell after the last: what "elsewhere" is taken for.
    """

    within: Int64
    beyond: Int64

    def __len__(self) -> int:
        return len(self.within)


@dataclass(frozen=True)
class Sites:
    """Atoms of one image as a lattice.

    Attributes:
        atoms_xy: (m, 2) float64, Å.
        neighbours: (m, 3) int64 bonded atoms, counter-clockwise where y points up; −1 where there are fewer.
        coordination: (m,) int64 bonded atoms.
    """

    atoms_xy: Float64
    neighbours: Int64
    coordination: Int64

    @classmethod
    def of(cls, atoms_xy: Float64, distances: tuple[float, float] = NEIGHBOUR_DISTANCES) -> Sites:
        """The lattice of atoms (m, 2) float64, Å, which `observation.check_atoms` has passed."""
        return cls(atoms_xy, *bonded(atoms_xy, distances))

    def __len__(self) -> int:
        return len(self.atoms_xy)

    @cached_property
    def regular(self) -> Bool:
        """(m,) whether a dopant there has three neighbours and no ring beside it that is not a hexagon, as in grain boundaries and at defects.

        A ring that leaves the view is taken for a hexagon.
        """
        found: Bool = self.coordination == 3
        start = 3 * np.arange(len(self))
        for first in range(3):
            # Around a hexagon bonds alternate: n_1, −n_2, n_3, −n_1, n_2, −n_3.
            walked = start
            for hop in range(6):
                walked = self._hops[(first + hop) % 3][walked]
            found = found & ((walked == start) | (walked == 3 * len(self)))
        return found

    def landings(self, shells: int) -> Landings:
        """Where each site of the surroundings lies, walked bond by bond, so that no lattice needs to be fitted.

        Whoever leaves an atom with another number of neighbours than three is off the lattice: no rates are known there.
        """
        sites = surroundings(shells + 1)
        walked = np.empty((len(sites), len(self)), np.int64)
        walked[0] = 3 * np.arange(len(self))
        for site, (parent, bond) in enumerate(_parents(shells + 1), start=1):
            walked[site] = self._hops[bond][walked[parent]]
        count = len(surroundings(shells))
        atoms = walked.T // 3
        return Landings(np.ascontiguousarray(atoms[:, :count]), np.ascontiguousarray(atoms[:, count:]))

    def hops_to(self, goal: int, blocked: Bool) -> Int64:
        """(m,) fewest hops from each site to the goal over sites that are not blocked; −1 where no way leads. A blocked site counts as a start."""
        hops = np.full(len(self) + 1, -1, np.int64)
        hops[goal] = 0
        front, so_many = np.array([goal]), 0
        passable = np.append(~blocked, False)
        passable[goal] = True
        while len(front):
            so_many += 1
            around = np.unique(self.neighbours[front])
            front = around[(around >= 0) & (hops[around] < 0)]
            hops[front] = so_many
            front = front[passable[front]]
        return hops[:-1]

    @cached_property
    def _hops(self) -> list[Int64]:
        """For each bond of the frame that a walk began with: (3 m + 3,) where a hop along it leads.

        A walker is its atom times three, and by how much the atom's own order of neighbours is turned against the frame. From 3 m, off the lattice,
        nothing leads back. Own neighbour j of the other sublattice lies at −n_j: the bond that one came by has the same number on both its ends.
        """
        count = len(self)
        reached = np.where((self.neighbours >= 0) & (self.coordination == 3)[:, None], self.neighbours, count)
        ends = np.concatenate([self.neighbours, np.full((1, 3), -1)])[reached]
        # (m, 3) which number the bond has at its other end; an atom of another coordination is never left, so that its own order does not matter.
        back = (ends == np.arange(count)[:, None, None]).argmax(axis=-1)
        found = []
        for bond in range(3):
            led = np.full((count + 1, 3), 3 * count, np.int64)
            for offset in range(3):
                own = (bond + offset) % 3
                led[:-1, offset] = np.where(reached[:, own] < count, 3 * reached[:, own] + (back[:, own] - bond) % 3, 3 * count)
            found.append(led.ravel())
        return found


@cache
def _parents(shells: int) -> list[tuple[int, int]]:
    """For each site of the surroundings but the first: from which earlier one, along which bond, it is reached."""
    sites = surroundings(shells)
    found = []
    for site in range(1, len(sites)):
        parent, bond = np.argwhere(sites.neighbour[:site] == site)[0]
        found.append((int(parent), int(bond)))
    return found
