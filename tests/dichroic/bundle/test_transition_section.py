"""The transition room's section and the tensors it demands."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.transition_section import STATE_INPUTS, TransitionSection

SITES = 11  # of two shells, and elsewhere
FACTS: dict[str, Any] = {
    "lattice": "graphene",
    "host": 6,
    "dopant": 14,
    "bond_length_angstrom": 1.42,
    "model": "equivariant",
    "likelihood": "end_of_dwell",
    "spread": "ensemble",
    "members": 4,
    "shells": 2,
    "beam_radius_angstrom": 3.0,
    "dwell_s": {"low": 0.0, "high": 5.0},
    "current_na": {"low": 0.02, "high": 0.02},
    "voltage_kv": {"low": 60.0, "high": 60.0},
    "neighbour_distance_angstrom": {"low": 1.0, "high": 2.0},
}


def tensors(shapes: dict[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, dtype="float64", shape=("n", *shape), axes=("",) * (1 + len(shape)), unit="1", meaning=name)
        for name, shape in shapes.items()
    )


def signatures(sites: int = SITES, members: int = 4) -> dict[str, Signature]:
    predicted = {"rates": 3, "first_hop": 4, "occupancy": sites}
    told = {f"{name}_{what}": (size,) for name, size in predicted.items() for what in ("mean", "sd")}
    outputs = {"predict": told, "rates": {"member_rates": (members, 3)}}
    return {
        name: Signature(graph=f"{name}.onnx", inputs=tensors(STATE_INPUTS[name]), outputs=tensors(shapes), max_batch=64)
        for name, shapes in outputs.items()
    }


def test_what_a_bundle_tells_fits_its_section() -> None:
    section = TransitionSection.model_validate(FACTS)
    assert section.sites == SITES - 1
    section.check_signatures(signatures())


@pytest.mark.parametrize("given", [signatures(sites=SITES - 1), signatures(members=5), {"predict": signatures()["predict"]}])
def test_graphs_that_tell_something_else_are_refused(given: dict[str, Signature]) -> None:
    with pytest.raises(ValueError, match=r"signatures|lacks"):
        TransitionSection.model_validate(FACTS).check_signatures(given)


def test_inputs_in_another_order_or_dtype_are_refused() -> None:
    section, good = TransitionSection.model_validate(FACTS), signatures()
    turned = good["predict"].model_copy(update={"inputs": good["predict"].inputs[::-1]})
    with pytest.raises(ValueError, match="predict: inputs are"):
        section.check_signatures(good | {"predict": turned})
    first = good["predict"].inputs[0].model_copy(update={"dtype": "float32"})
    with pytest.raises(ValueError, match="beam_xy_angstrom is float32"):
        section.check_signatures(good | {"predict": good["predict"].model_copy(update={"inputs": (first, *good["predict"].inputs[1:])})})


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("dopant", 6, "host and dopant"),
        ("members", 1, "members"),
        ("shells", 1, "shells"),
        ("neighbour_distance_angstrom", {"low": 1.5, "high": 2.0}, "bond length"),
        ("neighbour_distance_angstrom", {"low": 2.0, "high": 1.0}, "above high"),
        ("dwell_s", {"low": -1.0, "high": 5.0}, "dwell_s"),
        ("current_na", {"low": 0.0, "high": 0.0}, "current_na"),
        ("lattice", "silicene", "lattice"),
    ],
)
def test_facts_that_cannot_be_are_refused(field: str, value: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TransitionSection.model_validate(FACTS | {field: value})
