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


class RefuseWhenFull(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in the stubs only
    """One gRPC service's methods. While the queue is full, answers its calls QUEUE_FULL without taking their message out of gRPC core.

    An interceptor would do the same and cost every call a turn of the event loop.
    """

    def __init__(self, server: Server, methods: grpc.GenericRpcHandler[Any, Any]) -> None:
        self._server = server
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's own handler, or one that only refuses; None for a method that is not this service's."""
        handler = self._methods.service(handler_call_details)
        if handler is not None and self._server.budget.is_full:
            # To gRPC a single message is a stream of one: a handler of streams may answer before it reads.
            return grpc.stream_unary_rpc_method_handler(_refusing(handler_call_details.method.rsplit("/", 1)[-1]))
        return handler


class RefusingRegistrar:
    """Stands for the gRPC server in generated `add_..._to_server` functions: what is added through it refuses when the queue is full."""

    def __init__(self, server: Server, target: aio.Server) -> None:
        self._server = server
        self._target = target

    def add_generic_rpc_handlers(self, generic_rpc_handlers: tuple[grpc.GenericRpcHandler[Any, Any], ...]) -> None:
        """Adds the service's methods, wrapped."""
        self._target.add_generic_rpc_handlers(tuple(RefuseWhenFull(self._server, methods) for methods in generic_rpc_handlers))

    def add_registered_method_handlers(self, service: str, method_handlers: object) -> None:
        """Nothing: gRPC asks registered handlers first, so these would never refuse."""


def _refusing(method: str) -> Callable[[object, Context], Awaitable[bytes]]:
    async def refuse(_: object, context: Context) -> bytes:
        error = QueueFullError("The server has as much waiting as it allows itself.", retry_delay_s=RETRY_S)
        metrics.REJECTIONS.labels("", error.reason).inc()
        metrics.count("grpc", method, "", error.status, 0.0)
        code, text, trailing = abort_arguments(error)
        await context.abort(code, text, trailing)
        raise AssertionError("abort always raises")

    return refuse
