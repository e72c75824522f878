"""How the blocking client sends: messages, retries, deadlines, and hanging up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

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


class BlockingChannel:
    """One connection, opened with the first call and shared between threads."""

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls_root_certificates: bytes | None = None,
        retry_for_s: float = 30.0,
        message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        """Nothing is sent yet.

        Args:
            address: "host:port".
            token: the admin's, for load_model and unload_model. Without TLS it travels in the clear.
            tls_root_certificates: PEM of the authorities to trust, which turns TLS on; b"" trusts gRPC's own list. None: no TLS.
            retry_for_s: how long a message is sent again while the server is unreachable or busy; 0: the first failure is raised.
            message_bytes: large batches go in messages of about so many bytes, two on their way at a time.

        Raises:
            InvalidFieldError: the address or the token cannot be used.
        """
        self._connection = Connection(address, token, tls_root_certificates)
        self._policy = RetryPolicy(retry_for_s)
        self._sleep: Callable[[float], None] = time.sleep
        self._message_bytes = message_bytes
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._opened: Stubs | None = None
        self._closed = False
        self._known: dict[tuple[str, int], ModelInfo] = {}
        # The model and version of each session that this client made, or has had an answer of.
        self._sessions: dict[str, tuple[str, int]] = {}
        self._unanswered = Unanswered()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up. Calls under way in other threads end with CancelledError. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            channel, self._channel, self._opened = self._channel, None, None
        if channel is not None:
            channel.close()

    def _run(self, call: BatchCall[Request, Response, Answer], timeout_s: float | None, progress: Progress | None) -> Answer:
        return self._run_until(call, self._deadline(timeout_s), progress)

    def _run_until(self, call: BatchCall[Request, Response, Answer], deadline: Deadline, progress: Progress | None) -> Answer:
        key = (call.model_name, call.model_version)
        info = self._known.get(key) or self._info(*key, deadline)
        messages = Messages(call, info, self._message_bytes, progress)
        method = call.method(self._stubs())
        try:
            # Alone, because its answer pins the version for the others.
            messages.add(self._once(method, messages.request(0), deadline))
            self._rest(method, messages, deadline)
        except MessageTooLargeError:
            self._known.pop(key, None)  # the server was restarted with a lower limit
            raise
        return messages.answer()

    def _rest(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], messages: Messages[Request, Response, Answer], deadline: Deadline
    ) -> None:
        def send(index: int) -> grpc.CallFuture[Response]:
            with self._open():
                return method.future(messages.request(index), timeout=deadline.remaining_s(), metadata=self._connection.metadata)

        unsent = iter(range(1, len(messages)))
        on_their_way: deque[tuple[int, Attempts, grpc.CallFuture[Response]]] = deque()
        try:
            while True:
                while len(on_their_way) < IN_FLIGHT and (index := next(unsent, None)) is not None:
                    on_their_way.append((index, Attempts(self._policy, deadline), send(index)))
                if not on_their_way:
                    return
                index, attempts, sent = on_their_way[0]
                try:
                    messages.add(sent.result())
                    on_their_way.popleft()
                except grpc.FutureCancelledError as error:
                    raise CancelledError(CLOSED) from error
                except grpc.RpcError as error:
                    self._sleep(attempts.delay_after(from_rpc_error(error)))
                    on_their_way[0] = (index, attempts, send(index))
        finally:
            for _, _, sent in on_their_way:
                sent.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leaves Future.cancel untyped

    def _once(self, method: grpc.UnaryUnaryMultiCallable[Plain, Reply], request: Plain, deadline: Deadline) -> Reply:
        attempts = Attempts(self._policy, deadline)
        while True:
            try:
                with self._open():
                    return method(request, timeout=deadline.remaining_s(), metadata=self._connection.metadata)
            except grpc.RpcError as error:
                self._sleep(attempts.delay_after(from_rpc_error(error)))

    def _info(self, model_name: str, version: int, deadline: Deadline) -> ModelInfo:
        check_name(model_name, version)
        request = models_pb2.GetModelRequest(model_name=model_name, model_version=version)
        info = read.info_of(self._once(self._stubs().models.GetModel, request, deadline))
        self._known[model_name, version] = info
        return info

    @contextmanager
    def _open(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # gRPC's word for a channel that another thread closed
            if self._closed:
                raise CancelledError(CLOSED) from error
            raise

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(timeout_s, self._policy.clock)

    def _stubs(self) -> Stubs:
        with self._lock:
            if self._closed:
                raise CancelledError(CLOSED)
            if self._channel is None or self._opened is None:
                self._channel = self._connection.open()
                self._opened = Stubs.on(self._channel)
            return self._opened
