"""The transition room's answers, field for field what protos/dichroic/v1/transition.proto describes.

n: states of a request. S: sites around the dopant. Standard deviations are over the model's members.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.engine.model import Identity
from services.transition.arrays import Bool, Float64, Int64


@dataclass(frozen=True)
class Predicted:
    """Where the dopant goes from n states.

    Attributes:
        model: which bundle answered.
        rates_per_s: (n, 3) float64 1/s to each neighbour, in the order of the request, or of `neighbour_index`.
        rates_sd_per_s: (n, 3) float64.
        first_hop_probability: (n, 4) float64, stay and each neighbour, within the dwell.
        first_hop_sd: (n, 4) float64.
        occupancy: (n, S + 1) float64 at the end of the dwell, after any number of hops; last: elsewhere.
        occupancy_sd: (n, S + 1) float64.
        sites_xy_angstrom: (n, S, 2) float64 from the dopant.
        outside: (n,) bool, beyond what was trained: beam radius, dwell, current or voltage, or a neighbour that is no atom of the lattice.
        dopant_index: (1,) int64 among the atoms; None where none were given.
        neighbour_index: (3,) int64 likewise.
    """

    model: Identity
    rates_per_s: Float64
    rates_sd_per_s: Float64
    first_hop_probability: Float64
    first_hop_sd: Float64
    occupancy: Float64
    occupancy_sd: Float64
    sites_xy_angstrom: Float64
    outside: Bool
    dopant_index: Int64 | None
    neighbour_index: Int64 | None


@dataclass(frozen=True)
class NextStep:
    """What to do next, and what may be expected after it: planning.Planned in the wire's names.

    Attributes:
        model: which bundle answered.
        done: nothing is left to do.
        dopant_index: the atom that is moved next.
        goal_index: the atom whose place it is to take.
        beam_xy_angstrom: (2,) float64 in the atoms' frame.
        beam_from_dopant_angstrom: (2,) float64.
        dwell_s: s.
        path_index: (k,) int64 atoms, start to goal.
        expected_s: mean time of the attempts that succeed within the deadline; NaN where none does.
        success_probability: within the deadline.
        lost_probability: likewise, that it leaves the lattice or comes where it may not.
        value_s: what the policy makes least.
        lost_s: what it counts being lost as.
        assignment_index: (g, 2) int64 dopant and goal.
        all_expected_s: as expected_s, until all have arrived.
        all_success_probability: likewise.
        outside: current or voltage beyond what was trained, or a neighbour of the dopant that is no atom of the lattice.
        assumptions: what the plan takes for granted.
    """

    model: Identity
    done: bool
    dopant_index: int
    goal_index: int
    beam_xy_angstrom: Float64
    beam_from_dopant_angstrom: Float64
    dwell_s: float
    path_index: Int64
    expected_s: float
    success_probability: float
    lost_probability: float
    value_s: float
    lost_s: float
    assignment_index: Int64
    all_expected_s: float
    all_success_probability: float
    outside: bool
    assumptions: tuple[str, ...]
