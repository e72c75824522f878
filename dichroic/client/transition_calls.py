"""The blocking client's calls of the transition room."""

from __future__ import annotations

from dichroic.client.conversion import Classes, Numbers
from dichroic.client.messages import Progress
from dichroic.client.requests import Echo
from dichroic.client.sending import BlockingChannel
from dichroic.client.transition_answers import Plan, Transitions
from dichroic.client.transition_requests import (
    check_plan_size,
    checked_atoms,
    checked_states,
    plan_of,
    plan_request,
    predict_transitions_call,
)


class TransitionCalls(BlockingChannel):
    """What Client asks of the transition room. Lengths in angstrom, times in s, currents in nA, voltages in kV; lists and float32 are converted."""

    def predict_transitions(
        self,
        model_name: str,
        beam_xy_angstrom: Numbers,
        neighbours_xy_angstrom: Numbers | None = None,
        *,
        dwell_s: Numbers,
        current_na: Numbers | None = None,
        voltage_kv: Numbers | None = None,
        atoms_xy_angstrom: Numbers | None = None,
        atomic_numbers: Classes | None = None,
        dopant_index: int | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Transitions:
        """Where the dopant goes if the beam goes there: rates, the first hop, and where it is when the dwell ends.

        Args:
            model_name: such as "dune-prior".
            beam_xy_angstrom: (n, 2), or (2,): relative to the dopant; with atoms in their frame.
            neighbours_xy_angstrom: (n, 3, 2), or (3, 2) for every row: the dopant's neighbours relative to it; or atoms_xy_angstrom.
            dwell_s: (n,), or one number for every row: how long the beam stays, above 0.
            current_na: (n,), or one number for every row; None: what the model was trained at, where that is one value.
            voltage_kv: as current_na.
            atoms_xy_angstrom: (m, 2): all atoms that an image shows; the server finds the dopant and its neighbours.
            atomic_numbers: (m,) of the atoms.
            dopant_index: which atom is meant; None: the only dopant.
            version: >= 1; 0 is the highest that is ready.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.

        Raises:
            InvalidTensorError: a shape, NaN or infinity, a dwell, current or voltage out of range; `row` says which.
            InvalidFieldError: both neighbours and atoms, or neither; a current or voltage that the model needs; a dopant_index that is none.
            BondLengthError: lengths are not angstrom.
            BeamOutOfRangeError: the beam is farther from the dopant than anything that could be meant.
            NoDopantError, SeveralDopantsError, EdgeSiteError, NotThreeFoldError: of the dopant among the atoms.
            UnknownModelError, UnknownVersionError: the server has no such model, or version.
            UnsupportedCapabilityError: the model is of another kind.
            ModelChangedError: the version was replaced during the call.
        """
        given = {
            "beam_xy_angstrom": beam_xy_angstrom,
            "neighbours_xy_angstrom": neighbours_xy_angstrom,
            "dwell_s": dwell_s,
            "current_na": current_na,
            "voltage_kv": voltage_kv,
        }
        atoms = checked_atoms(atoms_xy_angstrom, atomic_numbers, dopant_index)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        return self._run(predict_transitions_call(model_name, checked_states(given), atoms, model_version=version, echo=echo), timeout_s, progress)

    def plan(
        self,
        model_name: str,
        atoms_xy_angstrom: Numbers,
        atomic_numbers: Classes,
        goals_xy_angstrom: Numbers,
        *,
        forbidden_index: Classes | None = None,
        dopant_index: int | None = None,
        current_na: float = 0.0,
        voltage_kv: float = 0.0,
        image_s: float = 0.0,
        deadline_s: float = 0.0,
        risk_aversion: float = 0.0,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
    ) -> Plan:
        """What to do next to bring a dopant to a goal soonest. Nothing is remembered: ask anew with every image.

        Args:
            model_name: such as "dune-prior".
            atoms_xy_angstrom: (m, 2): all atoms that the image shows, in any frame.
            atomic_numbers: (m,) of the atoms.
            goals_xy_angstrom: (g, 2), or (2,) for one: each within half a bond of an atom. Several are shared out among as many dopants.
            forbidden_index: atoms on whose sites no dopant may come.
            dopant_index: which dopant goes to the one goal; None: the only one, or with several goals whichever suit.
            current_na: 0 is what the model was trained at, where that is one value.
            voltage_kv: as current_na.
            image_s: what it takes to see where the dopant is; 0 is 2 s.
            deadline_s: from now until when success counts; 0 is 600 s. Not the deadline of this call.
            risk_aversion: standard deviations over the model's members by which an action is thought dearer; 0: the mean alone.
            version: >= 1; 0 is the highest that is ready.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit. The first plan for a model takes some seconds.

        Raises:
            InvalidTensorError: a shape, NaN or infinity; `row` says which.
            InvalidFieldError: a number or index out of range, two goals at one atom, more goals than dopants.
            BondLengthError: lengths are not angstrom.
            NoDopantError, SeveralDopantsError, EdgeSiteError, NotThreeFoldError: of the dopant.
            GoalOffLatticeError: no atom lies where a goal is.
            GoalUnreachableError: no way leads there.
            ForbiddenSiteError: the dopant stands, or is to end, where none may be.
            UnknownModelError, UnknownVersionError: the server has no such model, or version.
            UnsupportedCapabilityError: the model is of another kind.
        """
        options = {
            "current_na": current_na,
            "voltage_kv": voltage_kv,
            "image_s": image_s,
            "deadline_s": deadline_s,
            "risk_aversion": risk_aversion,
        }
        atoms = checked_atoms(atoms_xy_angstrom, atomic_numbers, dopant_index)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        request = plan_request(model_name, atoms, goals_xy_angstrom, forbidden_index, options, model_version=version, echo=echo)
        check_plan_size(request, self._known.get((model_name, version)))
        return plan_of(self._once(self._stubs().transition.Plan, request, self._deadline(timeout_s)))
