"""What a bundle's graphs of frames are made of: a model for each window length."""

from __future__ import annotations

from dataclasses import dataclass

from dichroic.bundle.frames_section import DenseFrames, Frames, FrameStage
from training.latent.model import InvariantVAE
from training.latent.specification import ModelSpecification


@dataclass(frozen=True)
class StageModel:
    """One window length, in pixels of the training images, in nm where their pixel size was known, and the model that was trained on it."""

    model: InvariantVAE
    window_px: float | None = None
    window_nm: float | None = None


@dataclass(frozen=True)
class FrameModels:
    """Models of one specification, window lengths ascending. `standardised`: images were standardised, each by itself, before windows were cut."""

    stages: tuple[StageModel, ...]
    standardised: bool = False

    @property
    def specification(self) -> ModelSpecification:
        """Of every stage."""
        return self.stages[0].model.specification

    @property
    def section(self) -> Frames:
        """What the manifest says."""
        told = ("window_px", "window_nm")
        stages = tuple(FrameStage(**{name: getattr(each, name) for name in told if getattr(each, name) is not None}) for each in self.stages)
        # What is left out is no part of the digest.
        dense = {"dense": DenseFrames(stride_px=self.specification.dense_stride_px)} if self.specification.dense_head else {}
        return Frames(descriptor_px=self.specification.height_px, standardised=self.standardised, stages=stages, **dense)


def single_stage(model: InvariantVAE, window_px: int | None, pixel_size_nm: float | None) -> FrameModels | None:
    """Of a model whose training images were windows of this many pixels; None where they were not, or the model cannot read frames."""
    specification = model.specification
    square = specification.height_px == specification.width_px == window_px
    if window_px is None or not square or specification.conditions or specification.input_kind != "images" or specification.translates:
        return None
    return FrameModels((StageModel(model, float(window_px), None if pixel_size_nm is None else window_px * pixel_size_nm),))
