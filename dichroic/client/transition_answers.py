"""What the client hands back of the transition room: named numpy arrays with their units."""

from __future__ import annotations

from dataclasses import dataclass

from dichroic.client.answers import ModelIdentity
from dichroic.wire import NDArray


@dataclass(frozen=True, eq=False)
class Transitions:
    """Where the dopant goes from n states, in their order. All arrays are float64 unless said; standard deviations are over the model's members.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        rates_per_s: (n, 3), 1/s, mean rate of hopping to each neighbour, in the order given or of neighbour_index.
        rates_sd_per_s: (n, 3), 1/s.
        first_hop_probability: (n, 4): that nothing happens within the dwell, and that the first hop is to each neighbour.
        first_hop_sd: (n, 4).
        occupancy: (n, S + 1): where the dopant is when the dwell ends, after any number of hops; last: elsewhere.
        occupancy_sd: (n, S + 1).
        sites_xy_angstrom: (n, S, 2), angstrom, relative to the dopant: where each site of `occupancy` lies, own site first.
        outside: (n,) bool, whether beam radius, dwell, current or voltage lie beyond what was trained, or a neighbour is no atom of the lattice.
        dopant_index: which atom the dopant is; None unless atoms were given.
        neighbour_index: (3,) int64, which atoms its neighbours are; None unless atoms were given.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    rates_per_s: NDArray
    rates_sd_per_s: NDArray
    first_hop_probability: NDArray
    first_hop_sd: NDArray
    occupancy: NDArray
    occupancy_sd: NDArray
    sites_xy_angstrom: NDArray
    outside: NDArray
    dopant_index: int | None = None
    neighbour_index: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """What to do next, and what may be expected after it. Indices are of the atoms given, from 0; times count from now, images included.

    Attributes:
        model: which model answered.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        done: all goals are reached; then the dwell is 0 and the beam on the dopant.
        dopant_index: which dopant is moved next.
        goal_index: whose place it is to take.
        beam_xy_angstrom: (2,) float64, angstrom, in the atoms' frame: where to put the beam.
        beam_from_dopant_angstrom: (2,) float64, angstrom: the same, relative to the dopant.
        dwell_s: how long to leave it there, seconds.
        path_index: (k,) int64, where images will most likely show this dopant one after another, from where it is to the goal.
        expected_s: mean time until an image shows it at its goal, of the attempts that succeed within deadline_s, seconds; NaN where none does.
        success_probability: that this happens within deadline_s.
        lost_probability: that within deadline_s it leaves the lattice or comes where it may not.
        value_s: what the policy makes least, seconds: expected time without a deadline, with risk_aversion, being lost counted as lost_s.
        lost_s: see value_s.
        assignment_index: (g, 2) int64, which dopant goes to which goal's atom, those that have arrived first, the others in the order they are moved.
        all_expected_s: as expected_s, until all have arrived.
        all_success_probability: as success_probability, of all.
        outside: whether current or voltage lie beyond what was trained, or a neighbour of the dopant is no atom of the lattice.
        assumptions: what the plan takes for granted, a sentence each.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    done: bool
    dopant_index: int
    goal_index: int
    beam_xy_angstrom: NDArray
    beam_from_dopant_angstrom: NDArray
    dwell_s: float
    path_index: NDArray
    expected_s: float
    success_probability: float
    lost_probability: float
    value_s: float
    lost_s: float
    assignment_index: NDArray
    all_expected_s: float
    all_success_probability: float
    outside: bool
    assumptions: tuple[str, ...]
