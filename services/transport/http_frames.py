"""The routes of whole images: JSON to numpy, call the room, numpy to JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from dichroic.errors import UnsupportedCapabilityError
from services.latent import Asked, Wanted
from services.server import Server
from services.transport.http_calls import Answering, Bodies, takes, unless_gone, written
from services.transport.http_frame_bodies import EncodeFrameAnswer, EncodeFrameBody, FrameBody, ScaleSpectrumAnswer, ScaleSpectrumBody
from services.transport.json_arrays import JsonArray, read_array

BodyT = TypeVar("BodyT", bound=FrameBody)
ELSEWHERE = "StreamEncode is a gRPC call: frames and answers go over one stream both ways. Over HTTP, send each frame to encode_frame."


class FrameRoutes:
    """POST /v1/models/{name}/encode_frame and /scale_spectrum, and /stream_encode, which says where streams are."""

    def __init__(self, answering: Answering, bodies: Bodies) -> None:
        self._answering = answering
        self._bodies = bodies

    def add_to(self, models: APIRouter) -> None:
        """Adds the routes under a model's path, as OpenAPI shows them."""
        for path, route, body, answer in (
            ("/encode_frame", self.encode_frame, EncodeFrameBody, EncodeFrameAnswer),
            ("/scale_spectrum", self.scale_spectrum, ScaleSpectrumBody, ScaleSpectrumAnswer),
        ):
            models.add_api_route(path, route, methods=["POST"], response_model=answer, openapi_extra=takes(body))
        only: dict[int | str, dict[str, Any]] = {501: {"description": ELSEWHERE}}
        models.add_api_route("/stream_encode", self.stream_encode, methods=["POST"], status_code=501, responses=only)

    async def encode_frame(self, name: str, request: Request) -> Response:
        """A whole image to latent maps, one for each window length."""

        async def room(server: Server, body: EncodeFrameBody) -> object:
            frame, wanted = await asyncio.to_thread(_read, body, body.centres_px, stride_px=body.stride_px or 0.0, explain=body.explain)
            return await server.latent.encode_frame(name, body.version, frame, wanted, server.deadline(body.timeout_s))

        return await self._answer("EncodeFrame", name, request, EncodeFrameBody, room)

    async def scale_spectrum(self, name: str, request: Request) -> Response:
        """Points of a whole image through windows of many lengths."""

        async def room(server: Server, body: ScaleSpectrumBody) -> object:
            frame, wanted = await asyncio.to_thread(_read, body, body.centres_px)
            asked = Asked(wanted, None if body.labels is None else read_array(body.labels, field="labels", listed="int64"))
            return await server.latent.scale_spectrum(name, body.version, frame, asked, server.deadline(body.timeout_s))

        return await self._answer("ScaleSpectrum", name, request, ScaleSpectrumBody, room)

    async def stream_encode(self, name: str) -> Response:
        """Streams of frames are a gRPC call; this answers 501 and says so."""

        async def work(server: Server) -> object:
            server.repository.find(name, 0)
            raise UnsupportedCapabilityError(ELSEWHERE)

        return await self._answering("StreamEncode", name, work)

    async def _answer(
        self, method: str, name: str, request: Request, kind: type[BodyT], room: Callable[[Server, BodyT], Awaitable[object]]
    ) -> Response:
        async def work(server: Server) -> object:
            async with self._bodies.received(request, kind, server) as body:
                found = await unless_gone(request, room(server, body))
                echo = {"frame_id": body.frame_id, "acquisition_time_unix_ns": body.acquisition_time_unix_ns}
                return echo | await asyncio.to_thread(written, found, body.arrays)

        return await self._answering(method, name, work)


def _read(body: FrameBody, centres: JsonArray | None, **more: Any) -> tuple[Any, Wanted]:
    wanted = Wanted(
        pixel_size_nm=body.pixel_size_nm or 0.0,
        window_px=_lengths(body.window_px),
        window_nm=_lengths(body.window_nm),
        centres_px=None if centres is None else read_array(centres, field="centres_px", listed="float64"),
        stage=body.stage,
        **more,
    )
    return read_array(body.frame, field="frame", null_is_nan=True), wanted


def _lengths(given: float | list[float]) -> tuple[float, ...]:
    return tuple(given) if isinstance(given, list) else (given,)
