"""The latent room's routes: JSON to numpy, call the room, numpy to JSON, or a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from dichroic.errors import InvalidFieldError
from dichroic.wire import NDArray
from services.latent import Grid, Manifold
from services.latent.inputs import ENCODED, LATENTS, Given
from services.latent.manifold import GRID
from services.server import Server
from services.transport.http_bodies import (
    ClassifyAnswer,
    DataBody,
    DecodeAnswer,
    DecodeBody,
    EncodeAnswer,
    EncodeBody,
    ManifoldAnswer,
    ManifoldBody,
    ReconstructAnswer,
    RegressAnswer,
)
from services.transport.http_calls import Answering, Bodies, takes, unless_gone, written
from services.transport.json_arrays import read_array
from services.transport.png import manifold_png

PNG = "image/png"
# What a list of numbers is, where it is not float32.
LISTED = {"class_index": "int64"}

Room = Callable[[str, int, Given, float], Awaitable[object]]


class LatentRoutes:
    """POST /v1/models/{name}/…, one route for each method of LatentService."""

    def __init__(self, answering: Answering, bodies: Bodies) -> None:
        self._answering = answering
        self._bodies = bodies

    def add_to(self, router: APIRouter) -> None:
        """Adds the routes, as OpenAPI shows them."""
        routes: tuple[tuple[str, Callable[..., Any], type[BaseModel], type[BaseModel]], ...] = (
            ("/encode", self.encode, EncodeBody, EncodeAnswer),
            ("/decode", self.decode, DecodeBody, DecodeAnswer),
            ("/reconstruct", self.reconstruct, EncodeBody, ReconstructAnswer),
            ("/classify", self.classify, DataBody, ClassifyAnswer),
            ("/regress", self.regress, DataBody, RegressAnswer),
        )
        for path, route, body, answer in routes:
            router.add_api_route(path, route, methods=["POST"], response_model=answer, openapi_extra=takes(body))
        picture: dict[int | str, dict[str, Any]] = {200: {"content": {PNG: {}}, "description": "The grid; with Accept: image/png as one picture."}}
        router.add_api_route(
            "/decode_manifold",
            self.decode_manifold,
            methods=["POST"],
            response_model=ManifoldAnswer,
            responses=picture,
            openapi_extra=takes(ManifoldBody),
        )

    async def encode(self, name: str, request: Request) -> Response:
        """Images or spectra to pose, content and class."""
        return await self._of_data("Encode", name, request, EncodeBody, lambda server: server.latent.encode)

    async def reconstruct(self, name: str, request: Request) -> Response:
        """Images or spectra to themselves by way of the latents, with each one's error."""
        return await self._of_data("Reconstruct", name, request, EncodeBody, lambda server: server.latent.reconstruct)

    async def classify(self, name: str, request: Request) -> Response:
        """Which class each image or spectrum shows."""
        return await self._of_data("Classify", name, request, DataBody, lambda server: server.latent.classify)

    async def regress(self, name: str, request: Request) -> Response:
        """The targets of each image or spectrum."""
        return await self._of_data("Regress", name, request, DataBody, lambda server: server.latent.regress)

    async def decode(self, name: str, request: Request) -> Response:
        """Pose, content and class to images or spectra."""

        async def work(server: Server) -> object:
            async with self._bodies.received(request, DecodeBody, server) as body:
                given = await asyncio.to_thread(_arrays, body, LATENTS)
                found = await unless_gone(request, server.latent.decode(name, body.version, given, server.deadline(body.timeout_s)))
                return await asyncio.to_thread(written, found, body.arrays)

        return await self._answering("Decode", name, work)

    async def decode_manifold(self, name: str, request: Request) -> Response:
        """A grid of decoded images over two content latents; with `Accept: image/png` as one picture."""

        async def work(server: Server) -> object:
            async with self._bodies.received(request, ManifoldBody, server) as body:
                fixed = await asyncio.to_thread(_arrays, body, LATENTS)
                grid = Grid(**{field: getattr(body, field) for field in GRID}, fixed=fixed)
                found = await unless_gone(request, server.latent.decode_manifold(name, body.version, grid, server.deadline(body.timeout_s)))
                if isinstance(found, Manifold) and _wants_picture(request):
                    return Response(await asyncio.to_thread(manifold_png, found), media_type=PNG)
                return await asyncio.to_thread(written, found, body.arrays)

        return await self._answering("DecodeManifold", name, work)

    async def _of_data(self, method: str, name: str, request: Request, kind: type[DataBody], room: Callable[[Server], Room]) -> Response:
        async def work(server: Server) -> object:
            async with self._bodies.received(request, kind, server) as body:
                if body.images is None and body.spectra is None:
                    raise InvalidFieldError("images: Field required (or spectra). /openapi.json describes the body.", field="images")
                given = await asyncio.to_thread(_arrays, body, ENCODED)
                found = await unless_gone(request, room(server)(name, body.version, given, server.deadline(body.timeout_s)))
                echo = {"frame_id": body.frame_id, "acquisition_time_unix_ns": body.acquisition_time_unix_ns}
                return echo | await asyncio.to_thread(written, found, body.arrays)

        return await self._answering(method, name, work)


def _arrays(body: BaseModel, names: tuple[str, ...]) -> dict[str, NDArray]:
    given = ((field, getattr(body, field, None)) for field in names)
    return {field: read_array(values, field=field, listed=LISTED.get(field, "float32")) for field, values in given if values is not None}


def _wants_picture(request: Request) -> bool:
    wanted = {kind.partition(";")[0].strip().lower() for kind in request.headers.get("accept", "").split(",")}
    return PNG in wanted and "application/json" not in wanted
