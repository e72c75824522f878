"""Refusing before unpacking: under overload a message that will be refused must not be copied into Python and parsed first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from dichroic.errors import QueueFullError
from dichroic.status import abort_arguments
from services.server import Server
from services.transport import metrics
from services.transport.calls import Context

# By the time the caller is back, some of what waits has run.
RETRY_S = 0.05


class RefuseWhenFull(aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """While the queue is full, answers the rooms' calls QUEUE_FULL without taking their message out of gRPC core."""

    def __init__(self, server: Server, services: tuple[str, ...]) -> None:
        self._server = server
        self._prefixes = tuple(f"/{name}/" for name in services)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Lets the call pass, or replaces its handler by one that only refuses."""
        if self._server.budget.is_full and handler_call_details.method.startswith(self._prefixes):
            # To gRPC a single message is a stream of one: a handler of streams may answer before it reads.
            return grpc.stream_unary_rpc_method_handler(_refusing(handler_call_details.method.rsplit("/", 1)[-1]))
        return await continuation(handler_call_details)


def _refusing(method: str) -> Callable[[object, Context], Awaitable[bytes]]:
    async def refuse(_: object, context: Context) -> bytes:
        error = QueueFullError("The server has as much waiting as it allows itself.", retry_delay_s=RETRY_S)
        metrics.REJECTIONS.labels("", error.reason).inc()
        metrics.count("grpc", method, "", error.status, 0.0)
        code, text, trailing = abort_arguments(error)
        await context.abort(code, text, trailing)
        raise AssertionError("abort always raises")

    return refuse
