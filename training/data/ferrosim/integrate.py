"""Lattices driven by a field: the classical Runge–Kutta method of fourth order, a tile of simulations at a time.

Explicit, because the descent is not stiff: its fastest rate (Landau's curvature, 2k of the coupling, d) is of order 10 and known beforehand, so that
the step's limit is checked before the first step, and no linear system is solved. Fourth order, because a loop's figures then have errors of
1e-6 at steps near that limit, where a semi-implicit method of first order would need a thousand times as many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from training.data.dataset import Array
from training.data.ferrosim.lattice import LEAST_TILE, Descent, Lattices, batch_of, check_array, site_mean, tile_of
from training.errors import InputError

# |1 − z + z²/2 − z³/6 + z⁴/24| < 1 up to z = 2.785; below 2.5 no mode overshoots either.
STABLE = 2.5
# Numbers in one working array of a tile: a dozen such arrays lie in the last cache, and the cost of a call to numpy is spread over enough of them.
_TILE_NUMBERS = 25_600


@dataclass(frozen=True)
class Run:
    """What became of the lattices.

    Attributes:
        field: (batch, samples, components) float64, the applied E, dimensionless.
        polarisation: (batch, samples, components) float64, mean over the sites at each sample of the field.
        patterns: (batch, kept, components, n, n) float64, at the samples that were to be kept, in their order.
        final: (batch, components, n, n) float64, at the last sample.
    """

    field: Array
    polarisation: Array
    patterns: Array
    final: Array


def simulate(lattices: Lattices, field: Array, step: float, *, start: Array | None = None, substeps: int = 1, keep: Sequence[int] = ()) -> Run:
    """Integrates dp/dt = −∂F/∂p while the field goes linearly from sample to sample.

    Args:
        lattices: of `batch` simulations.
        field: (batch, samples) along x, or (batch, samples, components): E, float64, >= 2 samples; each simulation may have its own.
        step: time between two samples, units of 1/γ, > 0.
        start: (batch, components, n, n) float64; the mode's resting state with components >= 0 where none is given.
        substeps: Runge–Kutta steps between two samples, >= 1.
        keep: samples, 0 to samples − 1, at which the whole pattern is kept.

    Raises:
        InputError: TIME_STEP_TOO_LARGE, with what would do; INVALID_OPTION, UNSUPPORTED_SHAPE or NON_FINITE.
    """
    components, n = lattices.landau.components, lattices.n
    field = _as_vectors(lattices, field)
    if start is None:
        start = np.broadcast_to(np.array(lattices.landau.spontaneous)[:, None, None], (lattices.batch, components, n, n)).copy()
    check_array("start", start, (lattices.batch, components, n, n))
    samples = field.shape[1]
    if not all(0 <= sample < samples for sample in keep):
        raise InputError("INVALID_OPTION", f"Samples to keep lie in 0 to {samples - 1}, not {list(keep)}.")
    if substeps < 1 or not 0 < step < math.inf:
        raise InputError("INVALID_OPTION", f"The step is above 0 and substeps at least 1, not {step:g} and {substeps}.")
    _check_step(lattices, field, start, step, substeps)
    polarisation = np.empty((lattices.batch, samples, components))
    patterns = np.empty((lattices.batch, len(keep), components, n, n))
    final = np.empty_like(start)
    tile = max(LEAST_TILE, _TILE_NUMBERS // (components * n * n))
    with tqdm(total=lattices.batch, desc="simulating", unit="lattice", delay=2, disable=None) as bar:
        for first in range(0, lattices.batch, tile):
            rows = np.arange(first, min(first + tile, lattices.batch))
            padded = np.resize(rows, max(len(rows), LEAST_TILE))
            run = _run_tile(lattices.rows(padded), field[padded], start[padded], step=step / substeps, substeps=substeps, keep=keep)
            for whole, part in zip((polarisation, patterns, final), run, strict=True):
                whole[rows] = part[: len(rows)]
            bar.update(len(rows))
    return Run(field, polarisation, patterns, final)


def stable_step(lattices: Lattices, field: Array, start: Array | None = None) -> Array:
    """The longest step (batch,) that is stable whatever the lattices do: STABLE over the largest curvature F can have on their way.

    Arguments as in `simulate`.
    """
    own = lattices.landau
    driven = np.linalg.norm(_as_vectors(lattices, field), axis=2).max(axis=1)
    disorder = own.coercive_field * np.linalg.norm(lattices.random_field, axis=1).max(axis=(1, 2))
    reach = own.largest_polarisation(driven + disorder, lattices.depolarisation)
    if start is not None:
        reach = np.maximum(reach, np.linalg.norm(start, axis=1).max(axis=(1, 2)))
    curvature = own.steepest(reach) + 2 * lattices.bond.max(axis=(1, 2)) + lattices.depolarisation
    longest: Array = STABLE / curvature
    return longest


def _check_step(lattices: Lattices, field: Array, start: Array, step: float, substeps: int) -> None:
    longest = stable_step(lattices, field, start)
    row = int(longest.argmin())
    if step / substeps > longest[row]:
        raise InputError(
            "TIME_STEP_TOO_LARGE",
            f"A time step of {step / substeps:g} is unstable for simulation {row}, whose field and disorder allow {longest[row]:.3g}; "
            f"give substeps={math.ceil(step / longest[row])} or a step below {longest[row] * substeps:.3g}.",
        )


def _as_vectors(lattices: Lattices, field: Array) -> Array:
    """(batch, samples[, components]) → (batch, samples, components), checked."""
    components = lattices.landau.components
    if field.ndim not in (2, 3) or field.shape[1] < 2:
        raise InputError("UNSUPPORTED_SHAPE", f"`field` is (batch, samples[, components]) with at least two samples, not of shape {field.shape}.")
    if field.ndim == 2:
        along_x = np.zeros((*field.shape, components), dtype=field.dtype)
        along_x[..., 0] = field
        field = along_x
    check_array("field", field, (lattices.batch, field.shape[1], components))
    return field


def _run_tile(lattices: Lattices, field: Array, start: Array, *, step: float, substeps: int, keep: Sequence[int]) -> tuple[Array, Array, Array]:
    """Polarisation, patterns and final pattern of one tile, batch first."""
    samples = field.shape[1]
    # With g = (h/2) dp/dt the four stages are p, p + g1, p + g2, p + 2 g3, and the step is (g1 + 2 g2 + 2 g3 + g4)/3.
    descent = Descent(lattices, step / 2)
    drive = np.ascontiguousarray(np.moveaxis(field, 0, -1)) * (step / 2)  # (samples, components, tile)
    p = tile_of(start)
    stage, g, total = np.empty_like(p), np.empty_like(p), np.empty_like(p)
    polarisation = np.empty_like(drive)
    patterns = np.empty((len(keep), *p.shape))
    for sample in range(samples):
        polarisation[sample] = site_mean(p)
        for index in (index for index, kept in enumerate(keep) if kept == sample):
            patterns[index] = p
        if sample == samples - 1:
            break
        before, slope = drive[sample], (drive[sample + 1] - drive[sample]) / (2 * substeps)
        for substep in range(substeps):
            at_start, half_way, at_end = (before + slope * (2 * substep + half) for half in range(3))
            descent(p, at_start, total)
            np.add(p, total, out=stage)
            descent(stage, half_way, g)
            np.add(p, g, out=stage)
            g += g
            total += g
            descent(stage, half_way, g)
            g += g
            total += g
            np.add(p, g, out=stage)
            descent(stage, at_end, g)
            total += g
            total *= 1 / 3
            p += total
    return np.moveaxis(polarisation, -1, 0), batch_of(patterns, lattices.n), batch_of(p, lattices.n)
