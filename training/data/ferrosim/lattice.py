"""A batch of periodic lattices of polarisation with disorder, their free energy, and its descent (science 3.4, [ours]). Dimensionless throughout.

F = Σ_i [L(p_i) − (E + Ec e_i)·p_i] + Σ_⟨ij⟩ (k_ij/8)|p_i − p_j|² + (d/2) N |mean p|²,  k_ij = (k_i + k_j)/2, each bond once,
dp_i/dt = −γ ∂F/∂p_i = γ [−L'(p_i) − Σ_j (k_ij/4)(p_i − p_j) + E + Ec e_i − d mean p],  j over the four nearest neighbours on the torus.

Time is counted in units of 1/γ, so that γ is 1. With one k for all sites the coupling is k (p_i − mean of the neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.ferrosim.landau import Landau, landau
from training.errors import InputError

# Rows of a tile are simulations; a tile has at least two, because numpy adds up a lone column in another order.
LEAST_TILE = 2


@dataclass(frozen=True)
class Lattices:
    """A batch of simulations of one mode and size; each has its own disorder.

    Attributes:
        mode: "uniaxial" (1 component), "square", "tetragonal" or "rhombohedral" (2 components).
        bond: (batch, n, n) float64, k_i >= 0.
        random_field: (batch, components, n, n) float64, e_i in units of Ec (`landau(mode).coercive_field`).
        depolarisation: (batch,) float64, d >= 0.
    """

    mode: str
    bond: Array
    random_field: Array
    depolarisation: Array

    def __post_init__(self) -> None:
        """Checks shapes and ranges: INVALID_OPTION, UNSUPPORTED_SHAPE or NON_FINITE."""
        components = self.landau.components
        if self.bond.ndim != 3 or self.bond.shape[1] != self.bond.shape[2] or 0 in self.bond.shape:
            raise InputError("UNSUPPORTED_SHAPE", f"`bond` is (batch, n, n) with n >= 1, not of shape {self.bond.shape}.")
        batch, n = self.bond.shape[:2]
        check_array("random_field", self.random_field, (batch, components, n, n))
        check_array("depolarisation", self.depolarisation, (batch,))
        check_array("bond", self.bond, (batch, n, n))
        for name, array in (("bond", self.bond), ("depolarisation", self.depolarisation)):
            if (array < 0).any():
                row = int(np.argwhere(array < 0)[0, 0])
                raise InputError("INVALID_OPTION", f"`{name}` is 0 or more; simulation {row} has {array[row].min():g}.")

    @property
    def landau(self) -> Landau:
        """The energy of a site."""
        return landau(self.mode)

    @property
    def batch(self) -> int:
        """How many simulations."""
        return len(self.bond)

    @property
    def n(self) -> int:
        """Sites along one side."""
        return int(self.bond.shape[1])

    def rows(self, rows: Array | slice) -> Lattices:
        """Some of the simulations."""
        return Lattices(self.mode, self.bond[rows], self.random_field[rows], self.depolarisation[rows])


def uniform_lattices(mode: str, n: int, batch: int = 1, *, bond: float = 1.0, depolarisation: float = 0.0) -> Lattices:
    """Lattices without disorder: k_i = `bond`, e_i = 0, n × n sites.

    Raises:
        InputError: INVALID_OPTION.
    """
    components = landau(mode).components
    if n < 1 or batch < 1:
        raise InputError("INVALID_OPTION", f"A batch has at least one lattice of at least one site, not batch {batch} and n {n}.")
    return Lattices(mode, np.full((batch, n, n), float(bond)), np.zeros((batch, components, n, n)), np.full(batch, float(depolarisation)))


def free_energy(lattices: Lattices, p: Array, field: Array) -> Array:
    """F of each simulation.

    Args:
        lattices: of `batch` simulations.
        p: (batch, components, n, n) float64, polarisation.
        field: (batch, components) float64, the applied E.

    Returns:
        (batch,) float64.
    """
    own = lattices.landau
    total = field[:, :, None, None] + own.coercive_field * lattices.random_field
    local = (own.energy(p) - (total * p).sum(axis=1)).sum(axis=(1, 2))
    mean = p.mean(axis=(2, 3))
    for axis in (-2, -1):  # the bond downwards and the bond to the right of each site: each bond once
        bond = (lattices.bond + np.roll(lattices.bond, -1, axis)) / 2
        local = local + (bond / 8 * np.square(np.roll(p, -1, axis) - p).sum(axis=1)).sum(axis=(1, 2))
    energy: Array = local + lattices.depolarisation / 2 * lattices.n**2 * np.square(mean).sum(axis=1)
    return energy


def force(lattices: Lattices, p: Array, field: Array) -> Array:
    """dp/dt = −∂F/∂p, by the very code that integrates it; arguments as `free_energy`, result (batch, components, n, n) float64."""
    rows = np.arange(max(lattices.batch, LEAST_TILE)) % lattices.batch
    descent = Descent(lattices.rows(rows), 1.0)
    tile = tile_of(p[rows])
    out = np.empty_like(tile)
    descent(tile, np.ascontiguousarray(field[rows].T), out)
    return batch_of(out, lattices.n)[: lattices.batch]


class Descent:
    """scale × dp/dt of one tile of simulations, in place: nothing is allocated, and the arrays of a tile fit a processor's cache.

    Sites are numbered row by row, and the batch is the last axis, so that every operation runs along contiguous memory however small the
    lattice is, and a neighbour is a gather of whole rows.
    """

    def __init__(self, lattices: Lattices, scale: float) -> None:
        own, n = lattices.landau, lattices.n
        self._a, self._b, self._c = scale * own.a, -scale * own.b, scale * own.c
        self._random = tile_of(lattices.random_field * (scale * own.coercive_field))
        self._depolarisation = scale * lattices.depolarisation
        self._depolarises = bool(lattices.depolarisation.any())
        # Each site has a bond downwards and one to the right: k_ij/4, the site at the other end, and the site whose bond ends here.
        self._bonds = np.stack([tile_of((lattices.bond + np.roll(lattices.bond, -1, axis)) * (scale / 8))[None] for axis in (1, 2)])
        site = np.arange(n * n).reshape(n, n)
        self._ahead = [np.roll(site, -1, axis).ravel() for axis in (0, 1)]
        self._behind = [np.roll(site, 1, axis).ravel() for axis in (0, 1)]
        self._square = np.empty_like(self._random)
        self._neighbour, self._current = (np.empty((2, *self._random.shape)) for _ in range(2))

    def __call__(self, p: Array, drive: Array, out: Array) -> None:
        """Writes to `out`.

        Args:
            p: (components, n², tile) float64, read only.
            drive: (components, tile) float64, scale × E.
            out: as p.
        """
        square, neighbour, current = self._square, self._neighbour, self._current
        np.multiply(p, p, out=square)
        np.multiply(square, self._b, out=out)
        if self._c:
            square *= self._c
            out -= square[::-1]  # the other component's
        out -= self._a
        out *= p
        out += self._random
        if self._depolarises:
            drive = drive - self._depolarisation * site_mean(p)
        out += drive[:, None, :]
        # Along each bond flows (k_ij/4)(p_j − p_i): what a site gains its neighbour loses.
        for way, ahead in enumerate(self._ahead):
            np.take(p, ahead, axis=1, out=neighbour[way], mode="clip")  # with "raise", numpy would gather into a copy first
        np.subtract(neighbour, p, out=current)
        current *= self._bonds
        for way, behind in enumerate(self._behind):
            np.take(current[way], behind, axis=1, out=neighbour[way], mode="clip")
        current -= neighbour
        out += current[0]
        out += current[1]


def site_mean(p: Array) -> Array:
    """(components, n², tile) → (components, tile)."""
    mean: Array = p.sum(axis=1) * (1 / p.shape[1])
    return mean


def tile_of(array: Array) -> Array:
    """(batch, ..., n, n) → (..., n², batch), contiguous."""
    return np.ascontiguousarray(np.moveaxis(array.reshape(*array.shape[:-2], -1), 0, -1))


def batch_of(array: Array, n: int) -> Array:
    """(..., n², batch) → (batch, ..., n, n), contiguous: `tile_of` undone."""
    first = np.moveaxis(array, -1, 0)
    return np.ascontiguousarray(first.reshape(*first.shape[:-1], n, n))


def check_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raises UNSUPPORTED_SHAPE or NON_FINITE, naming the simulation."""
    if array.shape != shape or array.dtype != np.float64:
        raise InputError("UNSUPPORTED_SHAPE", f"`{name}` is float64 of shape {shape}, not {array.dtype} of shape {array.shape}.")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise InputError("NON_FINITE", f"`{name}` of simulation {row} is NaN or infinite; give finite numbers.")
