"""The transition room's JSON requests and answers, as OpenAPI shows them. Units and shapes are those of the proto's fields of the same name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from services.transport.http_bodies import Body, ModelName
from services.transport.json_arrays import JsonArray

Positive = Annotated[float, Field(ge=0)]


class ImageBody(Body):
    """What the requests of the transition room share."""

    frame_id: str = Field(default="", description="The caller's name for the frame, echoed.")
    acquisition_time_unix_ns: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] = Field(
        default=0, description="When the frame was taken, ns since 1970-01-01T00:00:00 UTC, echoed; 0 = unknown."
    )
    dopant_index: JsonArray | None = Field(default=None, description="(1,) int64: which atom is meant; default: the only dopant.")


class PredictTransitionsBody(ImageBody):
    """States: beams beside a dopant whose neighbours, or all atoms, are told. Lists are float64, in angstrom, s, nA, kV."""

    beam_xy_angstrom: JsonArray = Field(description="(n, 2) float64: relative to the dopant; with atoms in their frame.")
    neighbours_xy_angstrom: JsonArray | None = Field(
        default=None, description="(n, 3, 2) or (1, 3, 2) float64, relative to the dopant; or atoms_xy_angstrom."
    )
    dwell_s: JsonArray = Field(description="(n,) or (1,) float64, above 0, at most 600.")
    current_na: JsonArray | None = Field(default=None, description="(n,) or (1,) float64, above 0; default: what the model was trained at.")
    voltage_kv: JsonArray | None = Field(default=None, description="(n,) or (1,) float64, above 0; default: what the model was trained at.")
    atoms_xy_angstrom: JsonArray | None = Field(default=None, description="(m, 2) float64: all atoms of the image, in any frame.")
    atomic_numbers: JsonArray | None = Field(default=None, description="(m,) int64: of the atoms.")


class PlanBody(ImageBody):
    """One image, and where to. Lists of positions are float64, in angstrom."""

    atoms_xy_angstrom: JsonArray = Field(description="(m, 2) float64: all atoms of the image, in any frame.")
    atomic_numbers: JsonArray = Field(description="(m,) int64: of the atoms.")
    goals_xy_angstrom: JsonArray = Field(description="(g, 2) float64 in the atoms' frame, each within half a bond of an atom.")
    forbidden_index: JsonArray | None = Field(default=None, description="(k,) int64: atoms on whose sites no dopant may come.")
    current_na: Positive = Field(default=0.0, description="Beam current, nA; 0 = what the model was trained at.")
    voltage_kv: Positive = Field(default=0.0, description="Acceleration voltage, kV; 0 = what the model was trained at.")
    image_s: Positive = Field(default=0.0, description="What it takes to see where the dopant is, seconds; 0 = 2.")
    deadline_s: Positive = Field(default=0.0, description="From now until when success counts, seconds; 0 = 600. Not the deadline of this request.")
    risk_aversion: Positive = Field(default=0.0, description="Standard deviations over the model's members that an action is thought dearer by.")


class TransitionAnswer(BaseModel):
    """What every answer of the transition room carries."""

    model: ModelName
    frame_id: str
    acquisition_time_unix_ns: int


class PredictTransitionsAnswer(TransitionAnswer):
    """Of each state. Standard deviations are over the model's members."""

    rates_per_s: Any = Field(description="(n, 3) to each neighbour, in the order of the request or of neighbour_index.")
    rates_sd_per_s: Any = Field(description="(n, 3).")
    first_hop_probability: Any = Field(description="(n, 4) within the dwell: none, and to each neighbour.")
    first_hop_sd: Any = Field(description="(n, 4).")
    occupancy: Any = Field(description="(n, S + 1) where the dopant is when the dwell ends; last: elsewhere.")
    occupancy_sd: Any = Field(description="(n, S + 1).")
    sites_xy_angstrom: Any = Field(description="(n, S, 2) relative to the dopant: where each site of occupancy lies.")
    outside: Any = Field(description="(n,) true beyond what was trained, or beside a neighbour that is no atom of the lattice.")
    dopant_index: Any = Field(description="(1,) which atom the dopant is; null unless atoms were given.")
    neighbour_index: Any = Field(description="(3,) which atoms its neighbours are; null unless atoms were given.")


class PlanAnswer(TransitionAnswer):
    """The next step, and what may be expected after it. Times count from now, images included."""

    done: bool = Field(description="All goals are reached.")
    dopant_index: int = Field(description="Which dopant is moved next.")
    goal_index: int = Field(description="Whose place it is to take.")
    beam_xy_angstrom: Any = Field(description="(2,) in the atoms' frame: where to put the beam.")
    beam_from_dopant_angstrom: Any = Field(description="(2,) the same, relative to the dopant.")
    dwell_s: float
    path_index: Any = Field(description="(k,) where images will most likely show this dopant, to the goal.")
    expected_s: float | None = Field(description="Mean time of the attempts that succeed within deadline_s; null where none does.")
    success_probability: float = Field(description="Within deadline_s.")
    lost_probability: float = Field(description="That it leaves the lattice or comes where it may not, within deadline_s.")
    value_s: float = Field(description="What the policy makes least: expected time, being lost counted as lost_s.")
    lost_s: float
    assignment_index: Any = Field(description="(g, 2) which dopant goes to which goal's atom.")
    all_expected_s: float | None = Field(description="As expected_s, until all have arrived.")
    all_success_probability: float
    outside: bool = Field(description="Current or voltage beyond what was trained, or a neighbour that is no atom of the lattice.")
    assumptions: list[str]
