"""Names, shapes, units and meanings of a transition bundle's tensors."""

from __future__ import annotations

from dichroic.bundle import Signature, TensorSpec, TransitionSection
from dichroic.bundle.transition_section import FIRST_HOP_OUTCOMES, STATE_INPUTS

# Intermediate results of one run stay below this: some dozen matrices from site to site for each member.
_ACTIVATION_BYTES = 64 << 20
_MATRICES, _MOST_ROWS = 24, 4096


def signatures(section: TransitionSection) -> dict[str, Signature]:
    """Of both graphs, by name."""
    members, sites = section.members, section.sites + 1
    meaning = "rate of the hop to each neighbour, in the order given"
    each = (_spec("member_rates", (members, 3), ("member", "neighbour"), "1/s", meaning, low=0.0),)
    over = "over the members"
    told = (
        _spec("rates_mean", (3,), ("neighbour",), "1/s", f"mean {over} of the rate of the hop to each neighbour, in the order given", low=0.0),
        _spec("rates_sd", (3,), ("neighbour",), "1/s", f"its standard deviation {over}", low=0.0),
        _share("first_hop_mean", (FIRST_HOP_OUTCOMES,), ("outcome",), f"mean {over}: no hop within the dwell, or the first one to each neighbour"),
        _share("first_hop_sd", (FIRST_HOP_OUTCOMES,), ("outcome",), f"its standard deviation {over}"),
        _share("occupancy_mean", (sites,), ("site",), f"mean {over}: where the atom is at the end of the dwell; the last: elsewhere"),
        _share("occupancy_sd", (sites,), ("site",), f"its standard deviation {over}"),
    )
    room = max(1, min(_MOST_ROWS, _ACTIVATION_BYTES // (8 * _MATRICES * members * sites**2)))
    return {
        name: Signature(graph=f"{name}.onnx", inputs=_state(section, name), outputs=outputs, max_batch=most)
        for name, outputs, most in (("rates", each, _MOST_ROWS), ("predict", told, room))
    }


def _state(section: TransitionSection, signature: str) -> tuple[TensorSpec, ...]:
    atom = "relative to the atom; x right, y up"
    told: dict[str, tuple[tuple[str, ...], str, str, float | None, float | None]] = {
        "beam_xy_angstrom": (("axis",), "Å", f"where the beam stands, {atom}", None, None),
        "neighbours_xy_angstrom": (("neighbour", "axis"), "Å", f"where its three neighbours are, {atom}, in any order", None, None),
        "dwell_s": ((), "s", "how long the beam stands there", 0.0, section.dwell_s.high),
        "current_na": ((), "nA", "of the beam", section.current_na.low, section.current_na.high),
        "voltage_kv": ((), "kV", "of the beam", section.voltage_kv.low, section.voltage_kv.high),
    }
    return tuple(
        _spec(name, shape, told[name][0], told[name][1], told[name][2], low=told[name][3], high=told[name][4])
        for name, shape in STATE_INPUTS[signature].items()
    )


def _share(name: str, shape: tuple[int, ...], axes: tuple[str, ...], meaning: str) -> TensorSpec:
    return _spec(name, shape, axes, "1", meaning, low=0.0, high=1.0)


def _spec(
    name: str, shape: tuple[int, ...], axes: tuple[str, ...], unit: str, meaning: str, *, low: float | None = None, high: float | None = None
) -> TensorSpec:
    return TensorSpec(
        name=name, dtype="float64", shape=("n", *shape), axes=("state", *axes), unit=unit, meaning=meaning, range_low=low, range_high=high
    )
