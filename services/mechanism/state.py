"""What a session's posterior is made of: where it begins, what was measured, what it gains by that, and how it looks at one moment."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from dichroic.bundle import MechanismSection
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.mechanism_section import Noise
from services.mechanism.answers import Bool, Float64
from services.mechanism.posterior import centred

# Places for points to come that a session starts with; then as many again as there are.
FIRST_ROOM = 64
FLOAT64_BYTES = 8


@dataclass(frozen=True)
class Start:
    """Where every session of a bundle begins. Shared by all of them, and never written to.

    Attributes:
        arrays: as posterior_inputs makes them.
        mean: μ.
        noise: of one measurement.
        centred: (T,) see posterior.centred.
        measured: whether the points were measured; inducing points were not, and are nobody's duplicate.
    """

    arrays: Arrays
    mean: float
    noise: Noise
    centred: Float64
    measured: bool

    @classmethod
    def of(cls, section: MechanismSection, arrays: Arrays, mean: float) -> Self:
        """From a manifest's section and what was made of the bundle at load."""
        return cls(arrays, mean, section.noise, centred(section), section.posterior == "exact")

    @property
    def root(self) -> Float64:
        """The root (R, N) that nothing was cut from."""
        return self.arrays.get("root", self.arrays["inverse"])

    def view(self) -> View:
        """The bundle's posterior itself."""
        arrays = self.arrays
        return View(
            arrays["points"],
            arrays["inverse"],
            arrays["alpha"],
            arrays["reference"],
            arrays["gauge_half"],
            arrays["gauge_variance"],
            arrays["noise_root"],
            np.zeros(0),
            self.centred,
            self.mean,
        )


@dataclass(frozen=True)
class Measured:
    """k new points as the graphs see them.

    Attributes:
        latents: (k, D).
        y: (k,) measured.
        factor_variance: (k, T) of the parts' factors.
        rows: (k, T, N + k) covariances of each part, without its factor, with f at the session's points and at the new ones.
        factor: (k, T).
        prior: (k, T) prior variance of each part, without its factor.
    """

    latents: Float64
    y: Float64
    factor_variance: Float64
    rows: Float64
    factor: Float64
    prior: Float64


@dataclass(frozen=True)
class Block:
    """k new points, worked out: all that a session gains by one Observe, and all that the journal keeps of it.

    Attributes:
        latents: (k, D).
        y: (k,).
        noise_variance: (k,) that each was given.
        weight: (k,) σ² over that.
        duplicate: (k,) bool.
        root_rows: (k, N + k) what the root gains.
        loads: (k, R + k) l of each point in the root that nothing was cut from, the points before it in the block included. As candidates take it,
            (k, r + k): in the root that the graphs use, which is another on every machine.
        scale: (k,) d.
        innovation: (k,) e.
        gauge_half: (k, T) what the gauge's half gains.
        gauge_rows: (k, T) covariances of the gauge's means with f at the point.
    """

    latents: Float64
    y: Float64
    noise_variance: Float64
    weight: Float64
    duplicate: Bool
    root_rows: Float64
    loads: Float64
    scale: Float64
    innovation: Float64
    gauge_half: Float64
    gauge_rows: Float64

    def __len__(self) -> int:
        return len(self.y)

    def for_candidates(self, basis: Float64 | None) -> Self:
        """As candidates take it: `loads` in the graphs' root, and without the rows of the root, which they do not need.

        Args:
            basis: (R, r) U of the posterior that serves now, on this machine; None where nothing was cut from the root.
        """
        loads = self.loads
        if basis is not None:
            loads = np.concatenate((np.ascontiguousarray(loads[:, : len(basis)]) @ basis, loads[:, len(basis) :]), axis=1)
        return replace(self, root_rows=np.zeros((len(self), 0)), loads=loads)

    def arrays(self) -> Arrays:
        """By name, as the journal stores them."""
        return dict(vars(self))

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """From what the journal stored.

        Raises:
            KeyError: an array is missing.
        """
        return cls(**{each.name: arrays[each.name] for each in fields(cls)})


@dataclass(frozen=True)
class View:
    """A posterior at one moment, without room for more: what candidates are told by. `added_noise` (k,): noise variances of the last k points."""

    points: Float64
    root: Float64
    alpha: Float64
    reference: Float64
    gauge_half: Float64
    gauge_variance: Float64
    noise_root: Float64
    added_noise: Float64
    centred: Float64
    mean: float


def room_for(added: int) -> int:
    """Places that arrays have for points to come where so many were observed: they double."""
    room = FIRST_ROOM
    while room < added:
        room *= 2
    return room


def posterior_bytes(start: Start, added: int) -> int:
    """Of a session's own arrays with so many points more than the bundle's."""
    return FLOAT64_BYTES * sum(int(np.prod(shape)) for shape in shapes(start, room_for(added)).values())


def shapes(start: Start, room: int) -> dict[str, tuple[int, ...]]:
    """Of a session's arrays with room for so many points more than the bundle's."""
    first, size = start.arrays["points"].shape
    points, rank, terms = first + room, len(start.arrays["inverse"]) + room, len(start.centred)
    return {
        "points": (points, size),
        "inverse": (rank, points),
        "alpha": (points,),
        "reference": (points,),
        "gauge_half": (rank, terms),
        "gauge_mean": (terms,),
        "gauge_variance": (terms,),
        "gauge_rows": (terms, points),
    }
