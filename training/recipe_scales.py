"""The recipe's section [scales]: descriptors at several window lengths, one model for each, in turn; and the drawn data with known answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from training.recipe_sections import NonNegative, Positive, Section

if TYPE_CHECKING:
    from training.recipe import Recipe

Order = Literal["progressive", "reverse", "cold", "joint"]


class StripesData(Section):
    """Drawn images whose answers at every window length are known; see training/data/stripes.py.

    Attributes:
        pattern: "stripes", or "noise": white noise alone.
        images: how many.
        side_px: height and width.
        period_px: of the stripes.
        angle_deg: direction of all stripes; left out: each image its own.
        noise: standard deviation of the pixels' noise, of stripes between −1 and 1; of the pattern "noise" there is nothing else.
        pixel_size_nm: left out: not known, and windows are in pixels.
        held_out_fraction: wanted share of held-out windows.
        seed: of the drawing.
    """

    source: Literal["stripes"]
    pattern: Literal["stripes", "noise"] = "stripes"
    images: Annotated[int, Field(ge=1, le=1000)] = 8
    side_px: Annotated[int, Field(ge=16, le=4096)] = 128
    period_px: Annotated[float, Field(ge=4)] | None = None
    angle_deg: Annotated[float, Field(ge=-90, le=90)] | None = None
    noise: NonNegative = 0.1
    pixel_size_nm: Positive | None = None
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        if self.pattern == "stripes" and self.period_px is None:
            raise ValueError("stripes need period_px")
        if self.pattern == "noise" and (self.period_px is not None or self.angle_deg is not None or not self.noise):
            raise ValueError('pattern = "noise" is noise alone: leave out period_px and angle_deg, and give noise above 0')
        return self


class Scales(Section):
    """[ours] How models are fitted at several window lengths; the paper says that it is done progressively, and not how.

    Attributes:
        windows_nm: lengths, ascending; each image's pixel size makes pixels of them.
        windows_px: lengths in pixels, ascending, may be fractional; one of the two is given.
        descriptor_px: d: every window is brought to d × d.
        patches_per_scale: training windows at each length, over all images.
        order: "progressive": from the shortest window to the longest, each stage from the weights of the one before. The others are what it is
            compared with: "reverse" (from the longest), "cold" (each stage from first weights) and "joint" (one model of all lengths).
        standardise: "image": each image less its own mean over its own standard deviation, each channel by itself, so that scans of different
            contrast compare; "none": values as they are, in their unit.
    """

    windows_nm: tuple[Positive, ...] = ()
    windows_px: tuple[Positive, ...] = ()
    descriptor_px: Annotated[int, Field(ge=8, le=128)] = 16
    patches_per_scale: Annotated[int, Field(ge=20)] = 1000
    order: Order = "progressive"
    standardise: Literal["image", "none"] = "image"

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if bool(self.windows_nm) == bool(self.windows_px):
            raise ValueError("give windows_nm (where images tell their pixel size) or windows_px, and not both")
        lengths = self.windows_nm or self.windows_px
        if len(lengths) < 2:
            raise ValueError("one window is no range of scales: give two or more, or window_px in [data] in place of [scales]")
        if any(first >= second for first, second in itertools.pairwise(lengths)):
            raise ValueError("windows are given from the shortest to the longest, each once")
        return self

    @property
    def count(self) -> int:
        """K, how many lengths there are."""
        return len(self.windows_nm or self.windows_px)


def check_scales(recipe: Recipe) -> None:
    """What [scales] does not go with.

    Raises:
        ValueError: as pydantic's validators raise it.
    """
    model, training = recipe.model, recipe.training
    if recipe.scales is None:
        if recipe.data.source == "stripes":
            raise ValueError("the drawn stripes are for models at several window lengths: add [scales]")
        return
    _check_data(recipe, recipe.scales)
    if model.input_kind != "images" or model.output_kind != "images":
        raise ValueError("windows are cut from images alone: leave out model.input_kind and model.output_kind")
    if model.class_source:
        raise ValueError("[scales] is for models without classes: a window has no label. Leave out class_source")
    if training.alignment.is_on:
        raise ValueError("[training.alignment] is for images of one length: leave it out with [scales]")
    if training.restarts > 1:
        raise ValueError("[scales] carries weights from stage to stage: leave out training.restarts")


def _check_data(recipe: Recipe, scales: Scales) -> None:
    data = recipe.data
    if data.source == "files":
        if data.window_px or "stride_px" in data.model_fields_set:
            raise ValueError("[scales] says which windows are cut: leave out window_px and stride_px")
        if data.conditions or data.targets:
            raise ValueError("[scales] cuts windows out of images, which have no conditions or targets of their own: leave those out")
    elif data.source != "stripes":
        raise ValueError('[scales] cuts windows out of larger images: it needs data from files, or source = "stripes"')
    elif scales.windows_nm and data.pixel_size_nm is None:
        raise ValueError("windows_nm needs pixel_size_nm in [data], or give windows_px")
