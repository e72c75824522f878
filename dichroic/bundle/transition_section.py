"""The transition room's part of the manifest, and what it demands of the graphs' signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dichroic.bundle.section import Section
from dichroic.bundle.tensors import Signature, TensorSpec
from dichroic.honeycomb import MOST_SHELLS, surroundings

Positive = Annotated[float, Field(gt=0)]
Element = Annotated[int, Field(ge=1, le=118)]
# Of the room's graphs: shapes of a row.
STATE_INPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "rates": {"beam_xy_angstrom": (2,), "neighbours_xy_angstrom": (3, 2), "current_na": (), "voltage_kv": ()},
    "predict": {"beam_xy_angstrom": (2,), "neighbours_xy_angstrom": (3, 2), "dwell_s": (), "current_na": (), "voltage_kv": ()},
}
# Stay, and each neighbour.
FIRST_HOP_OUTCOMES = 4


class TrainedRange(Section):
    """From the least to the greatest value that stood in the training data, in the unit that the field's name says."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class TransitionSection(Section):
    """The transition room's own facts. Lengths in Å, times in s, rates in 1/s; outcome 0 is to stay, 1 to 3 a neighbour in the request's order.

    Attributes:
        lattice: the only one so far: every atom has three neighbours; sites around are numbered as dichroic.honeycomb does.
        host: atomic number of the lattice's atoms.
        dopant: atomic number of the atom that hops.
        bond_length_angstrom: from an atom to its neighbours.
        model: "equivariant": every rotation and reflection permutes the rates exactly; "canonical": in a frame in which the neighbour next to the
            beam lies on +x, exactly so for rotations alone.
        likelihood: what the outcomes of training were: the first hop within the dwell, or where the atom was at its end.
        spread: what tells how sure the rates are: members trained on bootstrap samples, or a student that learned their spread.
        members: M, how many rates the graph `rates` gives for each hop.
        shells: hops from the origin to the last sites of `occupancy`.
        beam_radius_angstrom: the farthest that the beam stood from the atom in training.
        dwell_s: in training.
        current_na: in training.
        voltage_kv: in training.
        neighbour_distance_angstrom: of the atom's neighbours that a state may have; others are mistakes of unit, or no lattice.
    """

    lattice: Literal["graphene"]
    host: Element
    dopant: Element
    bond_length_angstrom: Positive
    model: Literal["equivariant", "canonical"]
    likelihood: Literal["end_of_dwell", "first_hop"]
    spread: Literal["ensemble", "student"]
    members: Annotated[int, Field(ge=2, le=1024)]
    shells: Annotated[int, Field(ge=2, le=MOST_SHELLS)]
    beam_radius_angstrom: Positive
    dwell_s: TrainedRange
    current_na: TrainedRange
    voltage_kv: TrainedRange
    neighbour_distance_angstrom: TrainedRange

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.host == self.dopant:
            raise ValueError(f"host and dopant are both {self.host}; the atom that hops is another than the lattice's")
        near, far = self.neighbour_distance_angstrom.low, self.neighbour_distance_angstrom.high
        if not 0 < near <= self.bond_length_angstrom <= far:
            raise ValueError(f"neighbour_distance_angstrom is {near:g} to {far:g}; the bond length {self.bond_length_angstrom:g} lies in it")
        for name, trained in (("dwell_s", self.dwell_s), ("current_na", self.current_na), ("voltage_kv", self.voltage_kv)):
            if trained.low < 0 or trained.high <= 0:
                raise ValueError(f"{name} is {trained.low:g} to {trained.high:g}; it is positive")
        return self

    @property
    def sites(self) -> int:
        """S, how many sites around the atom `occupancy` tells of; one more value stands for everywhere else."""
        return len(surroundings(self.shells))

    def check_signatures(self, signatures: Mapping[str, Signature]) -> None:
        """Compares what this section says with the tensors that the graphs take and give.

        Raises:
            ValueError: they disagree; names the signature and the tensor.
        """
        if missing := sorted(STATE_INPUTS.keys() - signatures.keys()):
            raise ValueError(f"a bundle of kind 'transition' lacks the signatures {missing}")
        outcomes, sites = (FIRST_HOP_OUTCOMES,), (self.sites + 1,)
        told: dict[str, dict[str, tuple[int, ...]]] = {
            "rates": {"member_rates": (self.members, 3)},
            "predict": {
                "rates_mean": (3,),
                "rates_sd": (3,),
                "first_hop_mean": outcomes,
                "first_hop_sd": outcomes,
                "occupancy_mean": sites,
                "occupancy_sd": sites,
            },
        }
        for name, outputs in told.items():
            _check(f"signatures.{name}: input", signatures[name].inputs, STATE_INPUTS[name])
            _check(f"signatures.{name}: output", signatures[name].outputs, outputs)


def _check(where: str, specs: tuple[TensorSpec, ...], wanted: Mapping[str, tuple[int, ...]]) -> None:
    if [spec.name for spec in specs] != list(wanted):
        raise ValueError(f"{where}s are {[spec.name for spec in specs]}; expected {list(wanted)}")
    for spec in specs:
        if spec.dtype != "float64" or spec.row_shape != wanted[spec.name]:
            raise ValueError(f"{where} {spec.name} is {spec.dtype}{list(spec.shape)}; expected float64{['n', *wanted[spec.name]]}")
