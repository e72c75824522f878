"""The mechanism room's routes: JSON to numpy, call the room, numpy to JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from dichroic.bundle.mechanism_section import INPUT_DTYPES
from services.mechanism import Given
from services.server import Server
from services.transport.http_calls import Answering, Bodies, takes, unless_gone, written
from services.transport.http_mechanism_bodies import (
    CreateSessionAnswer,
    CreateSessionBody,
    DeleteSessionAnswer,
    ObserveAnswer,
    ObserveBody,
    PredictAnswer,
    PredictBody,
    PredictInSessionBody,
    SessionBody,
    SuggestAnswer,
    SuggestBody,
    SuggestInSessionBody,
)
from services.transport.json_arrays import ListedArray, PackedArray, read_array

# What a list of numbers is by its axes, where the mechanism's kind is not known: a category, coordinates or parameters, an image.
BY_AXES = {1: "int64", 2: "float64"}
Numbers = PackedArray | ListedArray | list[Any]
BodyT = TypeVar("BodyT", bound=SessionBody)


class MechanismRoutes:
    """POST /v1/models/{name}/… and /v1/sessions/{id}/…: one route for each method of MechanismService, with a model or in a session."""

    def __init__(self, answering: Answering, bodies: Bodies) -> None:
        self._answering = answering
        self._bodies = bodies

    def add_to(self, models: APIRouter, sessions: APIRouter) -> None:
        """Adds the routes under a model's and under a session's path, as OpenAPI shows them."""
        routes: tuple[tuple[APIRouter, str, Callable[..., Any], type[BaseModel], type[BaseModel]], ...] = (
            (models, "/predict", self.predict, PredictBody, PredictAnswer),
            (models, "/suggest", self.suggest, SuggestBody, SuggestAnswer),
            (models, "/sessions", self.create_session, CreateSessionBody, CreateSessionAnswer),
            (sessions, "/predict", self.predict_in_session, PredictInSessionBody, PredictAnswer),
            (sessions, "/suggest", self.suggest_in_session, SuggestInSessionBody, SuggestAnswer),
            (sessions, "/observe", self.observe, ObserveBody, ObserveAnswer),
        )
        for router, path, route, body, answer in routes:
            router.add_api_route(path, route, methods=["POST"], response_model=answer, openapi_extra=takes(body))
        sessions.add_api_route("", self.delete_session, methods=["DELETE"], response_model=DeleteSessionAnswer)

    async def predict(self, name: str, request: Request) -> Response:
        """Mechanisms to f, part by part, with variances."""

        async def room(server: Server, body: PredictBody) -> object:
            given = await _given(body.inputs, body.units, kinds_of(server, name, body.version))
            return await _predicted(server, body, given, model_name=name, model_version=body.version)

        return await self._answer("Predict", name, request, PredictBody, room)

    async def predict_in_session(self, session_id: str, request: Request) -> Response:
        """Mechanisms to f, as far as the session has observed."""

        async def room(server: Server, body: PredictInSessionBody) -> object:
            kinds = await kinds_in(server, session_id, body.inputs)
            return await _predicted(server, body, await _given(body.inputs, body.units, kinds), session_id=session_id)

        return await self._answer("Predict", "", request, PredictInSessionBody, room)

    async def suggest(self, name: str, request: Request) -> Response:
        """Where to measure next, as the model says."""

        async def room(server: Server, body: SuggestBody) -> object:
            kinds = kinds_of(server, name, body.version)
            return await _suggested(server, body, kinds, model_name=name, model_version=body.version)

        return await self._answer("Suggest", name, request, SuggestBody, room)

    async def suggest_in_session(self, session_id: str, request: Request) -> Response:
        """Where to measure next, as far as the session has observed."""

        async def room(server: Server, body: SuggestInSessionBody) -> object:
            return await _suggested(server, body, await kinds_in(server, session_id, body.candidates), session_id=session_id)

        return await self._answer("Suggest", "", request, SuggestInSessionBody, room)

    async def create_session(self, name: str, request: Request) -> Response:
        """A copy of a model's posterior that observes."""

        async def room(server: Server, body: CreateSessionBody) -> object:
            return await server.mechanism.create_session(
                name,
                body.version,
                server.deadline(body.timeout_s),
                candidates=await _candidates(body, kinds_of(server, name, body.version)),
                expires_after_s=body.expires_after_s,
                seed=body.seed,
                request_id=body.request_id,
            )

        return await self._answer("CreateSession", name, request, CreateSessionBody, room)

    async def observe(self, session_id: str, request: Request) -> Response:
        """New measurements into a session's posterior; answered once they are safe on the disk."""

        async def room(server: Server, body: ObserveBody) -> object:
            index = body.candidate_index
            kinds = await kinds_in(server, session_id, body.inputs)
            return await server.mechanism.observe(
                session_id,
                server.deadline(body.timeout_s),
                given=await _given(body.inputs, body.units, kinds) if body.inputs else None,
                candidate_index=None if index is None else read_array(index, field="candidate_index", listed="int64"),
                y=read_array(body.y, field="y", listed="float64"),
                y_unit=body.y_unit,
                request_id=body.request_id,
                expected_revision=body.expected_revision,
            )

        return await self._answer("Observe", "", request, ObserveBody, room)

    async def delete_session(self, session_id: str) -> Response:
        """A session that is no more."""

        async def work(server: Server) -> object:
            return written(await server.mechanism.delete_session(session_id, server.deadline(None)), "lists")

        return await self._answering("DeleteSession", "", work)

    async def _answer(
        self, method: str, name: str, request: Request, kind: type[BodyT], room: Callable[[Server, BodyT], Awaitable[object]]
    ) -> Response:
        async def work(server: Server) -> object:
            received: AbstractAsyncContextManager[BodyT] = self._bodies.received(request, kind, server)
            async with received as body:
                found = await unless_gone(request, room(server, body))
                return _echo(body) | await asyncio.to_thread(written, found, body.arrays)

        return await self._answering(method, name, work)


async def _predicted(
    server: Server, body: PredictInSessionBody, given: Given, *, model_name: str = "", model_version: int = 0, session_id: str = ""
) -> object:
    return await server.mechanism.predict(
        model_name,
        model_version,
        given,
        server.deadline(body.timeout_s),
        session_id=session_id,
        include_noise=body.include_noise,
        include_covariance=body.include_covariance,
    )


async def _suggested(
    server: Server, body: SuggestInSessionBody, kinds: Mapping[str, str], *, model_name: str = "", model_version: int = 0, session_id: str = ""
) -> object:
    return await server.mechanism.suggest(
        server.deadline(body.timeout_s),
        model_name=model_name,
        model_version=model_version,
        session_id=session_id,
        candidates=await _candidates(body, kinds),
        strategy=body.strategy,
        part=body.part,
        count=body.count,
        kappa=body.kappa,
        goal=body.goal,
        incumbent=None if body.incumbent is None else np.array([body.incumbent]),
    )


async def _candidates(body: SuggestInSessionBody | CreateSessionBody, kinds: Mapping[str, str]) -> Given | None:
    return await _given(body.candidates, body.units, kinds, "candidates.") if body.candidates else None


async def _given(inputs: Mapping[str, Numbers], units: Mapping[str, str], kinds: Mapping[str, str], prefix: str = "") -> Given:
    """Mechanisms, read off the event loop."""

    def read() -> Given:
        listed = {name: _listed(values, kinds.get(name, "")) for name, values in inputs.items()}
        return Given({name: read_array(values, field=f"{prefix}{name}", listed=listed[name]) for name, values in inputs.items()}, dict(units))

    return await asyncio.to_thread(read)


def _listed(values: Numbers, kind: str) -> str:
    """What a list of numbers is: what the mechanism's kind takes, or by its axes."""
    if kind:
        return INPUT_DTYPES[kind][-1]
    axes = 0
    inner: object = values
    while isinstance(inner, list):
        axes += 1
        inner = inner[0] if inner else None
    return BY_AXES.get(axes, "float32")


def kinds_of(server: Server, name: str, version: int) -> dict[str, str]:
    """The kind of each mechanism of a model; of a model of another kind none.

    Raises:
        UnknownModelError, UnknownVersionError, ModelNotReadyError: there is no such model, or it does not serve.
    """
    section = server.repository.find(name, version).manifest.mechanism
    return {} if section is None else {mechanism.name: mechanism.kind for mechanism in section.mechanisms}


async def kinds_in(server: Server, session_id: str, inputs: Mapping[str, Numbers] | None) -> dict[str, str]:
    """The kind of each mechanism of a session's model. Where no list is to be read the room is not asked: other arrays say their dtype.

    Raises:
        UnknownSessionError, SessionExpiredError, SessionModelChangedError, ModelNotReadyError: as the room's methods would.
    """
    if not any(isinstance(values, list) for values in (inputs or {}).values()):
        return {}
    section = await server.mechanism.section_of(session_id)
    return {mechanism.name: mechanism.kind for mechanism in section.mechanisms}


def _echo(body: SessionBody) -> dict[str, object]:
    return {name: getattr(body, name) for name in ("frame_id", "acquisition_time_unix_ns") if hasattr(body, name)}
