"""A bare grpc.aio server: takes bytes, answers bytes of a fixed length. What any Python gRPC service costs at the least.

`python -m benchmarks.echo PORT ANSWER_BYTES`
"""

from __future__ import annotations

import asyncio
import sys

import grpc

METHOD = "/echo.Echo/Echo"
LIMIT = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", -1)]


async def serve(port: int, answer_bytes: int) -> None:
    """Serves until it is killed."""
    answer = bytes(answer_bytes)

    async def echo(_: bytes, __: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
        return answer

    server = grpc.aio.server(options=LIMIT)
    handler = grpc.method_handlers_generic_handler("echo.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
