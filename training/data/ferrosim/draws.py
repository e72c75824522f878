"""Drawn FerroSIM data: each simulation has a pattern of random fields and bonds, a field amplitude, and the loop they make together."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np

from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream, require_option
from training.data.ferrosim.integrate import simulate, stable_step
from training.data.ferrosim.lattice import uniform_lattices
from training.data.loop_scalars import asymmetry, coercive_drive, loop_area, remanence, switchable
from training.errors import InputError

STREAMS = ("train", "validation", "test")
_require = partial(require_option, "FerroSIM")
# A quarter cycle from 0 to +E and one whole cycle forget the start, then a cycle is recorded. It lasts this many of the mode's own times
# 1/(γ|a|), so that every mode is driven about as slowly: coercive fields lie a quarter to a half above the static one, as measured loops' do.
PERIOD = 200.0
# A target's name: what of the loop becomes `y`.
TARGETS = ("area", "coercive", "remanence", "switchable", "asymmetry")


def triangle(amplitude: Array, samples: int) -> Array:
    """A field along x that goes 0 → +E, and then two cycles +E → −E → +E, of which the second is to be recorded.

    Args:
        amplitude: (batch,) E > 0.
        samples: of the cycle, a multiple of 4, >= 8.

    Returns:
        (batch, samples/4 + 2 samples + 1) float64; the last cycle is its last `samples` + 1, which begin and end at +E.
    """
    phase = np.arange(samples // 4 + 2 * samples + 1) / samples
    wave = 1 - np.abs((4 * phase + 1) % 4 - 2)
    # A sample that should be exactly 0 is: remanences are read there.
    wave[np.abs(wave) < 1e-12] = 0
    field: Array = np.asarray(amplitude, dtype=np.float64)[:, None] * wave
    return field


def draw_ferrosim(
    count: int,
    *,
    mode: str = "uniaxial",
    n: int = 10,
    field_disorder: float = 0.6,
    field_offset: float = 0.3,
    bond_disorder: float = 0.5,
    amplitude: tuple[float, float] = (1.5, 2.5),
    depolarisation: float = 0.0,
    samples: int = 200,
    target: str = "area",
    seed: int,
    stream: str = "train",
) -> DataSet:
    """Draws disorder and amplitudes and simulates a loop for each. All of it is dimensionless.

    Random fields are e_i = m + σ ξ_i along x (and σ ξ'_i along y), m ~ U(±field_offset), σ ~ U(0, field_disorder) for each simulation and ξ standard
    normal for each site; random bonds are k_i ~ U(1 ± bond_disorder); amplitudes are uniform between two multiples of Ec.

    Args:
        count: simulations, >= 1.
        mode: "uniaxial", "square", "tetragonal" or "rhombohedral".
        n: sites along one side, >= 3.
        field_disorder: largest σ, units of Ec, >= 0.
        field_offset: largest |m|, units of Ec, >= 0.
        bond_disorder: 0 to 1.
        amplitude: LOW HIGH of the field, units of Ec, 0 < LOW <= HIGH.
        depolarisation: d, >= 0.
        samples: of a loop, a multiple of 4, >= 8.
        target: which figure of the loop is `y`: "area", "coercive", "remanence", "switchable" or "asymmetry".
        seed: the same seed gives the same data; a longer set begins with the shorter one.
        stream: "train", "validation" or "test": independent random streams of one seed.

    Returns:
        Mechanisms: `random_field` (count, components, n, n) float32, units of Ec, `bond` (count, n, n) float32, `amplitude` (count,) float64,
        units of Ec. `y` (count,) float64, the target. Beside them `field` and `polarisation` (count, samples + 1) float64, along x, one cycle
        from its positive end, `pattern` (count, components, n, n) float32, the local polarisation at zero field on the way down, and every
        target by name, (count,) float64; `coercive` is NaN where the loop does not switch, and so is `asymmetry` where nothing is switchable.

    Raises:
        InputError: INVALID_OPTION; NOT_SWITCHED when `y` would be NaN for a simulation.
    """
    _check(count, n, samples, target, stream)
    low, high = amplitude
    _require(0 < low <= high < math.inf, f"amplitude is a range LOW HIGH with 0 < LOW <= HIGH, not {low:g} {high:g}")
    _require(0 <= bond_disorder <= 1, f"bond_disorder lies in 0 to 1, not at {bond_disorder:g}")
    for name, value in (("field_disorder", field_disorder), ("field_offset", field_offset), ("depolarisation", depolarisation)):
        _require(0 <= value < math.inf, f"{name} is 0 or more, not {value:g}")
    lattices = uniform_lattices(mode, n, count, depolarisation=depolarisation)
    # One stream for each quantity, so that a longer set begins with the shorter one and a different size of disorder has the same pattern.
    whole, fields, bonds = (random_stream(seed, STREAMS.index(stream), part) for part in range(3))
    drawn = whole.random((count, 3))
    pattern = field_disorder * drawn[:, 0, None, None, None] * fields.standard_normal(lattices.random_field.shape)
    pattern[:, 0] += field_offset * (2 * drawn[:, 1, None, None] - 1)
    bond = 1 + bond_disorder * (2 * bonds.random((count, n, n)) - 1)
    # What is simulated is what is stored.
    pattern, bond = pattern.astype(np.float32), bond.astype(np.float32)
    height = low + (high - low) * drawn[:, 2]
    lattices = replace(lattices, bond=bond.astype(np.float64), random_field=pattern.astype(np.float64))
    field = triangle(height * lattices.landau.coercive_field, samples)
    step = PERIOD / -lattices.landau.a / samples
    substeps = math.ceil(step / float(stable_step(lattices, field).min()))
    run = simulate(lattices, field, step, substeps=substeps, keep=(samples // 4 * 6,))
    cycle, polarisation = field[:, -samples - 1 :], run.polarisation[:, -samples - 1 :, 0]
    loops = (cycle, polarisation)
    figures = {
        "area": loop_area(*loops),
        "coercive": coercive_drive(*loops, level=0.0),
        "remanence": remanence(*loops),
        "switchable": switchable(*loops),
        "asymmetry": asymmetry(*loops),
    }
    if np.isnan(figures[target]).any():
        raise InputError(
            "NOT_SWITCHED",
            f"{int(np.isnan(figures[target]).sum())} of {count} loops have no {target}: the field does not switch them. "
            "Give a higher amplitude or another target.",
        )
    arrays: dict[str, Array] = {"random_field": pattern, "bond": bond, "amplitude": height, "y": figures[target]}
    arrays |= {"field": cycle, "polarisation": polarisation, "pattern": run.patterns[:, 0].astype(np.float32), **figures}
    source = (
        f"draw_ferrosim(count={count}, mode={mode!r}, n={n}, field_disorder={field_disorder:g}, field_offset={field_offset:g}, "
        f"bond_disorder={bond_disorder:g}, amplitude=({low:g}, {high:g}), depolarisation={depolarisation:g}, samples={samples}, "
        f"target={target!r}, seed={seed}, stream={stream!r})"
    )
    return DataSet(arrays, unit="1", quantity=target, source=source, sha256=hash_arrays(arrays))


def _check(count: int, n: int, samples: int, target: str, stream: str) -> None:
    _require(count >= 1, f"count is at least 1, not {count}")
    _require(n >= 3, f"n is at least 3 sites, not {n}")
    _require(samples >= 8 and samples % 4 == 0, f"samples is a multiple of 4 and at least 8, not {samples}")
    _require(target in TARGETS, f"target is one of {', '.join(TARGETS)}, not {target!r}")
    _require(stream in STREAMS, f"stream is one of {', '.join(STREAMS)}, not {stream!r}")
