"""The client for asyncio: the same calls as Client's, awaited."""

from __future__ import annotations

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
from dichroic.client.async_frame_calls import AsyncFrameCalls
from dichroic.client.async_mechanism_calls import AsyncMechanismCalls
from dichroic.client.async_transition_calls import AsyncTransitionCalls
from dichroic.client.conversion import Classes, Images, Numbers
from dichroic.client.grids import Range, manifold_of, manifold_request
from dichroic.client.inputs import checked_data, checked_latents
from dichroic.client.messages import Progress
from dichroic.client.requests import Echo, check_name, classify_call, decode_call, encode_call, reconstruct_call, regress_call
from dichroic.v1 import models_pb2


class AsyncClient(AsyncFrameCalls, AsyncMechanismCalls, AsyncTransitionCalls):
    """Asks a Dichroic server without blocking the event loop.

        async with AsyncClient("microscope-gpu:50051") as client:
            encoding = await client.encode("domains", images)

    Arguments, answers and errors are those of Client, method by method. It belongs to the event loop of its first call; any number of tasks
    may share it. A task that is cancelled cancels its call on the server.
    """

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
