"""HTTP/JSON under /v1: the same capabilities as gRPC, with the same errors. BentoML mounts it beside /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import dichroic
from dichroic.errors import InvalidFieldError, ServerStartingError, UnknownRouteError
from services.server import STARTING_RETRY_S, Server
from services.transport.auth import require_admin
from services.transport.http_bodies import ErrorAnswer
from services.transport.http_calls import Bodies, answer, problem_response
from services.transport.http_frames import FrameRoutes
from services.transport.http_latent import LatentRoutes
from services.transport.http_mechanism import MechanismRoutes
from services.transport.http_transition import TransitionRoutes
from services.transport.json_models import ModelDetails, ModelList, ModelNames, in_full, line, name_of
from services.transport.metrics import metrics_page

ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorAnswer, "description": "What went wrong, what was expected, what to do."}}


class HttpApp:
    """The FastAPI application. It exists before the server does: until `open`, every route answers 503 SERVER_STARTING."""

    def __init__(self) -> None:
        self._server: Server | None = None
        # No interactive pages: they would fetch scripts from elsewhere, and a microscope's network has no elsewhere.
        self.app = FastAPI(title="Dichroic", version=dichroic.__version__, docs_url=None, redoc_url=None)
        self._add_routes()

    def open(self, server: Server) -> None:
        """From here on routes reach the server."""
        self._server = server

    def _add_routes(self) -> None:
        bodies = Bodies()
        latent = APIRouter(prefix="/v1/models/{name}", responses=ERRORS, tags=["latent"])
        LatentRoutes(self._answer, bodies).add_to(latent)
        FrameRoutes(self._answer, bodies).add_to(latent)
        mechanism = APIRouter(prefix="/v1/models/{name}", responses=ERRORS, tags=["mechanism"])
        sessions = APIRouter(prefix="/v1/sessions/{session_id}", responses=ERRORS, tags=["mechanism"])
        MechanismRoutes(self._answer, bodies).add_to(mechanism, sessions)
        transition = APIRouter(prefix="/v1/models/{name}", responses=ERRORS, tags=["transition"])
        TransitionRoutes(self._answer, bodies).add_to(transition)
        models = APIRouter(prefix="/v1/models", responses=ERRORS, tags=["models"])
        models.add_api_route("", self.list_models, methods=["GET"], response_model=ModelList)
        models.add_api_route("/{name}", self.get_model, methods=["GET"], response_model=ModelDetails)
        models.add_api_route("/{name}/load", self.load_model, methods=["POST"], response_model=ModelNames)
        models.add_api_route("/{name}/unload", self.unload_model, methods=["POST"], response_model=ModelNames)
        self.app.add_api_route("/", self.front_page, methods=["GET"], include_in_schema=False)
        self.app.add_api_route("/metrics", metrics_page, methods=["GET"], include_in_schema=False)
        for router in (latent, mechanism, sessions, transition, models):
            self.app.include_router(router)
        self.app.add_exception_handler(RequestValidationError, _bad_query)
        self.app.add_exception_handler(HTTPException, _no_route)

    async def front_page(self) -> dict[str, str]:
        """Where to look; no page that would fetch anything from elsewhere."""
        return {
            "service": "dichroic",
            "version": dichroic.__version__,
            "models": "/v1/models",
            "openapi": "/openapi.json",
            "ready": "/readyz",
            "metrics": "/metrics",
        }

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


async def _bad_query(_: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("request",), "msg": str(error)}
    return problem_response(InvalidFieldError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", field=str(first["loc"][-1])))


async def _no_route(request: Request, error: Exception) -> Response:
    status_code = error.status_code if isinstance(error, HTTPException) else 500
    what = "takes another HTTP method" if status_code == 405 else "is not there"
    return problem_response(UnknownRouteError(f"{request.method} {request.url.path[:200]}: the route {what}; /openapi.json lists all."), status_code)
