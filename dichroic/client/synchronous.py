"""The blocking client."""

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
from dichroic.client.answers import Decoding, Encoding, ModelIdentity, ModelInfo, ModelSummary, Reconstruction
from dichroic.client.channel import CLOSED, Connection, Stubs
from dichroic.client.inputs import Images, Numbers
from dichroic.client.messages import IN_FLIGHT, MESSAGE_BYTES, Messages, Progress
from dichroic.client.requests import Answer, BatchCall, Request, Response, check_name, decode_call, encode_call, reconstruct_call
from dichroic.client.retry import Attempts, Deadline, RetryPolicy
from dichroic.errors import CancelledError, MessageTooLargeError
from dichroic.status import from_rpc_error
from dichroic.v1 import models_pb2

Plain = TypeVar("Plain", bound=Message)
Reply = TypeVar("Reply")


class Client:
    """Asks a Dichroic server, and waits for the answer.

        with Client("microscope-gpu:50051") as client:
            encoding = client.encode("domains", images)
            encoding.angle_rad    # (n,) float32, radians counter-clockwise

    It connects with the first call, stays connected while idle, and may be shared between threads. Every method takes `timeout_s`, the
    deadline of the whole call over all its messages and retries (None: none), and raises the errors of `dichroic.errors`, which it
    re-raises as the server named them; beside those each method lists, that can be ServerUnreachableError, DeadlineExceededError,
    QueueFullError, ServerStartingError, ServerStoppingError, ModelNotReadyError and InternalError. A message is sent again only when the
    server is unreachable or says that a retry may help, after the delay it asks for; every call here can be repeated without harm.
    """

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

    def encode(
        self,
        model_name: str,
        images: Images,
        *,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Encoding:
        """Images to pose and content.

        Args:
            model_name: such as "domains".
            images: (n, h, w), or (n, h, w, c) for models of several channels, or a list of n images of one shape; uint8, uint16, or floats in
                the unit of the training data (float64 is converted to float32). Always with the batch axis: a single image goes as [image].
            version: >= 1; 0 is the highest that is ready.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.

        Raises:
            InvalidTensorError: dtype, axes, shape, no rows, NaN or infinity; `row` says which.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model does not encode.
            MessageTooLargeError: a single image is larger than the server receives.
            ModelChangedError: the version was replaced during the call.
        """
        return self._run(encode_call(model_name, images, version, frame_id, acquisition_time_unix_ns), timeout_s, progress)

    def decode(
        self,
        model_name: str,
        *,
        content: Numbers | None = None,
        angle_rad: Numbers | None = None,
        scale: Numbers | None = None,
        shift_down_px: Numbers | None = None,
        shift_right_px: Numbers | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Decoding:
        """Pose and content to images. At least one latent is given; what is not given is 0, the scale 1.

        Args:
            model_name: such as "domains".
            content: (n, d), or (d,) for every row; unit 1.
            angle_rad: (n,), or one number for every row; radians counter-clockwise.
            scale: (n,), or one number for every row; > 0.
            shift_down_px: (n,), or one number for every row; pixels towards higher row numbers.
            shift_right_px: (n,), or one number for every row; pixels towards higher column numbers.
            version: >= 1; 0 is the highest that is ready.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.

        Raises:
            InvalidTensorError: a wrong shape, different n, not finite, a scale <= 0, or a latent that the model does not have.
            InvalidFieldError: nothing is given.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model does not decode.
            ModelChangedError: the version was replaced during the call.
        """
        call = decode_call(
            model_name,
            version,
            content=content,
            angle_rad=angle_rad,
            scale=scale,
            shift_down_px=shift_down_px,
            shift_right_px=shift_right_px,
        )
        return self._run(call, timeout_s, progress)

    def reconstruct(
        self,
        model_name: str,
        images: Images,
        *,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Reconstruction:
        """Images to themselves by way of the latents, with each image's error: large where the model meets what it never saw.

        Arguments and errors are those of encode.
        """
        return self._run(reconstruct_call(model_name, images, version, frame_id, acquisition_time_unix_ns), timeout_s, progress)

    def models(self, *, timeout_s: float | None = 30.0) -> list[ModelSummary]:
        """Every version the server knows, serving or failed, by name and then by version."""
        return read.summaries_of(self._once(self._stubs().models.ListModels, models_pb2.ListModelsRequest(), self._deadline(timeout_s)))

    def model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> ModelInfo:
        """One version in full: tensors, limits, device, manifest, model card.

        Raises:
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
        """
        return self._info(model_name, version, self._deadline(timeout_s))

    def load_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 300.0) -> ModelIdentity:
        """Has the server read, check, warm up and swap in a version; 0 is the highest in its folder. A failure leaves what serves in place.

        Raises:
            NoCredentialError: this client has no token, or a wrong one.
            AdminOnlyError: the server lets nobody, or not this token, administer.
            UnknownModelError: there is no such folder.
            UnknownVersionError: there is no such version's folder.
            BundleRefusedError: the bundle did not pass; `step` and `cause` say where and why.
        """
        check_name(model_name, version)
        request = models_pb2.LoadModelRequest(model_name=model_name, model_version=version)
        return read.identity_of(self._once(self._stubs().models.LoadModel, request, self._deadline(timeout_s)).model)

    def unload_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> list[ModelIdentity]:
        """Has the server take a version out of service, or every one of the model (0); what it has accepted finishes first.

        Raises:
            NoCredentialError: this client has no token, or a wrong one.
            AdminOnlyError: the server lets nobody, or not this token, administer.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
        """
        check_name(model_name, version)
        request = models_pb2.UnloadModelRequest(model_name=model_name, model_version=version)
        response = self._once(self._stubs().models.UnloadModel, request, self._deadline(timeout_s))
        return [read.identity_of(model) for model in response.models]

    def _run(self, call: BatchCall[Request, Response, Answer], timeout_s: float | None, progress: Progress | None) -> Answer:
        deadline = self._deadline(timeout_s)
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
