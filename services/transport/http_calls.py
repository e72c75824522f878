"""What surrounds every HTTP route: limits, parsing off the event loop, time, count, disconnects, and errors as JSON."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

import numpy as np
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from dichroic.errors import CancelledError, DichroicError, InvalidFieldError, MessageTooLargeError, QueueFullError
from services.engine.model import Identity
from services.server import Server
from services.transport import metrics
from services.transport.calls import known_model
from services.transport.errors import http_status, json_body, named
from services.transport.json_arrays import MAX_LISTED, write_array

BodyT = TypeVar("BodyT", bound=BaseModel)
JSON = "application/json"
Work = Callable[[Server], Awaitable[object]]
# Runs a route's work: (method's name, model's name or nothing, work).
Answering = Callable[[str, str, Work], Awaitable[Response]]
BODIES_RETRY_S = 0.5


class Bodies:
    """The bytes of all bodies being received or parsed, so that many connections together stay bounded too."""

    def __init__(self) -> None:
        self.size_bytes = 0

    @asynccontextmanager
    async def received(self, request: Request, kind: type[BodyT], server: Server) -> AsyncIterator[BodyT]:
        """The request's body, parsed on a thread; counted until the block ends.

        Raises:
            MessageTooLargeError: more than the server receives, or too many listed numbers.
            QueueFullError: too much is being received.
            CancelledError: the caller hung up.
            ServerStoppingError: the body was still coming when the drain was over.
            InvalidFieldError: not JSON, a field unknown, missing or out of range.
        """
        data = bytearray()
        try:
            async with server.receiving():
                async for part in request.stream():
                    data += part
                    self.size_bytes += len(part)
                    self._check(len(data), server)
            if data.count(b",") > MAX_LISTED:
                message = f"The body lists more than {MAX_LISTED} numbers; send them packed: {{dtype, shape, data_base64}}, or over gRPC."
                raise MessageTooLargeError(message)
            yield await asyncio.to_thread(kind.model_validate_json, bytes(data))
        except ClientDisconnect as error:
            raise CancelledError("The caller hung up before the body had arrived.") from error
        except ValidationError as error:
            raise _invalid(error) from error
        finally:
            self.size_bytes -= len(data)

    def _check(self, size_bytes: int, server: Server) -> None:
        limit_bytes = server.settings.max_message_bytes
        if size_bytes > limit_bytes:
            raise MessageTooLargeError(f"The body is larger than {limit_bytes} bytes, the most this server receives. Send fewer rows at once.")
        if self.size_bytes > max(limit_bytes, server.settings.queue_max_bytes):
            raise QueueFullError("The server is receiving as much as it allows itself.", retry_delay_s=BODIES_RETRY_S)


async def answer(server: Server, method: str, model_name: str, work: Callable[[], Awaitable[object]]) -> Response:
    """Runs a route's work and turns what comes, unless it is an answer already, or what goes wrong, into JSON."""
    started = time.perf_counter()
    status = "OK"
    try:
        server.check_open()
        found = await work()
        if isinstance(found, Response):
            return found
        # A call in a session names no model; its answer does.
        model_name = model_name or _answering_model(found)
        # Large answers take a while to write out; other callers must not wait for that.
        return Response(await asyncio.to_thread(to_json, found, inf_nan_mode="null"), media_type=JSON)
    except Exception as error:
        problem = named(error)
        status = problem.status
        return problem_response(problem)
    finally:
        metrics.count("http", method, known_model(server, model_name), status, time.perf_counter() - started)


def _answering_model(found: object) -> str:
    model = found.get("model") if isinstance(found, dict) else None
    return str(model["name"]) if isinstance(model, dict) else ""


def problem_response(problem: DichroicError, status_code: int | None = None) -> Response:
    """A named error as an HTTP answer, with Retry-After (whole seconds) where waiting helps."""
    headers = {} if problem.retry_delay_s is None else {"Retry-After": str(max(1, math.ceil(problem.retry_delay_s)))}
    return Response(to_json(json_body(problem)), status_code=status_code or http_status(problem), media_type=JSON, headers=headers)


def _invalid(error: ValidationError) -> InvalidFieldError:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    # A union reports every branch; what was meant is told by the branch that got furthest.
    first = max(problems, key=lambda problem: len(problem["loc"]))
    field = str(first["loc"][0]) if first["loc"] else ""
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return InvalidFieldError(f"{where}: {first['msg']}. /openapi.json describes the body.", field=field)


async def unless_gone(request: Request, work: Awaitable[object]) -> object:
    """Awaits `work`, and cancels it when the caller hangs up first. The body must have been read.

    Raises:
        CancelledError: the caller hung up.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CancelledError("The caller hung up.")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


def written(found: object, arrays: str) -> dict[str, object]:
    """An answer's dataclass as JSON: numbers, names and truths as they are, arrays as asked for, None as null."""
    answer: dict[str, object] = {}
    for name, value in vars(found).items():
        if isinstance(value, Identity):
            answer[name] = asdict(value)
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            answer[name] = [written(each, arrays) for each in value]
        else:
            answer[name] = write_array(value, packed=arrays == "base64") if isinstance(value, np.ndarray) else value
    return answer


def takes(body: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of a body, which is parsed by hand, off the event loop."""
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
