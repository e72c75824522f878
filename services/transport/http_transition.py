"""The transition room's routes: JSON to numpy, call the room, numpy to JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from dichroic.wire import NDArray
from services.server import Server
from services.transition.inputs import STATE_MAY, STATE_NEEDS, Given
from services.transition.scenes import OPTIONS, SCENE_MAY, SCENE_NEEDS, Options, Scene
from services.transport.http_calls import Answering, Bodies, takes, unless_gone, written
from services.transport.http_transition_bodies import ImageBody, PlanAnswer, PlanBody, PredictTransitionsAnswer, PredictTransitionsBody
from services.transport.json_arrays import read_array

# What a list of whole numbers is; all others are float64.
LISTED = {"atomic_numbers": "int64", "dopant_index": "int64", "forbidden_index": "int64"}
BodyT = TypeVar("BodyT", bound=ImageBody)


class TransitionRoutes:
    """POST /v1/models/{name}/transitions and /plan."""

    def __init__(self, answering: Answering, bodies: Bodies) -> None:
        self._answering = answering
        self._bodies = bodies

    def add_to(self, models: APIRouter) -> None:
        """Adds the routes under a model's path, as OpenAPI shows them."""
        for path, route, body, answer in (
            ("/transitions", self.predict_transitions, PredictTransitionsBody, PredictTransitionsAnswer),
            ("/plan", self.plan, PlanBody, PlanAnswer),
        ):
            models.add_api_route(path, route, methods=["POST"], response_model=answer, openapi_extra=takes(body))

    async def predict_transitions(self, name: str, request: Request) -> Response:
        """Where the dopant goes: rates, the first hop, and where it is when the dwell ends."""

        async def room(server: Server, body: PredictTransitionsBody) -> object:
            given = Given(**await asyncio.to_thread(_arrays, body, (*STATE_NEEDS, *STATE_MAY)))
            return await server.transition.predict_transitions(name, body.version, given, server.deadline(body.timeout_s))

        return await self._answer("PredictTransitions", name, request, PredictTransitionsBody, room)

    async def plan(self, name: str, request: Request) -> Response:
        """What to do next to bring a dopant to a goal soonest."""

        async def room(server: Server, body: PlanBody) -> object:
            scene = Scene(**await asyncio.to_thread(_arrays, body, (*SCENE_NEEDS, *SCENE_MAY)))
            options = Options(**{each: getattr(body, each) for each in OPTIONS})
            return await server.transition.plan(name, body.version, scene, options, server.deadline(body.timeout_s))

        return await self._answer("Plan", name, request, PlanBody, room)

    async def _answer(
        self, method: str, name: str, request: Request, kind: type[BodyT], room: Callable[[Server, BodyT], Awaitable[object]]
    ) -> Response:
        async def work(server: Server) -> object:
            async with self._bodies.received(request, kind, server) as body:
                found = await unless_gone(request, room(server, body))
                echo = {"frame_id": body.frame_id, "acquisition_time_unix_ns": body.acquisition_time_unix_ns}
                return echo | await asyncio.to_thread(written, found, body.arrays)

        return await self._answering(method, name, work)


def _arrays(body: BaseModel, names: tuple[str, ...]) -> dict[str, NDArray]:
    given = ((field, getattr(body, field)) for field in names)
    return {field: read_array(values, field=field, listed=LISTED.get(field, "float64")) for field, values in given if values is not None}
