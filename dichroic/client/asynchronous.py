"""The client for asyncio: the same calls as Client's, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from dichroic.client import models as read
from dichroic.client.answers import (
    Classification,
    Decoding,
    Encoding,
    Manifold,
    ModelIdentity,
    ModelInfo,
    ModelSummary,
    Reconstruction,
    Regression,
)
from dichroic.client.channel import CLOSED, Connection, Stubs
from dichroic.client.grids import Range, manifold_of, manifold_request
from dichroic.client.inputs import Classes, Images, Numbers, checked_data, checked_latents
from dichroic.client.messages import IN_FLIGHT, MESSAGE_BYTES, Messages, Progress
from dichroic.client.requests import (
    Answer,
    BatchCall,
    Echo,
    Request,
    Response,
    check_name,
    classify_call,
    decode_call,
    encode_call,
    reconstruct_call,
    regress_call,
)
from dichroic.client.retry import Attempts, Deadline, RetryPolicy
from dichroic.errors import CancelledError, MessageTooLargeError
from dichroic.status import from_rpc_error
from dichroic.v1 import models_pb2

Plain = TypeVar("Plain", bound=Message)
Reply = TypeVar("Reply")


class AsyncClient:
    """Asks a Dichroic server without blocking the event loop.

        async with AsyncClient("microscope-gpu:50051") as client:
            encoding = await client.encode("domains", images)

    Arguments, answers and errors are those of Client, method by method. It belongs to the event loop of its first call; any number of tasks
    may share it. A task that is cancelled cancels its call on the server.
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
        """Nothing is sent yet. Arguments and errors as Client's."""
        self._connection = Connection(address, token, tls_root_certificates)
        self._policy = RetryPolicy(retry_for_s)
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._message_bytes = message_bytes
        self._channel: grpc.aio.Channel | None = None
        self._opened: Stubs | None = None
        self._closed = False
        self._known: dict[tuple[str, int], ModelInfo] = {}

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

    async def encode(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        conditions: Numbers | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Encoding:
        """Images, or spectra, to pose, content and class; see Client.encode."""
        data = checked_data(images, spectra, conditions)
        return await self._run(encode_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    async def decode(
        self,
        model_name: str,
        *,
        content: Numbers | None = None,
        angle_rad: Numbers | None = None,
        scale: Numbers | None = None,
        shift_down_px: Numbers | None = None,
        shift_right_px: Numbers | None = None,
        class_index: Classes | None = None,
        conditions: Numbers | None = None,
        targets: Numbers | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Decoding:
        """Pose, content and class to images or spectra; see Client.decode."""
        latents = checked_latents(
            content=content,
            angle_rad=angle_rad,
            scale=scale,
            shift_down_px=shift_down_px,
            shift_right_px=shift_right_px,
            class_index=class_index,
            conditions=conditions,
            targets=targets,
        )
        return await self._run(decode_call(model_name, latents, version), timeout_s, progress)

    async def decode_manifold(
        self,
        model_name: str,
        *,
        axes: tuple[int, int] = (0, 1),
        counts: tuple[int, int] = (12, 12),
        range_1: Range | None = None,
        range_2: Range | None = None,
        spacing: str = "quantile",
        content: Numbers | None = None,
        angle_rad: Numbers | None = None,
        scale: Numbers | None = None,
        shift_down_px: Numbers | None = None,
        shift_right_px: Numbers | None = None,
        class_index: Classes | None = None,
        conditions: Numbers | None = None,
        targets: Numbers | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
    ) -> Manifold:
        """A grid of decoded images, or spectra, over two content latents; see Client.decode_manifold."""
        fixed = checked_latents(
            content=content,
            angle_rad=angle_rad,
            scale=scale,
            shift_down_px=shift_down_px,
            shift_right_px=shift_right_px,
            class_index=class_index,
            conditions=conditions,
            targets=targets,
        )
        request = manifold_request(model_name, version, axes=axes, counts=counts, ranges=(range_1, range_2), spacing=spacing, fixed=fixed)
        return manifold_of(await self._once(self._stubs().latent.DecodeManifold, request, self._deadline(timeout_s)))

    async def reconstruct(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        conditions: Numbers | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Reconstruction:
        """Images, or spectra, to themselves by way of the latents; see Client.reconstruct."""
        data = checked_data(images, spectra, conditions)
        return await self._run(reconstruct_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    async def classify(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Classification:
        """Which class each image, or spectrum, shows; see Client.classify."""
        data = checked_data(images, spectra, None)
        return await self._run(classify_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    async def regress(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Regression:
        """The targets of each image, or spectrum; see Client.regress."""
        data = checked_data(images, spectra, None)
        return await self._run(regress_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    async def models(self, *, timeout_s: float | None = 30.0) -> list[ModelSummary]:
        """Every version the server knows; see Client.models."""
        return read.summaries_of(await self._once(self._stubs().models.ListModels, models_pb2.ListModelsRequest(), self._deadline(timeout_s)))

    async def model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> ModelInfo:
        """One version in full; see Client.model."""
        return await self._info(model_name, version, self._deadline(timeout_s))

    async def load_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 300.0) -> ModelIdentity:
        """Has the server load a version; see Client.load_model."""
        check_name(model_name, version)
        request = models_pb2.LoadModelRequest(model_name=model_name, model_version=version)
        return read.identity_of((await self._once(self._stubs().models.LoadModel, request, self._deadline(timeout_s))).model)

    async def unload_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> list[ModelIdentity]:
        """Has the server take a version out of service; see Client.unload_model."""
        check_name(model_name, version)
        request = models_pb2.UnloadModelRequest(model_name=model_name, model_version=version)
        response = await self._once(self._stubs().models.UnloadModel, request, self._deadline(timeout_s))
        return [read.identity_of(model) for model in response.models]

    async def _run(self, call: BatchCall[Request, Response, Answer], timeout_s: float | None, progress: Progress | None) -> Answer:
        deadline = self._deadline(timeout_s)
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
