"""The recipe's sections [data] and [normalisation]: where rows come from, what their columns are, and which values become 0 and 1."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.recipe_sections import NonNegative, Section, Text

Percent = Annotated[float, Field(ge=0, le=100)]


class Condition(Section):
    """One column of the array `conditions` (n, k): a number in `unit`, or, with `categories`, the index of one of them."""

    name: Text
    unit: Text = "1"
    meaning: Text
    categories: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.categories) == 1 or len(set(self.categories)) != len(self.categories):
            raise ValueError("categories are two or more different names, or are left out for a number")
        return self


class Target(Section):
    """One column of the array `targets` (n, t), NaN where it is not known."""

    name: Text
    unit: Text = "1"
    meaning: Text


class PatchSpectrumData(Section):
    """Drawn patches of a domain wall, each with its local hysteresis loop; see training/data/patch_spectra.py.

    `targets` are parameters of the loop that a model is to tell from the patch (semi-supervised regression), known of `targets_known` of the
    training patches.
    """

    source: Literal["patch_spectra"]
    train: Annotated[int, Field(ge=20)] = 3000
    validation: Annotated[int, Field(ge=5)] = 300
    test: Annotated[int, Field(ge=5)] = 500
    side_px: Annotated[int, Field(ge=8, le=128)] = 24
    points: Annotated[int, Field(ge=16, le=1024)] = 64
    image_noise: NonNegative = 0.05
    spectrum_noise: NonNegative = 0.03
    seed: Annotated[int, Field(ge=0)] = 0
    targets: tuple[Literal["coercive_voltage", "imprint", "amplitude", "sharpness"], ...] = ()
    targets_known: Annotated[int, Field(ge=5)] = 200

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("a target is named twice")
        if not self.targets and "targets_known" in self.model_fields_set:
            raise ValueError("targets_known says of how many patches the targets are known: name some in targets, or leave it out")
        return self


class Normalisation(Section):
    """How pixel values become the encoder's [0, 1]: given ends (one for each channel) or percentiles of the training images."""

    low_percentile: Percent = 0.5
    high_percentile: Percent = 99.5
    input_low: tuple[float, ...] | None = None
    input_high: tuple[float, ...] | None = None
    integer_images: Literal["full_scale", "value"] = "full_scale"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.input_low is None) != (self.input_high is None):
            raise ValueError("input_low and input_high are given together or not at all")
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile lies below high_percentile")
        return self


class FileData(Section):
    """Images or spectra from files: whole, or images cut into patches when `window_px` is given.

    `conditions` and `targets` name the columns of the files' arrays of those names. `output_unit` is that of what the model gives, where that is
    not the kind that goes in: a file tells one unit alone. `files` are names looked up in the folder DICHROIC_DATA (and its sub-folders one level
    down) when the command line gives no --data. Files named in `evaluate_only` are never trained on, wherever they come from.
    """

    source: Literal["files"]
    files: tuple[Text, ...] = ()
    evaluate_only: tuple[Text, ...] = ()
    channel: str | None = None
    window_px: Annotated[int, Field(ge=8, le=1024)] | None = None
    stride_px: Annotated[int, Field(ge=1, le=1024)] = 4
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    conditions: tuple[Condition, ...] = ()
    targets: tuple[Target, ...] = ()
    output_unit: Text = "unknown"
    licence: Text
    citation: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for columns in (self.conditions, self.targets):
            if len({column.name for column in columns}) != len(columns):
                raise ValueError("a condition, or a target, is named twice")
        if self.window_px and self.targets:
            raise ValueError("targets are of whole images, not of patches: leave out window_px")
        return self


class CardsData(Section):
    """The drawn cards benchmark: four suits in known poses."""

    source: Literal["cards"]
    train_per_suit: Annotated[int, Field(ge=10)] = 1000
    validation_per_suit: Annotated[int, Field(ge=10)] = 100
    test_per_suit: Annotated[int, Field(ge=10)] = 250
    angle_deg: Annotated[float, Field(ge=0, le=180)] = 60.0
    shear_deg: Annotated[float, Field(ge=0, lt=60)] = 1.0
    shift: Annotated[float, Field(ge=0, le=0.3)] = 0.1
    scale: tuple[float, float] = (1.0, 1.0)
    side_px: Annotated[int, Field(ge=16, le=256)] = 48
    # Standard deviation of the pixels' noise; for likelihood = "gaussian".
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    # The model is conditional on the suit, which encoder and decoder are told.
    condition_on_suit: bool = False
    # Labelled cards, from a stream of their own, for semi-supervised models; 0: none.
    labelled_per_suit: Annotated[int, Field(ge=0)] = 0
    labelled_angle_deg: Annotated[float, Field(ge=0, le=180)] = 12.0
    labelled_shear_deg: Annotated[float, Field(ge=0, lt=60)] = 1.0
    labelled_shift: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    labelled_scale: tuple[float, float] = (1.0, 1.0)
