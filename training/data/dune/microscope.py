"""One simulated instrument: a patch of graphene with silicon atoms, imaged and dwelt upon at absolute positions, while the sample drifts.

Positions are Å from the upper left corner of the field of view, x right and y down. What an operator may know is what `image` gives: positions
with noise, of a sample that has drifted since the last image by nobody knows how much. Images move no atom. The patch ends at its edges, where
atoms have fewer neighbours and the silicon atom cannot leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.lattice import CARBON, SILICON, Lattice
from training.data.dune.rates import RateModel, context_rows
from training.data.dune.simulator import IMAGE_SECONDS, REFERENCE_CONTEXT
from training.data.dune.streams import MICROSCOPE
from training.errors import InputError

# While it drifts, the sample stands still for this long at a time.
_SLICE_SECONDS = 0.1


@dataclass(frozen=True)
class Observation:
    """One image's atoms.

    Attributes:
        atoms_xy_angstrom: (m, 2) float64, Å in the field of view, with the instrument's noise and drift.
        atomic_numbers: (m,) int64, 6 or 14.
        time_s: when the image was complete, s since the microscope was switched on.
        field_of_view_angstrom: side, Å.
    """

    atoms_xy_angstrom: Array
    atomic_numbers: Array
    time_s: float
    field_of_view_angstrom: float


@dataclass(frozen=True)
class Imperfections:
    """What an instrument adds, all >= 0.

    Attributes:
        position_noise_angstrom: standard deviation of each coordinate of an atom in an image.
        drift_angstrom_per_s: speed of the steady drift, whose direction is drawn.
        drift_walk_angstrom: standard deviation, for each coordinate, of what drift adds at random in one second; it grows with √t.
    """

    position_noise_angstrom: float = 0.05
    drift_angstrom_per_s: float = 0.005
    drift_walk_angstrom: float = 0.01

    def __post_init__(self) -> None:
        """Checks.

        Raises:
            InputError: INVALID_OPTION.
        """
        if not all(0 <= value < math.inf for value in vars(self).values()):
            raise InputError("INVALID_OPTION", f"Noise and drift are 0 or more, not {vars(self)}.")


class Microscope:
    """Images and dwells, in the order they are asked for; the same seed and the same requests give the same answers."""

    def __init__(
        self,
        rates: RateModel,
        lattice: Lattice,
        seed: int,
        *,
        dopants: Sequence[int] = (),
        context: Sequence[float] = REFERENCE_CONTEXT,
        imperfections: Imperfections | None = None,
        image_seconds: float = IMAGE_SECONDS,
    ) -> None:
        """Switches it on.

        Args:
            rates: what silicon atoms obey. Two of them do not change places with each other.
            lattice: the sample.
            seed: of hops, noise and drift.
            dopants: atoms of the lattice that are silicon; the one nearest to its middle where none is named.
            context: nA and kV.
            imperfections: noise and drift; None for the usual ones.
            image_seconds: what an image takes, > 0.

        Raises:
            InputError: INVALID_OPTION.
        """
        chosen = list(dopants) or [lattice.nearest(np.full(2, lattice.field_of_view_angstrom / 2))]
        if len(set(chosen)) < len(chosen) or not all(0 <= each < len(lattice) for each in chosen):
            raise InputError("INVALID_OPTION", f"Dopants are different atoms, 0 to {len(lattice) - 1}, not {chosen}.")
        if not 0 < image_seconds < math.inf:
            raise InputError("INVALID_OPTION", f"An image takes more than 0 s, not {image_seconds:g}.")
        self._rates, self._lattice, self._image_seconds = rates, lattice, image_seconds
        self._context = context_rows(context, len(chosen))
        self._flaws = Imperfections() if imperfections is None else imperfections
        self._hops, self._noise, self._walk = (random_stream(seed, MICROSCOPE, part) for part in range(3))
        direction = 2 * math.pi * self._walk.random()
        self._drift_speed = self._flaws.drift_angstrom_per_s * np.array([math.cos(direction), math.sin(direction)])
        self._dopants = np.array(chosen, np.int64)
        self._drift, self._time = np.zeros(2), 0.0

    @property
    def lattice(self) -> Lattice:
        """The sample, as it lies without drift."""
        return self._lattice

    @property
    def time_s(self) -> float:
        """S since it was switched on."""
        return self._time

    @property
    def dopants(self) -> tuple[int, ...]:
        """The truth: which atoms of the lattice are silicon, in the order that was given."""
        return tuple(self._dopants.tolist())

    @property
    def drift_angstrom(self) -> tuple[float, float]:
        """The truth: how far the sample has drifted, x and y."""
        return float(self._drift[0]), float(self._drift[1])

    def image(self) -> Observation:
        """Takes an image. Atoms are seen where they are in the middle of it."""
        self._pass_time(self._image_seconds / 2)
        noise = self._flaws.position_noise_angstrom * self._noise.standard_normal((len(self._lattice), 2))
        xy = self._lattice.atoms_xy + self._drift + noise
        self._pass_time(self._image_seconds / 2)
        numbers = np.full(len(xy), CARBON, np.int64)
        numbers[self._dopants] = SILICON
        return Observation(xy, numbers, self._time, self._lattice.field_of_view_angstrom)

    def dwell(self, xy_angstrom: Sequence[float] | Array, seconds: float) -> None:
        """Holds the beam at a place of the field of view.

        Args:
            xy_angstrom: (2,) Å, 0 to the field of view.
            seconds: > 0, at most 3600.

        Raises:
            InputError: INVALID_OPTION; OUT_OF_VIEW, where the beam cannot go.
        """
        beam, side = np.asarray(xy_angstrom, dtype=np.float64), self._lattice.field_of_view_angstrom
        if beam.shape != (2,) or not 0 < seconds <= 3600:
            raise InputError("INVALID_OPTION", f"A dwell is at (x, y) Å and lasts more than 0 s and at most 3600, not {seconds:g}.")
        if not ((beam >= 0) & (beam <= side)).all():
            raise InputError("OUT_OF_VIEW", f"The beam reaches 0 to {side:g} Å in x and y, not ({beam[0]:g}, {beam[1]:g}).")
        still = not (self._flaws.drift_angstrom_per_s or self._flaws.drift_walk_angstrom)
        slices = 1 if still else math.ceil(seconds / _SLICE_SECONDS)
        for _ in range(slices):
            # Waiting has no memory, so that a dwell may be cut where the sample has moved.
            self._hop(beam, seconds / slices)
            self._pass_time(seconds / slices)

    def _hop(self, beam: Array, left: float) -> None:
        """Gillespie's algorithm over all dopants and all bonds at once."""
        while True:
            bonds, reached = self._lattice.bonds[self._dopants], self._lattice.neighbours[self._dopants]
            relative = beam - self._drift - self._lattice.atoms_xy[self._dopants]
            # Nothing lies beyond the edge, and silicon does not change places with silicon.
            rates = np.where((reached >= 0) & ~np.isin(reached, self._dopants), self._rates.rates(relative, bonds, self._context), 0.0)
            running = np.cumsum(rates)
            wait, share = self._hops.random(2)
            left += math.log1p(-wait) / running[-1] if running[-1] > 0 else -math.inf
            if left <= 0:
                return
            atom, bond = divmod(int((share * running[-1] >= running[:-1]).sum()), 3)
            self._dopants[atom] = reached[atom, bond]

    def _pass_time(self, seconds: float) -> None:
        self._time += seconds
        walk = self._flaws.drift_walk_angstrom * math.sqrt(seconds) * self._walk.standard_normal(2)
        self._drift = self._drift + self._drift_speed * seconds + walk
