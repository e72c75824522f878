"""What surrounds every HTTP route: size limit, parsing off the event loop, time, count, disconnects, and errors as JSON."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from dichroic.errors import CancelledError, DichroicError, InvalidFieldError, MessageTooLargeError
from services.server import Server
from services.transport import metrics
from services.transport.errors import http_status, json_body, named

BodyT = TypeVar("BodyT", bound=BaseModel)
JSON = "application/json"


async def answer(server: Server, method: str, model_name: str, work: Callable[[], Awaitable[object]]) -> Response:
    """Runs a route's work and turns what comes, or what goes wrong, into JSON."""
    started = time.perf_counter()
    status = "OK"
    try:
        server.check_open()
        found = await work()
        # Large answers take a while to write out; other callers must not wait for that.
        return Response(await asyncio.to_thread(to_json, found), media_type=JSON)
    except Exception as error:
        problem = named(error)
        status = problem.status
        return problem_response(problem)
    finally:
        known = model_name if server.repository.default_version(model_name) is not None else ""
        metrics.count("http", method, known, status, time.perf_counter() - started)


def problem_response(problem: DichroicError) -> Response:
    """A named error as an HTTP answer, with Retry-After (whole seconds) where waiting helps."""
    headers = {} if problem.retry_delay_s is None else {"Retry-After": str(max(1, math.ceil(problem.retry_delay_s)))}
    return Response(to_json(json_body(problem)), status_code=http_status(problem), media_type=JSON, headers=headers)


async def body_of(request: Request, kind: type[BodyT], limit_bytes: int) -> BodyT:
    """The request's body, parsed on a thread.

    Raises:
        MessageTooLargeError: more than `limit_bytes`.
        InvalidFieldError: not JSON, a field unknown, missing or out of range.
    """
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit_bytes:
            raise MessageTooLargeError(f"The body is larger than {limit_bytes} bytes, the most this server receives. Send fewer rows at once.")
    try:
        return await asyncio.to_thread(kind.model_validate_json, bytes(data))
    except ValidationError as error:
        raise _invalid(error) from error


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
