"""What may be done to a dopant: the beam at a place in one neighbour's frame, for a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.honeycomb import surroundings
from services.transition.arrays import Float64, Int64

# Dwells are multiples of it, s.
DWELL_STEP_S = 0.5


@dataclass(frozen=True)
class Actions:
    """A of them, each in the frame of whichever neighbour it is meant for.

    Attributes:
        along: (A,) float64, Å from the dopant along the bond.
        across: (A,) float64, Å across it, counter-clockwise positive.
        dwell_s: (A,) float64, s.
    """

    along: Float64
    across: Float64
    dwell_s: Float64

    def __len__(self) -> int:
        return len(self.dwell_s)

    @classmethod
    def grid(cls, spacing: float, radius: float, dwells_s: Float64) -> Actions:
        """Every place of a hexagonal grid in the third of a disc that belongs to one neighbour, its edges included, with every dwell.

        Args:
            spacing: of the grid, Å.
            radius: of the disc, Å.
            dwells_s: (d,) float64, s.
        """
        # Rows lie nearer to each other than places in a row, and each is shifted by half a place.
        most = 2 * np.ceil(radius / spacing)
        row, column = (each.ravel() for each in np.meshgrid(np.arange(-most, most + 1), np.arange(-most, most + 1), indexing="ij"))
        along, across = (column + row / 2) * spacing, row * spacing * np.sqrt(0.75)
        kept = (np.hypot(along, across) <= radius + 1e-9) & (np.abs(across) <= np.sqrt(3.0) * along + 1e-9)
        # Of the sector's two edges, which are each other's images, one is enough.
        kept &= (across > -np.sqrt(3.0) * along + 1e-9) | (np.hypot(along, across) < 1e-9)
        place, dwell = np.meshgrid(np.flatnonzero(kept), np.arange(len(dwells_s)), indexing="ij")
        return cls(along[place.ravel()], across[place.ravel()], dwells_s[dwell.ravel()])

    def kept(self, rows: Int64) -> Actions:
        """Some of them."""
        return Actions(self.along[rows], self.across[rows], self.dwell_s[rows])

    def with_others(self, others: Actions) -> Actions:
        """These and those."""
        pairs = ((self.along, others.along), (self.across, others.across), (self.dwell_s, others.dwell_s))
        return Actions(*(np.concatenate(pair) for pair in pairs))

    def around(self, step: float, radius: float, longest_s: float) -> Actions:
        """Those that differ from one of these by one step: along or across by `step` Å, or in the dwell by its step."""
        moves = np.array([(step, 0, 0), (-step, 0, 0), (0, step, 0), (0, -step, 0), (0, 0, DWELL_STEP_S), (0, 0, -DWELL_STEP_S)])
        own = np.stack([self.along, self.across, self.dwell_s], axis=1)
        # Rounded, so that what is reached twice is found to be the same.
        moved = np.unique(np.round((own[:, None] + moves).reshape(-1, 3), 6), axis=0)
        fits = (np.hypot(moved[:, 0], moved[:, 1]) <= radius) & (moved[:, 2] > DWELL_STEP_S / 2) & (moved[:, 2] <= longest_s)
        known = {tuple(row) for row in np.round(own, 6).tolist()}
        fits &= np.array([tuple(row) not in known for row in moved.tolist()], bool)
        return Actions(*moved[fits].T)


def perfect_neighbours(bond_length: float) -> Float64:
    """(3, 2) Å, the first along x, the others counter-clockwise."""
    angle = 2 * np.pi / 3 * np.arange(3)
    found: Float64 = bond_length * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return found


def frame_angle(neighbours: Float64) -> Float64:
    """(..., 3, 2) counter-clockwise neighbours → (...,) direction of the first, rad, by least squares over all three.

    The rotation by θ that brings a perfect state nearest to the observed one: θ = arg Σ_j n_j e^(−2πij/3), n_j as complex numbers.
    """
    vectors = neighbours[..., 0] + 1j * neighbours[..., 1]
    found: Float64 = np.angle((vectors * np.exp(-2j * np.pi / 3 * np.arange(3))).sum(axis=-1))
    return found


def beam_at(along: Float64, across: Float64, frame: Int64, neighbours: Float64) -> Float64:
    """(n,) places in the frame of neighbour `frame` (n,) of states (n, 3, 2) → beams (n, 2), Å from the dopant."""
    angle = frame_angle(neighbours) + 2 * np.pi / 3 * frame
    cos, sin = np.cos(angle), np.sin(angle)
    found: Float64 = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
    return found


def turned(occupancy: Float64, shells: int) -> Float64:
    """What becomes of actions in each of the three frames.

    Turning the lattice by 120° renames its neighbours and nothing else, so that one evaluation serves all frames.

    Args:
        occupancy: (..., A, S + 1) of actions in the frame of the first neighbour.
        shells: of the surroundings.

    Returns:
        (..., 3 A, S + 1): frame 0 of all actions, then frame 1, then frame 2.
    """
    sites = surroundings(shells)
    index = {tuple(steps): site for site, steps in enumerate(sites.steps.tolist())}
    found = []
    for frame in range(3):
        # What lies at s in the frame of neighbour k lies at s rolled by k in the lattice's own.
        order = [index[tuple(np.roll(steps, -frame).tolist())] for steps in sites.steps]
        found.append(occupancy[..., [*order, len(sites)]])
    return np.concatenate(found, axis=-2)
