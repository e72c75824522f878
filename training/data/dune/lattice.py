"""Graphene: its sites counted in steps along three bonds, and a turned, shifted patch of it.

A site is written as steps (i, j, k) whose sum is 0 on one sublattice and 1 on the other: it lies at i n_1 + j n_2 + k n_3 from the origin. Hopping
along bond j adds 1 to step j on the first sublattice and takes 1 from it on the second, so that |i| + |j| + |k| hops lead there and fewer do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.rates import BOND_LENGTH, NEIGHBOUR_DISTANCES
from training.data.dune.streams import LATTICE
from training.errors import InputError

CARBON, SILICON = 6, 14


@dataclass(frozen=True)
class Lattice:
    """A square patch of perfect graphene with its corner at (0, 0). Atoms at its edge have fewer than three neighbours.

    Attributes:
        atoms_xy: (m, 2) float64, Å, 0 to the field of view.
        neighbours: (m, 3) int64, which atom lies along each of the three bonds; −1 where the patch ends.
        bonds: (m, 3, 2) float64, Å from each atom to where its neighbours lie, or would lie.
        steps: (m, 3) int64, the site's.
        field_of_view_angstrom: of the patch's side, Å.
    """

    atoms_xy: Array
    neighbours: Array
    bonds: Array
    steps: Array
    field_of_view_angstrom: float

    def __len__(self) -> int:
        return len(self.atoms_xy)

    @classmethod
    def drawn(cls, field_of_view_angstrom: float, seed: int, bond_length: float = BOND_LENGTH) -> Lattice:
        """A patch whose rotation and offset are drawn uniformly; the same seed gives the same patch.

        Args:
            field_of_view_angstrom: side, Å, 6 to 1000.
            seed: of the rotation and the offset.
            bond_length: Å, 1.1 to 2.

        Raises:
            InputError: INVALID_OPTION.
        """
        check_bond_length(bond_length)
        if not 6 <= field_of_view_angstrom <= 1000:
            raise InputError("INVALID_OPTION", f"A field of view is 6 to 1000 Å wide, not {field_of_view_angstrom:g}.")
        angle, *offset = random_stream(seed, LATTICE).random(3)
        bonds = bonds_at(np.array([2 * math.pi * angle]), bond_length)[0]
        centre = field_of_view_angstrom / 2
        # The middle of the patch lies anywhere in the unit cell, whose edges are n_1 − n_3 and n_2 − n_3.
        middle = np.array(offset) @ (bonds[:2] - bonds[2])
        steps = sites_within(centre * math.sqrt(2) + 3 * bond_length, bond_length)
        xy = steps @ bonds - middle + centre
        inside = ((xy >= 0) & (xy <= field_of_view_angstrom)).all(axis=1)
        steps, xy = steps[inside], xy[inside]
        sign = 1 - 2 * steps.sum(axis=1)
        reached = steps[:, None] + sign[:, None, None] * np.eye(3, dtype=np.int64)
        return cls(xy, _find(steps, reached), sign[:, None, None] * bonds, steps, float(field_of_view_angstrom))

    def nearest(self, xy: Array) -> int:
        """The atom nearest to a place, (2,) Å."""
        return int(((self.atoms_xy - xy) ** 2).sum(axis=1).argmin())


def bonds_at(angle_rad: Array, bond_length: float = BOND_LENGTH) -> Array:
    """(n,) directions of the first bond, counter-clockwise from x → (n, 3, 2) Å, n_1, n_2, n_3, each 120° on."""
    angles = np.asarray(angle_rad)[:, None] + 2 * math.pi / 3 * np.arange(3)
    found: Array = bond_length * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return found


def sites_within(radius: float, bond_length: float = BOND_LENGTH) -> Array:
    """(m, 3) int64 steps of all sites that may lie within a radius (Å) of the origin, and of some beyond it."""
    # Rows of sites i (n_1 − n_3) or j (n_2 − n_3) lie 1.5 bond lengths apart; the second sublattice is one bond farther.
    most = math.ceil((radius + bond_length) / (1.5 * bond_length))
    axis = np.arange(-most, most + 1)
    i, j, sublattice = (each.ravel() for each in np.meshgrid(axis, axis, [0, 1], indexing="ij"))
    return np.stack([i, j, sublattice - i - j], axis=1)


def hops_between(steps: Array) -> Array:
    """(n, 3) steps from one site to another, as seen from it → (n,) the fewest hops."""
    found: Array = np.abs(steps).sum(axis=-1)
    return found


def check_bond_length(bond_length: float) -> None:
    """Raises InputError INVALID_OPTION where it is not a bond's, in Å."""
    low, high = NEIGHBOUR_DISTANCES
    if not low <= bond_length <= high:
        raise InputError("INVALID_OPTION", f"A bond is {low:g} to {high:g} Å long, not {bond_length:g}.")


def _find(steps: Array, wanted: Array) -> Array:
    """Which row of `steps` (m, 3) is each of `wanted` (m, 3, 3); −1 where none is."""
    low, high = steps.min(axis=0) - 1, steps.max(axis=0) + 1
    rows = np.full((*(high - low + 1)[:2], 2), -1, dtype=np.int64)
    rows[*(steps[:, :2] - low[:2]).T, steps.sum(axis=1)] = np.arange(len(steps))
    found: Array = rows[wanted[..., 0] - low[0], wanted[..., 1] - low[1], wanted.sum(axis=-1)]
    return found
