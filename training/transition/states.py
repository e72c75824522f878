"""Transitions as data: what is known of each, checked once; and how contexts are told to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

# A neighbour nearer or farther than this is none: bond lengths or nm that were sent for Å are caught here.
NEIGHBOUR_DISTANCES = (1.1, 2.0)  # Å
_NAMES = {
    "beam_xy_angstrom": (2,),
    "neighbours_xy_angstrom": (3, 2),
    "dwell_s": (),
    "current_na": (),
    "voltage_kv": (),
    "outcome": (),
}


@dataclass(frozen=True)
class Transitions:
    """A dopant atom, a beam, a dwell, and where the atom was afterwards: n of them.

    Attributes:
        beam: (n, 2) float64, Å relative to the atom.
        neighbours: (n, 3, 2) float64, Å relative to it.
        dwell: (n,) float64, s, > 0.
        context: (n, 2) float64, nA and kV, > 0.
        outcome: (n,) int64, 0 stay, 1 to 3 the neighbour in the order given, −1 elsewhere.
    """

    beam: Array
    neighbours: Array
    dwell: Array
    context: Array
    outcome: Array

    def __len__(self) -> int:
        return len(self.beam)

    def of(self, rows: Array) -> Transitions:
        """Some of them."""
        return Transitions(*(each[rows] for each in (self.beam, self.neighbours, self.dwell, self.context, self.outcome)))

    def reflected(self) -> Transitions:
        """The same in a mirror: y downwards."""
        mirror = np.array([1.0, -1.0])
        return replace(self, beam=self.beam * mirror, neighbours=self.neighbours * mirror)

    @classmethod
    def read(cls, arrays: Mapping[str, Array], *, first_hop: bool = False) -> Transitions:
        """From the arrays of a data set, by their names.

        Args:
            arrays: `beam_xy_angstrom` (n, 2), `neighbours_xy_angstrom` (n, 3, 2), `dwell_s`, `current_na`, `voltage_kv` and `outcome` (n,); others
                are not looked at.
            first_hop: outcomes are first hops, none of which leads elsewhere.

        Raises:
            InputError: MISSING_ARRAY, WRONG_SHAPE, NO_DATA, NON_FINITE, WRONG_UNITS, INVALID_DWELL, INVALID_CONTEXT or INVALID_OUTCOME.
        """
        missing = [name for name in _NAMES if name not in arrays]
        if missing:
            raise InputError("MISSING_ARRAY", f"The data has no `{'`, `'.join(missing)}`; transitions have `{'`, `'.join(_NAMES)}`.")
        count = len(arrays["outcome"]) if arrays["outcome"].ndim else 0
        if not count:
            raise InputError("NO_DATA", "There are no transitions in the data.")
        for name, row in _NAMES.items():
            if arrays[name].shape != (count, *row):
                raise InputError("WRONG_SHAPE", f"`{name}` has the shape {arrays[name].shape}; with {count} outcomes it is {(count, *row)}.")
            _refuse("NON_FINITE", ~np.isfinite(arrays[name]), f"`{name}` is not finite", "leave such transitions out")
        beam, neighbours, dwell, current, voltage = (arrays[name].astype(np.float64) for name in list(_NAMES)[:-1])
        distance = np.linalg.norm(neighbours, axis=2)
        low, high = NEIGHBOUR_DISTANCES
        _refuse(
            "WRONG_UNITS",
            (distance < low) | (distance > high),
            f"a neighbour lies {np.median(distance):.3g} Å away in the median, and not all lie {low:g} to {high:g} Å",
            "send Å, not bond lengths, nm or pixels",
        )
        _refuse("INVALID_DWELL", dwell <= 0, "`dwell_s` is not above 0", "leave out what was no dwell")
        _refuse("INVALID_CONTEXT", (current <= 0) | (voltage <= 0), "`current_na` or `voltage_kv` is not above 0", "give both in nA and kV")
        outcome = arrays["outcome"]
        known = range(4) if first_hop else range(-1, 4)
        rule = "0 stay, 1 to 3 the neighbour in the order given" + ("" if first_hop else ", −1 elsewhere")
        _refuse("INVALID_OUTCOME", ~np.isin(outcome, known), "`outcome` is none of those there are", f"they are {rule}")
        return cls(beam, neighbours, dwell, np.stack([current, voltage], axis=1), outcome.astype(np.int64))


@dataclass(frozen=True)
class Ranges:
    """What was trained on, (low, high) each: outside of it a model is asked about what it has not seen.

    Attributes:
        beam_radius_angstrom: farthest beam, Å.
        dwell_s_max: longest dwell, s.
        current_na: nA.
        voltage_kv: kV.
        neighbour_angstrom: distances of neighbours, Å.
    """

    beam_radius_angstrom: float
    dwell_s_max: float
    current_na: tuple[float, float]
    voltage_kv: tuple[float, float]
    neighbour_angstrom: tuple[float, float]

    @classmethod
    def of(cls, data: Transitions) -> Ranges:
        """Of a data set."""
        current, voltage = data.context.T
        return cls(
            float(np.linalg.norm(data.beam, axis=1).max()),
            float(data.dwell.max()),
            *((float(each.min()), float(each.max())) for each in (current, voltage, np.linalg.norm(data.neighbours, axis=2))),
        )


@dataclass(frozen=True)
class Scales:
    """How bond length (Å), the logarithm of the current (nA) and the voltage (kV) are standardised: (value − centre) · inverse, (3,) each.

    What does not vary in the data has the inverse 0: a model does not guess how it would change its answers.
    """

    centre: tuple[float, float, float]
    inverse: tuple[float, float, float]

    @classmethod
    def of(cls, data: Transitions) -> Scales:
        """Of a data set."""
        columns = (np.linalg.norm(data.neighbours, axis=2), np.log(data.context[:, 0]), data.context[:, 1])
        spread = [float(each.std()) for each in columns]
        # What differs by rounding alone does not vary: bond lengths of a turned lattice, say.
        varies = [value > 1e-6 * max(1.0, float(np.abs(each).max())) for value, each in zip(spread, columns, strict=True)]
        inverse = [1 / value if held else 0.0 for value, held in zip(spread, varies, strict=True)]
        return cls(tuple(float(each.mean()) for each in columns), tuple(inverse))  # type: ignore[arg-type]


def _refuse(reason: str, wrong: Array, what: str, remedy: str) -> None:
    """Raises InputError where any row (n, ...) is wrong, naming how many and the first."""
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    if rows.any():
        raise InputError(reason, f"In {int(rows.sum())} of {len(rows)} transitions, the first number {int(rows.argmax())}, {what}; {remedy}.")
