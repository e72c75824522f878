"""Drawn transitions: a beam somewhere about a silicon atom, a dwell, and where the atom is afterwards."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream, require_option
from training.data.dune.gillespie import Dwelt, hop_during_dwell
from training.data.dune.lattice import bonds_at
from training.data.dune.rates import REFERENCE_CURRENT, REFERENCE_VOLTAGE, RateModel
from training.data.dune.streams import STREAMS

_require = partial(require_option, "Transitions")
# Parts of a stream.
_STATES, _HOPS = range(2)


def draw_transitions(
    count: int,
    *,
    rates: RateModel,
    seed: int,
    stream: str = "train",
    first_hop: bool = False,
    beam_radius: float = 3.0,
    dwell: tuple[float, float] = (0.0, 5.0),
    current_na: tuple[float, float] = (REFERENCE_CURRENT, REFERENCE_CURRENT),
    voltage_kv: tuple[float, float] = (REFERENCE_VOLTAGE, REFERENCE_VOLTAGE),
    source: str | None = None,
) -> DataSet:
    """Draws states and lets each atom hop.

    Args:
        count: transitions, >= 1.
        rates: what atoms obey.
        seed: the same seed gives the same data; a longer set begins with the shorter one.
        stream: "train", "validation" or "test": independent random streams of one seed.
        first_hop: the outcome is the neighbour the first hop led to, not where the atom is when the dwell is over.
        beam_radius: the beam is uniform in a disc about the atom, Å, > 0.
        dwell: LOW HIGH between which dwells are uniform, s, 0 <= LOW <= HIGH, HIGH > 0.
        current_na: LOW HIGH, the same of the current, nA, > 0.
        voltage_kv: LOW HIGH, the same of the voltage, kV, > 0.
        source: what the data set says it came from; its own words where none are given.

    Returns:
        `beam_xy_angstrom` (n, 2) float64 and `neighbours_xy_angstrom` (n, 3, 2) float64, Å relative to the atom, of a lattice turned at random;
        `dwell_s`, `current_na`, `voltage_kv` (n,) float64; `outcome` (n,) int64: 0 stay, 1 to 3 the neighbour in the order given, −1 elsewhere.
        `truth_hops` (n,) int64, how many hops there were.

    Raises:
        InputError: INVALID_OPTION.
    """
    _require(count >= 1, f"count is at least 1, not {count}")
    _require(stream in STREAMS, f"stream is one of {', '.join(STREAMS)}, not {stream!r}")
    _require(0 < beam_radius < math.inf, f"beam_radius is above 0 Å, not {beam_radius:g}")
    _require(0 <= dwell[0] <= dwell[1] < math.inf and dwell[1] > 0, f"dwell is a range LOW HIGH of s with 0 <= LOW <= HIGH, not {dwell}")
    for name, (low, high) in (("current_na", current_na), ("voltage_kv", voltage_kv)):
        _require(0 < low <= high < math.inf, f"{name} is a range LOW HIGH with 0 < LOW <= HIGH, not {low:g} {high:g}")
    key = STREAMS.index(stream)
    drawn = random_stream(seed, key, _STATES).random((count, 6))
    radius, angle = beam_radius * np.sqrt(drawn[:, 0]), 2 * math.pi * drawn[:, 1]
    beam = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    neighbours = bonds_at(2 * math.pi * drawn[:, 2])
    dwell_s, current, voltage = (low + (high - low) * part for (low, high), part in zip((dwell, current_na, voltage_kv), drawn[:, 3:].T, strict=True))

    def draws(turn: int) -> Array:
        return random_stream(seed, key, _HOPS, turn).random((count, 2))

    dwelt = hop_during_dwell(rates, beam, neighbours, dwell_s, np.stack([current, voltage], axis=1), draws=draws)
    arrays: dict[str, Array] = {
        "beam_xy_angstrom": beam,
        "neighbours_xy_angstrom": neighbours,
        "dwell_s": dwell_s,
        "current_na": current,
        "voltage_kv": voltage,
        "outcome": dwelt.first + 1 if first_hop else end_of_dwell_outcomes(dwelt),
        "truth_hops": dwelt.hops,
    }
    made = source or f"draw_transitions(count={count}, rates={rates!r}, seed={seed}, stream={stream!r}, first_hop={first_hop})"
    return DataSet(
        arrays, unit="1", quantity="first hop" if first_hop else "outcome at the end of the dwell", source=made, sha256=hash_arrays(arrays)
    )


def end_of_dwell_outcomes(dwelt: Dwelt) -> Array:
    """(n,) int64: 0 where the atom is where it was, 1 to 3 the neighbour it is at, −1 elsewhere."""
    far = np.abs(dwelt.steps).sum(axis=1)
    outcome: Array = np.where(far == 0, 0, np.where(far == 1, dwelt.steps.argmax(axis=1) + 1, -1))
    return outcome
