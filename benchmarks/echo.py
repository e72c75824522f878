"""A bare grpc.aio server: takes bytes, answers bytes of a fixed length, call by call or over a stream. What a Python gRPC service costs at the least.

`python -m benchmarks.echo PORT ANSWER_BYTES`
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc

METHOD, STREAM = "/echo.Echo/Echo", "/echo.Echo/Stream"
LIMIT = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", -1)]


async def serve(port: int, answer_bytes: int) -> None:
    """Serves until it is killed."""
    answer = bytes(answer_bytes)

    async def echo(_: bytes, __: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
        return answer

    async def stream(messages: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:  # type: ignore[type-arg]
        async for _message in messages:
            yield answer

    server = grpc.aio.server(options=LIMIT)
    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo), "Stream": grpc.stream_stream_rpc_method_handler(stream)}
    handler = grpc.method_handlers_generic_handler("echo.Echo", methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
