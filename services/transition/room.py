"""The transition room's capabilities: from a state to where the dopant goes, and from an image to the next step."""

from __future__ import annotations

import asyncio

import numpy as np

from dichroic.bundle import TransitionSection
from dichroic.honeycomb import surroundings
from services.engine.lanes import Lanes, late
from services.engine.model import Identity, ServingModel
from services.engine.repository import Repository
from services.transition.answers import NextStep, Predicted
from services.transition.inputs import Given, beyond, checked, distances_of
from services.transition.observation import local_state
from services.transition.planning import Planned, plan
from services.transition.scenes import Asked, Options, Scene, asked, of_the_wire
from services.transition.table import ActionTable
from services.transition.tables import Key, Tables


class TransitionRoom:
    """The transition capability over a repository.

    In every method `model_name` is the bundle's name, `model_version` ≥ 1 or 0 for the highest that serves, `deadline` in the event loop's time,
    seconds, and the errors are those that TransitionService's comment in the proto lists.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lanes = Lanes("transition")
        self._tables = Tables()

    @property
    def tables(self) -> int:
        """How many action tables are kept."""
        return len(self._tables)

    async def close(self) -> None:
        """After the last request: ends the threads."""
        await self._tables.close()
        self._lanes.close()

    async def predict_transitions(self, model_name: str, model_version: int, given: Given, deadline: float) -> Predicted:
        """Rates, the first hop, and where the dopant is when the dwell ends.

        Args:
            model_name: see the class.
            model_version: see the class.
            given: n states, or n places for the beam beside a dopant among atoms.
            deadline: see the class.
        """
        with self._repository.lease_with(TransitionSection, model_name, model_version) as (model, section):
            states = checked(model, section, given)
            told = await model.run("predict", states.inputs, deadline)
            sites = surroundings(section.shells).positions(states.inputs["neighbours_xy_angstrom"])
            state = states.state
            return Predicted(
                model.identity,
                told["rates_mean"],
                told["rates_sd"],
                told["first_hop_mean"],
                told["first_hop_sd"],
                told["occupancy_mean"],
                told["occupancy_sd"],
                sites,
                states.outside,
                None if state is None else np.array([state.dopant], np.int64),
                None if state is None else state.atoms,
            )

    async def plan(self, model_name: str, model_version: int, scene: Scene, options: Options, deadline: float) -> NextStep:
        """The next step for one image.

        Args:
            model_name: see the class.
            model_version: see the class.
            scene: its atoms, and the goals.
            options: how to get there.
            deadline: see the class; not the one by which the dopant is to arrive.
        """
        with self._repository.lease_with(TransitionSection, model_name, model_version) as (model, section):
            try:
                async with asyncio.timeout_at(deadline):
                    wanted = await self._lanes.run(deadline, asked, section, scene, options)
                    table = await self._tables.get(_key(model, wanted), model, section, deadline)
                    return await self._lanes.run(deadline, _planned, model.identity, section, scene, wanted, table)
            except TimeoutError as error:
                raise late() from error


def _key(model: ServingModel, wanted: Asked) -> Key:
    return Key(model.identity.digest, wanted.current_na, wanted.voltage_kv, wanted.image_s)


def _planned(identity: Identity, section: TransitionSection, scene: Scene, wanted: Asked, table: ActionTable) -> NextStep:
    with of_the_wire(section):
        found = plan(
            scene.atoms_xy_angstrom,
            scene.atomic_numbers,
            scene.goals_xy_angstrom,
            table,
            wanted.wish,
            dopant_number=section.dopant,
            host_number=section.host,
            distances=distances_of(section),
        )
    return NextStep(
        identity,
        found.arrived,
        found.dopant,
        found.goal,
        found.beam_xy,
        found.beam_from_dopant,
        found.dwell_s,
        found.path,
        found.expected_s,
        found.success_probability,
        found.lost_probability,
        found.value_s,
        found.lost_s,
        found.assignment,
        found.all_expected_s,
        found.all_success_probability,
        _outside(section, scene, wanted, found),
        found.assumptions,
    )


def _outside(section: TransitionSection, scene: Scene, wanted: Asked, found: Planned) -> bool:
    context = ((wanted.current_na, section.current_na), (wanted.voltage_kv, section.voltage_kv))
    if any(beyond(np.array([value]), trained).any() for value, trained in context):
        return True
    if found.arrived:
        return False
    state = local_state(scene.atoms_xy_angstrom, found.dopant, distances_of(section))
    return bool((scene.atomic_numbers[state.atoms] != section.host).any())
