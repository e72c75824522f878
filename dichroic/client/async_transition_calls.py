"""The asynchronous client's calls of the transition room."""

from __future__ import annotations

from dichroic.client.awaiting import AwaitedChannel
from dichroic.client.conversion import Classes, Numbers
from dichroic.client.messages import Progress
from dichroic.client.requests import Echo
from dichroic.client.transition_answers import Plan, Transitions
from dichroic.client.transition_requests import (
    check_plan_size,
    checked_atoms,
    checked_states,
    plan_of,
    plan_request,
    predict_transitions_call,
)


class AsyncTransitionCalls(AwaitedChannel):
    """What AsyncClient asks of the transition room. Arguments, answers and errors are those of TransitionCalls, method by method."""

    async def predict_transitions(
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
        """Where the dopant goes if the beam goes there; see Client.predict_transitions."""
        given = {
            "beam_xy_angstrom": beam_xy_angstrom,
            "neighbours_xy_angstrom": neighbours_xy_angstrom,
            "dwell_s": dwell_s,
            "current_na": current_na,
            "voltage_kv": voltage_kv,
        }
        atoms = checked_atoms(atoms_xy_angstrom, atomic_numbers, dopant_index)
        echo = Echo(frame_id, acquisition_time_unix_ns)
        return await self._run(
            predict_transitions_call(model_name, checked_states(given), atoms, model_version=version, echo=echo), timeout_s, progress
        )

    async def plan(
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
        """What to do next to bring a dopant to a goal soonest; see Client.plan."""
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
        return plan_of(await self._once(self._stubs().transition.Plan, request, self._deadline(timeout_s)))
