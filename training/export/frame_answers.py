"""What the torch models say of windows of frames: the reference of the graphs, in the model's own precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dichroic.bundle import Preprocessing, Signature
from training.data.windows import grid_axis
from training.export.frame_front import CONSTANT
from training.export.frame_models import FrameModels
from training.export.modules import Encode, input_range
from training.export.specs import encode_outputs
from training.frames.resampling import Windows
from training.latent.model import InvariantVAE

Array = np.ndarray[Any, np.dtype[Any]]
# The variance of a descriptor, normalised, up to which it counts as constant: a standard deviation of 1e-5 of the input range.
CONSTANT_VARIANCE = 1e-10


@dataclass(frozen=True)
class FrameReference:
    """The stages' models, in float32 or float64, and how a frame enters them."""

    frames: FrameModels
    preprocessing: Preprocessing

    @torch.no_grad()
    def answer(self, name: str, signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Args:
            name: of the signature.
            signature: of a graph of frames.
            inputs: its inputs and fixed inputs by name; of a dense graph equal windows.
        """
        kind, _, stage = name.partition(".")[0].partition("_")
        model, dtype = self.frames.stages[int(stage) - 1].model, name.partition(".")[2]
        if kind != "dense":
            values = self.descriptors(model, dtype, inputs["frame"], inputs["centre_px"], inputs["window_px"])
            found = (self._explained(model, values),) if kind == "explain" else self._encoded(model, values, inputs["window_px"])
            return {spec.name: answer.numpy() for spec, answer in zip(signature.outputs, found, strict=True)}
        return self._maps(model, dtype, signature, inputs)

    def _maps(self, model: InvariantVAE, dtype: str, signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Of frames of one size: window by window, at the centres that the graph has."""
        frames, window = inputs["frames"], float(inputs["window_px"][0])
        stride = model.specification.dense_stride_px * window / model.specification.height_px
        rows, columns = (grid_axis(side, window, stride) for side in frames.shape[1:3])
        centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=2).reshape(-1, 2)
        windows = np.full(len(centres), inputs["window_px"][0])
        values = torch.cat([self.descriptors(model, dtype, frame, centres, windows) for frame in frames])
        found = self._encoded(model, values, np.full(len(values), inputs["window_px"][0]))
        shape = (len(frames), len(rows), len(columns))
        return {spec.name: answer.reshape(*shape, *answer.shape[1:]).numpy() for spec, answer in zip(signature.outputs, found, strict=True)}

    def descriptors(self, model: InvariantVAE, dtype: str, frame: Array, centres: Array, windows: Array) -> Tensor:
        """Windows of one frame (h, w[, c]), normalised, not clipped: (n, d, d, c)."""
        values = self._normalised(frame, dtype).to(model.grid.dtype)
        taps = torch.arange(int(np.ceil(windows.max())) + 2)
        return Windows(model.specification.height_px)(values, torch.from_numpy(centres), torch.from_numpy(windows), taps)

    def seen(self, values: Tensor) -> Tensor:
        """Normalised values as the model sees them."""
        return torch.clamp(values, 0.0, 1.0) if self.preprocessing.clip else values

    def _normalised(self, frame: Array, dtype: str) -> Tensor:
        values = torch.from_numpy(frame.astype(np.float64))
        values = values[..., None] if values.ndim == 2 else values
        finite = torch.isfinite(values)
        if self.frames.standardised:
            count = torch.clamp(finite.sum(dim=(0, 1)), min=1)
            mean = torch.where(finite, values, 0.0).sum(dim=(0, 1)) / count
            apart = torch.where(finite, values - mean, 0.0)
            sd = torch.sqrt(torch.square(apart).sum(dim=(0, 1)) / count)
            values = apart / torch.where(sd > CONSTANT * torch.abs(mean), sd, 1.0)
        low, span = input_range(self.preprocessing, "float32" if self.frames.standardised else dtype)
        return (torch.where(finite, values, 0.0) - low.double()) / span.double()

    def _encoded(self, model: InvariantVAE, values: Tensor, windows: Array) -> tuple[Tensor, ...]:
        names = [spec.name for spec in encode_outputs(model.specification)]
        step = (torch.from_numpy(windows) / model.specification.height_px).to(values.dtype)
        found = Encode(model, self.preprocessing)(values)
        return tuple(answer * step if name.startswith("shift_") else answer for name, answer in zip(names, found, strict=True))

    def _explained(self, model: InvariantVAE, values: Tensor) -> Tensor:
        """1 − MSE/Var of the reconstruction at the posterior mean; Var about each channel's own mean."""
        drawn = model.images(model.read(self.seen(values)).sampling)
        error = torch.square(values - drawn).mean(dim=(1, 2, 3)).double()
        exact = values.double()
        variance = torch.square(exact - exact.mean(dim=(1, 2), keepdim=True)).mean(dim=(1, 2, 3))
        return torch.where(variance > CONSTANT_VARIANCE, 1 - error / torch.clamp(variance, min=CONSTANT_VARIANCE), 0.0)
