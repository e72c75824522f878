"""What surrounds every gRPC method: open or not, time, count, and errors with their details."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from dichroic.status import abort_arguments
from services.server import Server
from services.transport import metrics
from services.transport.errors import named

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class HasServer(Protocol):
    """A servicer: the wrapper needs its server."""

    server: Server


Servicer = TypeVar("Servicer", bound=HasServer)
Method = Callable[Concatenate[Servicer, Request, Context, ...], Awaitable[Response]]


def answered(method: Callable[[Servicer, Request, Context], Awaitable[Response]]) -> Callable[[Servicer, Request, Context], Awaitable[Response]]:
    """Wraps a unary method: refuses while the server is not open, counts and times it, and ends with google.rpc.Status details on an error."""

    @functools.wraps(method)
    async def wrapper(servicer: Servicer, request: Request, context: Context) -> Response:
        started = time.perf_counter()
        model_name = getattr(request, "model_name", "")

        def count(status: str) -> None:
            # Before the answer leaves, so that whoever has it finds it counted.
            metrics.count("grpc", method.__name__, known_model(servicer.server, model_name), status, time.perf_counter() - started)

        try:
            servicer.server.check_open()
            response = await method(servicer, request, context)
        except BaseException as error:
            problem = named(error)
            count(problem.status)
            code, text, trailing = abort_arguments(problem)
            await context.abort(code, text, trailing)
            raise AssertionError("abort always raises") from error
        # A call in a session names no model; its answer does.
        model_name = model_name or getattr(getattr(response, "model", None), "name", "")
        count("OK")
        return response

    return wrapper


def known_model(server: Server, model_name: str) -> str:
    """The model, if it is one that serves: a caller must not be able to make new label values."""
    return model_name if server.repository.default_version(model_name) is not None else ""


def deadline(server: Server, context: Context) -> float:
    """The call's deadline in the event loop's time."""
    return server.deadline(context.time_remaining())
