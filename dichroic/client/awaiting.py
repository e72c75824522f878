"""How the asynchronous client sends: what BlockingChannel does, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from dichroic.client import models as read
from dichroic.client.answers import ModelInfo
from dichroic.client.channel import CLOSED, Connection, Stubs
from dichroic.client.messages import IN_FLIGHT, MESSAGE_BYTES, Messages, Progress
from dichroic.client.requests import Answer, BatchCall, Request, Response, check_name
from dichroic.client.retry import Attempts, Deadline, RetryPolicy
from dichroic.client.unanswered import Unanswered
from dichroic.errors import CancelledError, MessageTooLargeError
from dichroic.status import from_rpc_error
from dichroic.v1 import models_pb2

Plain = TypeVar("Plain", bound=Message)
Reply = TypeVar("Reply")


class AwaitedChannel:
    """One connection of one event loop, opened with the first call and shared between tasks."""

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls_root_certificates: bytes | None = None,
        retry_for_s: float = 30.0,
        message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        """Nothing is sent yet. Arguments and errors as Client's."""
        self._connection = Connection(address, token, tls_root_certificates)
        self._policy = RetryPolicy(retry_for_s)
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._message_bytes = message_bytes
        self._channel: grpc.aio.Channel | None = None
        self._opened: Stubs | None = None
        self._closed = False
        self._known: dict[tuple[str, int], ModelInfo] = {}
        # The model and version of each session that this client made, or has had an answer of.
        self._sessions: dict[str, tuple[str, int]] = {}
        self._unanswered = Unanswered()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Hangs up; calls under way are cancelled. Closing twice is allowed."""
        self._closed = True
        channel, self._channel, self._opened = self._channel, None, None
        if channel is not None:
            await channel.close(None)

    async def _run(self, call: BatchCall[Request, Response, Answer], timeout_s: float | None, progress: Progress | None) -> Answer:
        return await self._run_until(call, self._deadline(timeout_s), progress)

    async def _run_until(self, call: BatchCall[Request, Response, Answer], deadline: Deadline, progress: Progress | None) -> Answer:
        key = (call.model_name, call.model_version)
        info = self._known.get(key) or await self._info(*key, deadline)
        messages = Messages(call, info, self._message_bytes, progress)
        method = call.method(self._stubs())
        try:
            # Alone, because its answer pins the version for the others.
            messages.add(await self._once(method, messages.request(0), deadline))
            await self._rest(method, messages, deadline)
        except MessageTooLargeError:
            self._known.pop(key, None)  # the server was restarted with a lower limit
            raise
        return messages.answer()

    async def _rest(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], messages: Messages[Request, Response, Answer], deadline: Deadline
    ) -> None:
        unsent = iter(range(1, len(messages)))
        on_their_way: deque[asyncio.Task[Response]] = deque()
        try:
            while True:
                while len(on_their_way) < IN_FLIGHT and (index := next(unsent, None)) is not None:
                    on_their_way.append(asyncio.create_task(self._once(method, messages.request(index), deadline)))
                if not on_their_way:
                    return
                messages.add(await on_their_way[0])
                on_their_way.popleft()
        finally:
            for sent in on_their_way:
                sent.cancel()
            await asyncio.gather(*on_their_way, return_exceptions=True)

    async def _once(self, method: grpc.UnaryUnaryMultiCallable[Plain, Reply], request: Plain, deadline: Deadline) -> Reply:
        # The generated stub's methods are awaited when its channel is asynchronous; its type says so only of another class.
        send = cast("grpc.aio.UnaryUnaryMultiCallable[Plain, Reply]", method)
        attempts = Attempts(self._policy, deadline)
        while True:
            self._check_open()
            try:
                return await send(request, timeout=deadline.remaining_s(), metadata=self._connection.metadata)
            except asyncio.CancelledError as error:
                # close() ends calls this way too, and then it is not this task that was cancelled.
                task = asyncio.current_task()
                if not self._closed or (task is not None and task.cancelling()):
                    raise
                raise CancelledError(CLOSED) from error
            except grpc.aio.AioRpcError as error:
                await self._sleep(attempts.delay_after(from_rpc_error(error)))

    async def _info(self, model_name: str, version: int, deadline: Deadline) -> ModelInfo:
        check_name(model_name, version)
        request = models_pb2.GetModelRequest(model_name=model_name, model_version=version)
        info = read.info_of(await self._once(self._stubs().models.GetModel, request, deadline))
        self._known[model_name, version] = info
        return info

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(timeout_s, self._policy.clock)

    def _check_open(self) -> None:
        if self._closed:
            raise CancelledError(CLOSED)

    def _stubs(self) -> Stubs:
        self._check_open()
        if self._channel is None or self._opened is None:
            self._channel = self._connection.open_async()
            self._opened = Stubs.on(self._channel)
        return self._opened
