"""The four modes of a site: its Landau energy, what it costs to reverse it, and where it rests (science 3.4). Everything is dimensionless."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.errors import InputError


@dataclass(frozen=True)
class Landau:
    """L(p) = Σ_c (a/2 p_c² + b/4 p_c⁴) + c/2 p_x² p_y², hence −∂L/∂p_x = −(a + b p_x² + c p_y²) p_x, and likewise for y.

    The published a1|p|² + a2(p_x⁴ + p_y⁴) + a3 p_x²p_y² is this with a = 2 a1, b = 4 a2, c = 2 a3; a1/2 p² + a2/4 p⁴ is a = a1, b = a2.

    Attributes:
        components: of the polarisation at a site, 1 or 2.
        a: < 0.
        b: > 0.
        c: coupling of the two components; b + c > 0.
    """

    components: int
    a: float
    b: float
    c: float = 0.0

    def energy(self, p: Array) -> Array:
        """L at each site: p (batch, components, n, n) → (batch, n, n)."""
        squares = p * p
        own: Array = (self.a / 2 * squares + self.b / 4 * squares * squares).sum(axis=1)
        return own if self.components == 1 else own + self.c / 2 * squares[:, 0] * squares[:, 1]

    @property
    def coercive_field(self) -> float:
        """Ec: the field along −x at which a uniform lattice that rests with p_x > 0 ceases to be stable. The unit of random fields.

        One component: −(2/3) a √(−a/(3b)). Two, at rest on a diagonal: the same with a(1 − c/b) and b − c²/b, as the other component follows
        by p_y² = −(a + c p_x²)/b. Two, at rest along x: −(a x + b x³) where the first of the two second derivatives vanishes, a + 3b x² or a + c x².
        """
        if self.components == 2 and self.c > self.b:
            x = math.sqrt(-self.a / min(3 * self.b, self.c))
            return -(self.a + self.b * x * x) * x
        a, b = self.a * (1 - self.c / self.b), self.b - self.c**2 / self.b
        return -2 / 3 * a * math.sqrt(-a / (3 * b))

    @property
    def spontaneous(self) -> tuple[float, ...]:
        """The resting state without field whose components are >= 0: along x where c > b, along the diagonal where not."""
        if self.components == 1:
            return (math.sqrt(-self.a / self.b),)
        if self.c > self.b:
            return (math.sqrt(-self.a / self.b), 0.0)
        return (math.sqrt(-self.a / (self.b + self.c)),) * 2

    def largest_polarisation(self, field: Array, depolarisation: Array) -> Array:
        """A bound on |p| at any site, from rest, under any field up to `field`, random field included, and d up to `depolarisation`; all (batch,).

        The largest |p| = r shrinks where p·∂L/∂p exceeds r (|E| + d r). p·∂L/∂p >= a r² + m r⁴ with m = b for one component and
        min(b, (b + c)/2) for two, so that m r³ >= (d − a) r + |E| is enough: it holds wherever half of m r³ exceeds either term.
        """
        m = self.b if self.components == 1 else min(self.b, (self.b + self.c) / 2)
        bound: Array = np.maximum(np.sqrt(2 * (depolarisation - self.a) / m), np.cbrt(2 * field / m))
        return bound

    def steepest(self, polarisation: Array) -> Array:
        """The largest eigenvalue of L's second derivatives for |p| up to `polarisation` (same shape): a + κ r², κ the worst over directions."""
        if self.components == 1:
            kappa = 3 * self.b
        else:
            angle = np.linspace(0, math.pi / 4, 46)
            x, y = np.cos(angle), np.sin(angle)
            xx, yy, xy = 3 * self.b * x**2 + self.c * y**2, 3 * self.b * y**2 + self.c * x**2, 2 * self.c * x * y
            kappa = float(((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)).max())
        return self.a + kappa * polarisation**2


MODES = {
    "uniaxial": Landau(1, -1.85, 1.25),
    "square": Landau(2, -1.85, 1.25),
    "tetragonal": Landau(2, 2 * -1.6, 4 * 12.2, 2 * 40.0),
    "rhombohedral": Landau(2, 2 * -10.6, 4 * 10.2, 2 * -10.0),
}


def landau(mode: str) -> Landau:
    """The mode's energy by its name.

    Raises:
        InputError: INVALID_OPTION.
    """
    if mode not in MODES:
        raise InputError("INVALID_OPTION", f"A mode is one of {', '.join(MODES)}, not {mode!r}.")
    return MODES[mode]
