"""HTTP/JSON under /v1: the same capabilities as gRPC, with the same errors. BentoML mounts it beside /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import dichroic
from dichroic.errors import InvalidFieldError, ServerStartingError, UnknownRouteError
from dichroic.wire import NDArray
from services.latent.answers import Identity
from services.server import STARTING_RETRY_S, Server
from services.transport.auth import require_admin
from services.transport.http_bodies import DecodeAnswer, DecodeBody, EncodeAnswer, ErrorAnswer, ImagesBody, ReconstructAnswer
from services.transport.http_calls import Bodies, answer, problem_response, unless_gone
from services.transport.json_arrays import read_array, write_array
from services.transport.json_models import ModelDetails, ModelList, ModelNames, in_full, line, name_of
from services.transport.metrics import metrics_page

LATENTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px")
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorAnswer, "description": "What went wrong, what was expected, what to do."}}


class HttpApp:
    """The FastAPI application. It exists before the server does: until `open`, every route answers 503 SERVER_STARTING."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._bodies = Bodies()
        # No interactive pages: they would fetch scripts from elsewhere, and a microscope's network has no elsewhere.
        self.app = FastAPI(title="Dichroic", version=dichroic.__version__, docs_url=None, redoc_url=None)
        self._add_routes()

    def open(self, server: Server) -> None:
        """From here on routes reach the server."""
        self._server = server

    def _add_routes(self) -> None:
        latent = APIRouter(prefix="/v1/models/{name}", responses=ERRORS, tags=["latent"])
        latent.add_api_route("/encode", self.encode, methods=["POST"], response_model=EncodeAnswer, openapi_extra=_takes(ImagesBody))
        latent.add_api_route("/decode", self.decode, methods=["POST"], response_model=DecodeAnswer, openapi_extra=_takes(DecodeBody))
        latent.add_api_route("/reconstruct", self.reconstruct, methods=["POST"], response_model=ReconstructAnswer, openapi_extra=_takes(ImagesBody))
        models = APIRouter(prefix="/v1/models", responses=ERRORS, tags=["models"])
        models.add_api_route("", self.list_models, methods=["GET"], response_model=ModelList)
        models.add_api_route("/{name}", self.get_model, methods=["GET"], response_model=ModelDetails)
        models.add_api_route("/{name}/load", self.load_model, methods=["POST"], response_model=ModelNames)
        models.add_api_route("/{name}/unload", self.unload_model, methods=["POST"], response_model=ModelNames)
        self.app.add_api_route("/metrics", metrics_page, methods=["GET"], include_in_schema=False)
        self.app.include_router(latent)
        self.app.include_router(models)
        self.app.add_exception_handler(RequestValidationError, _bad_query)
        self.app.add_exception_handler(HTTPException, _no_route)

    async def encode(self, name: str, request: Request) -> Response:
        """Images to pose and content."""

        async def work(server: Server) -> object:
            async with self._bodies.received(request, ImagesBody, server) as body:
                images = await asyncio.to_thread(read_array, body.images, field="images")
                found = await unless_gone(request, server.latent.encode(name, body.version, images, server.deadline(body.timeout_s)))
                return _echo(body) | await asyncio.to_thread(_written, found, body.arrays)

        return await self._answer("Encode", name, work)

    async def decode(self, name: str, request: Request) -> Response:
        """Content and pose to images."""

        async def work(server: Server) -> object:
            async with self._bodies.received(request, DecodeBody, server) as body:
                latents = await asyncio.to_thread(_latents, body)
                found = await unless_gone(request, server.latent.decode(name, body.version, latents, server.deadline(body.timeout_s)))
                return await asyncio.to_thread(_written, found, body.arrays)

        return await self._answer("Decode", name, work)

    async def reconstruct(self, name: str, request: Request) -> Response:
        """Images to themselves by way of the latents, with each one's error."""

        async def work(server: Server) -> object:
            async with self._bodies.received(request, ImagesBody, server) as body:
                images = await asyncio.to_thread(read_array, body.images, field="images")
                found = await unless_gone(request, server.latent.reconstruct(name, body.version, images, server.deadline(body.timeout_s)))
                return _echo(body) | await asyncio.to_thread(_written, found, body.arrays)

        return await self._answer("Reconstruct", name, work)

    async def list_models(self) -> Response:
        """Every version the server knows."""

        async def work(server: Server) -> object:
            return ModelList(models=[line(entry, server.repository) for entry in server.repository.entries()])

        return await self._answer("ListModels", "", work)

    async def get_model(self, name: str, version: int = 0) -> Response:
        """One version in full."""

        async def work(server: Server) -> object:
            return in_full(server.repository.find(name, version), server.repository, server.settings)

        return await self._answer("GetModel", name, work)

    async def load_model(self, name: str, request: Request, version: int = 0) -> Response:
        """Loads a version and swaps it in. Needs the admin role."""

        async def work(server: Server) -> object:
            require_admin(server.settings, request.headers.get("authorization", ""))
            return ModelNames(models=[name_of(await server.repository.load(name, version))])

        return await self._answer("LoadModel", name, work)

    async def unload_model(self, name: str, request: Request, version: int = 0) -> Response:
        """Takes a version out of service. Needs the admin role."""

        async def work(server: Server) -> object:
            require_admin(server.settings, request.headers.get("authorization", ""))
            return ModelNames(models=[name_of(model) for model in await server.repository.unload(name, version)])

        return await self._answer("UnloadModel", name, work)

    async def _answer(self, method: str, name: str, work: Callable[[Server], Awaitable[object]]) -> Response:
        server = self._server
        if server is None:
            return problem_response(ServerStartingError("The server is loading its models.", retry_delay_s=STARTING_RETRY_S))
        return await answer(server, method, name, lambda: work(server))


def _latents(body: DecodeBody) -> dict[str, NDArray]:
    given = ((field, getattr(body, field)) for field in LATENTS)
    return {field: read_array(values, field=field) for field, values in given if values is not None}


def _echo(body: ImagesBody) -> dict[str, object]:
    return {"frame_id": body.frame_id, "acquisition_time_unix_ns": body.acquisition_time_unix_ns}


def _written(found: object, arrays: str) -> dict[str, object]:
    """An answer's dataclass as JSON: numbers as they are, arrays as asked for."""
    fields = {name: getattr(found, name) for name in found.__dataclass_fields__}  # type: ignore[attr-defined]
    plain = {name: value for name, value in fields.items() if isinstance(value, float)}
    model: Identity = fields["model"]
    rest = {name: write_array(value, packed=arrays == "base64") for name, value in fields.items() if name != "model" and name not in plain}
    return {"model": asdict(model), **rest, **plain}


def _takes(body: type[BaseModel]) -> dict[str, Any]:
    # The body is parsed by hand, off the event loop, so OpenAPI is told of it here.
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _bad_query(_: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("request",), "msg": str(error)}
    return problem_response(InvalidFieldError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", field=str(first["loc"][-1])))


async def _no_route(request: Request, error: Exception) -> Response:
    status_code = error.status_code if isinstance(error, HTTPException) else 500
    what = "takes another HTTP method" if status_code == 405 else "is not there"
    return problem_response(UnknownRouteError(f"{request.method} {request.url.path[:200]}: the route {what}; /openapi.json lists all."), status_code)
