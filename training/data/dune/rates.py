"""Rates at which a silicon atom in graphene changes places with each of its three neighbours, under a beam that stands still (science 4.2).

A family is a function of the beam's place in each neighbour's own frame alone: along the bond and across it, in bond lengths. So it is equivariant
by construction: turning or reflecting a state permutes nothing and changes nothing, and exchanging neighbours exchanges their rates. What goes in
is Å and nothing else; division by the bond length happens here, once. All constants of the families stand here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.streams import MIXTURE
from training.errors import InputError

BOND_LENGTH = 1.42  # Å, a
# A neighbour nearer or farther than this is none: bond lengths or nm that were sent for Å are caught here.
NEIGHBOUR_DISTANCES = (1.1, 2.0)  # Å
REFERENCE_CURRENT = 0.1  # nA
REFERENCE_VOLTAGE = 60.0  # kV

# Human prior: half of the atoms under a beam at the peak have hopped, to whichever of three, after three seconds.
PRIOR_RATE = math.log(2) / 3  # 1/s
PRIOR_PEAK = 0.85  # a, along the bond
PRIOR_SQUARE = 0.2  # a²
BEYOND_PEAK = 1.9  # Å: the learned optimum of the experiments lay at 1.87 to 2.17 Å
SIMPLE_SHARPNESS = 16.0
# Random mixtures as the published simulator draws them [code: google/putting-dune, GaussianMixtureRateFunction]; wide ones hardly tell the three
# neighbours from each other.
MEAN_FURTHER_COMPONENTS = 2.0  # Poisson, beside the first
CENTRE_ALONG = (-2.0, 3.0)  # a, on the bond
VARIANCE = (0.1, 5.0)  # Å², drawn along and across
PEAK_RATE = (0.01, 1.0)  # 1/s, of the highest component; the others by their weight and area


class RateModel(Protocol):
    """What simulators ask. Anything that answers, such as a learned model, may stand in for a family."""

    def rates(self, beam: Array, neighbours: Array, context: Array) -> Array:
        """The rate of changing places with each neighbour.

        Args:
            beam: (n, 2) float64, Å relative to the silicon atom.
            neighbours: (n, 3, 2) float64, Å relative to it.
            context: (n, 2) float64, current (nA) and voltage (kV).

        Returns:
            (n, 3) float64, 1/s, >= 0, in the order of the neighbours.
        """
        ...


@dataclass(frozen=True)
class ContextScaling:
    """How rates change with the instrument [ours]: r ∝ I/I₀ exp((V − V₀)/V₁).

    Attributes:
        current_na: I₀, nA, > 0.
        voltage_kv: V₀, kV.
        scale_kv: V₁, kV, > 0.
    """

    current_na: float = REFERENCE_CURRENT
    voltage_kv: float = REFERENCE_VOLTAGE
    scale_kv: float = 10.0

    def __post_init__(self) -> None:
        """Checks.

        Raises:
            InputError: INVALID_OPTION.
        """
        if not (0 < self.current_na < math.inf and 0 < self.scale_kv < math.inf and math.isfinite(self.voltage_kv)):
            raise InputError("INVALID_OPTION", f"Reference current and voltage scale are above 0, not {self.current_na:g} and {self.scale_kv:g}.")

    def factor(self, context: Array) -> Array:
        """(n, 2) nA and kV → (n,)."""
        found: Array = context[:, 0] / self.current_na * np.exp((context[:, 1] - self.voltage_kv) / self.scale_kv)
        return found


@dataclass(frozen=True)
class _Family(ABC):
    """What families share: the frames, the checks and the context.

    Attributes:
        scaling: with the context; None where rates do not depend on it.
    """

    scaling: ContextScaling | None = field(default=None, kw_only=True)

    def rates(self, beam: Array, neighbours: Array, context: Array) -> Array:
        """As `RateModel` says.

        Raises:
            InputError: UNSUPPORTED_SHAPE, NON_FINITE or WRONG_UNITS.
        """
        check_states(beam, neighbours, context)
        along, across, distance = neighbour_frames(beam, neighbours)
        rates = self._shape(along, across, distance)
        return rates if self.scaling is None else rates * self.scaling.factor(context)[:, None]

    @abstractmethod
    def _shape(self, along: Array, across: Array, distance: Array) -> Array:
        """(n, 3) each, bond lengths → (n, 3) 1/s."""


@dataclass(frozen=True)
class HumanPrior(_Family):
    """r_i = (ln 2 / 3) exp(−|b/a − p u_i|²/0.2), u_i the direction of neighbour i, p the peak.

    Attributes:
        peak: p, bond lengths, > 0.
    """

    peak: float = PRIOR_PEAK

    def _shape(self, along: Array, across: Array, distance: Array) -> Array:
        shape: Array = PRIOR_RATE * np.exp(-((along - self.peak) ** 2 + across**2) / PRIOR_SQUARE)
        return shape


@dataclass(frozen=True)
class BeyondCarbon(HumanPrior):
    """The human prior's shape with its peak at 1.9 Å, beyond the carbon, where the experiments had it."""

    peak: float = BEYOND_PEAK / BOND_LENGTH


@dataclass(frozen=True)
class Simple(_Family):
    """r_i = 1/(16 (|b − n_i|/a)² + 1): it peaks on the carbon, at 1/s, and has long tails."""

    def _shape(self, along: Array, across: Array, distance: Array) -> Array:
        shape: Array = 1 / (SIMPLE_SHARPNESS * ((along - distance) ** 2 + across**2) + 1)
        return shape


@dataclass(frozen=True)
class Component:
    """One of a mixture, and its mirror image. Lengths in bond lengths.

    Attributes:
        along: of the centre, along the bond.
        across: of the centre, to either side of it, >= 0.
        width_along: standard deviation, > 0.
        width_across: standard deviation, > 0.
        peak_rate: at the centres, 1/s, >= 0.
    """

    along: float
    across: float
    width_along: float
    width_across: float
    peak_rate: float


@dataclass(frozen=True)
class GaussianMixture(_Family):
    """r_i = r₀ + Σ_k p_k G(x − x_k; w_k) [G(y − y_k; v_k) + G(y + y_k; v_k)] / [1 + G(2 y_k; v_k)], x along and y across, G(z; w) = exp(−z²/2w²).

    Attributes:
        components: at least one.
        background: r₀, 1/s, >= 0, wherever the beam is.
    """

    components: tuple[Component, ...]
    background: float

    def __post_init__(self) -> None:
        """Checks.

        Raises:
            InputError: INVALID_OPTION.
        """
        holds = self.components and self.background >= 0
        if not holds or any(min(each.width_along, each.width_across) <= 0 or each.peak_rate < 0 for each in self.components):
            raise InputError("INVALID_OPTION", "A mixture has at least one component, widths above 0 and rates of 0 or more.")

    @classmethod
    def drawn(cls, seed: int, *, scaling: ContextScaling | None = None) -> GaussianMixture:
        """One as the published simulator draws them, see the head of this file; the same seed gives the same mixture."""
        stream = random_stream(seed, MIXTURE)
        count = 1 + int(stream.poisson(MEAN_FURTHER_COMPONENTS))
        peak, weight = stream.uniform(*PEAK_RATE), stream.random(count)
        along, variance = stream.uniform(*CENTRE_ALONG, count), stream.uniform(*VARIANCE, (count, 2))
        height = weight / np.sqrt(variance.prod(axis=1))
        rates, widths = (height * (peak / height.max())).tolist(), (np.sqrt(variance) / BOND_LENGTH).tolist()
        components = tuple(
            Component(along=at, across=0.0, width_along=wide, width_across=tall, peak_rate=rate)
            for at, (wide, tall), rate in zip(along.tolist(), widths, rates, strict=True)
        )
        return cls(components, 0.0, scaling=scaling)

    def _shape(self, along: Array, across: Array, distance: Array) -> Array:
        shape = np.full(along.shape, self.background)
        for each in self.components:
            two_sided = _bell(across - each.across, each.width_across) + _bell(across + each.across, each.width_across)
            height = each.peak_rate / (1 + _bell(np.array(2 * each.across), each.width_across))
            shape += height * _bell(along - each.along, each.width_along) * two_sided
        return shape


def _bell(z: Array, width: float) -> Array:
    bell: Array = np.exp(-(z**2) / (2 * width**2))
    return bell


def neighbour_frames(beam: Array, neighbours: Array) -> tuple[Array, Array, Array]:
    """The beam in each neighbour's own frame, along = b·u_i/a and across = u_i × b/a (counter-clockwise: above 0), and |n_i|/a; (n, 3) each."""
    x, y = beam[:, None, 0], beam[:, None, 1]
    to_x, to_y = neighbours[..., 0], neighbours[..., 1]
    distance = np.sqrt(to_x**2 + to_y**2)
    scale = 1 / (distance * BOND_LENGTH)
    return (x * to_x + y * to_y) * scale, (to_x * y - to_y * x) * scale, distance / BOND_LENGTH


def check_states(beam: Array, neighbours: Array, context: Array) -> None:
    """Shapes, finite values, and neighbours at distances that are Å.

    Raises:
        InputError: UNSUPPORTED_SHAPE, NON_FINITE or WRONG_UNITS.
    """
    count = len(beam)
    shapes = {"beam": (count, 2), "neighbours": (count, 3, 2), "context": (count, 2)}
    for (name, shape), array in zip(shapes.items(), (beam, neighbours, context), strict=True):
        if array.shape != shape:
            raise InputError("UNSUPPORTED_SHAPE", f"`{name}` of {count} states is of shape {shape}, not {array.shape}.")
        if not np.isfinite(array).all():
            raise InputError("NON_FINITE", f"`{name}` has values that are not finite.")
    square = neighbours[..., 0] ** 2 + neighbours[..., 1] ** 2
    low, high = NEIGHBOUR_DISTANCES
    if count and not (low**2 <= square.min() and square.max() <= high**2):
        wrong = square[(square < low**2) | (square > high**2)]
        raise InputError(
            "WRONG_UNITS",
            f"A neighbour is {math.sqrt(float(wrong[0])):.3g} Å away, not {low:g} to {high:g} Å. Are these Å, not bond lengths or nm?",
        )


def context_rows(context: Sequence[float] | Array, count: int) -> Array:
    """(current in nA, voltage in kV), for all or (count, 2) for each → (count, 2) float64.

    Raises:
        InputError: INVALID_OPTION when a current or a voltage is not above 0.
    """
    rows = np.broadcast_to(np.asarray(context, dtype=np.float64), (count, 2))
    if not ((rows > 0) & np.isfinite(rows)).all():
        raise InputError("INVALID_OPTION", "A context is a current in nA and a voltage in kV, both above 0.")
    return rows
