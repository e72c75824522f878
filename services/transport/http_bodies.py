"""The JSON requests and answers of /v1, as OpenAPI shows them. Units and shapes are those of the proto's fields of the same name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.transport.json_arrays import JsonArray


class Body(BaseModel):
    """What every request may carry."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[int, Field(ge=0)] = Field(default=0, description="Model version, 1 or more; 0 = the highest that serves.")
    timeout_s: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Deadline of this request, seconds; default: the server's.")
    arrays: Literal["lists", "base64"] = Field(default="lists", description="How arrays come back: nested lists, or {dtype, shape, data_base64}.")


class DataBody(Body):
    """Images, or spectra, whichever the model takes."""

    images: JsonArray | None = Field(
        default=None, description="(n, h, w) or (n, h, w, c): uint8, uint16 or float32 in the training data's unit; finite. Required, or spectra."
    )
    spectra: JsonArray | None = Field(default=None, description="(n, l) or (n, l, c) float32 in the training data's unit; finite.")
    frame_id: str = Field(default="", description="The caller's name for the frame, echoed.")
    acquisition_time_unix_ns: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] = Field(
        default=0, description="When the frame was taken, ns since 1970-01-01T00:00:00 UTC, echoed; 0 = unknown."
    )


class EncodeBody(DataBody):
    """Images, or spectra, to encode or reconstruct."""

    conditions: JsonArray | None = Field(default=None, description="(n, k), for models with conditions: a value, or a category's index, each.")


class LatentsBody(Body):
    """Latents, class, conditions and targets."""

    content: JsonArray | None = Field(default=None, description="(n, d) content latents; default zeros.")
    angle_rad: JsonArray | None = Field(default=None, description="(n,) counter-clockwise, radians; default 0.")
    scale: JsonArray | None = Field(default=None, description="(n,) > 0, 1 = the training object's size; default 1.")
    shift_down_px: JsonArray | None = Field(default=None, description="(n,) pixels towards higher rows; default 0.")
    shift_right_px: JsonArray | None = Field(default=None, description="(n,) pixels towards higher columns; default 0.")
    class_index: JsonArray | None = Field(default=None, description="(n,) int64, 0 to K - 1; required by models with classes.")
    conditions: JsonArray | None = Field(default=None, description="(n, k); required by models with conditions.")
    targets: JsonArray | None = Field(default=None, description="(n, t) in their units; required by regression models whose decoder takes them.")


class DecodeBody(LatentsBody):
    """Latents to decode: at least one array, all with the same n."""


class ManifoldBody(LatentsBody):
    """Which grid to decode. The arrays have one row each, fixed over the grid."""

    axis_1: int = Field(default=0, description="The content latent that changes down the grid, 0 to d - 1.")
    axis_2: int = Field(default=1, description="The content latent that changes to the right, another than axis_1.")
    count_1: int = Field(description="Steps down, 2 or more; count_1 x count_2 at most 4096.")
    count_2: int = Field(description="Steps to the right, 2 or more.")
    low_1: float = Field(default=0.0, description="First value of axis_1; low = high = 0: the prior's 5 % and 95 % quantiles (a circle: all of it).")
    high_1: float = Field(default=0.0, description="Last value of axis_1.")
    low_2: float = Field(default=0.0, description="First value of axis_2; as low_1.")
    high_2: float = Field(default=0.0, description="Last value of axis_2.")
    spacing: Literal["", "quantile", "value"] = Field(default="", description="Equal steps of the prior's probability (quantile), or of value.")


class ModelName(BaseModel):
    """Which bundle answered."""

    name: str
    version: int
    digest: str = Field(description="SHA-256 of the bundle's manifest; equal digests answer equally.")


class Answer(BaseModel):
    """What every answer of the latent room carries."""

    model: ModelName


class EncodeAnswer(Answer):
    """Pose and content; null where the model has no such latent."""

    frame_id: str
    acquisition_time_unix_ns: int
    angle_rad: Any = Field(description="(n,) radians counter-clockwise, row 0 at the top, in [-pi, pi].")
    angle_sd_rad: Any = Field(description="(n,) radians, posterior standard deviation of the angle, without pixel noise.")
    scale: Any = Field(description="(n,) > 1: larger.")
    shift_down_px: Any = Field(description="(n,) input-image pixels.")
    shift_right_px: Any = Field(description="(n,) input-image pixels.")
    content: Any = Field(description="(n, d) posterior mean, prior N(0, 1); radians in [-pi, pi] for a latent on a circle.")
    content_sd: Any = Field(description="(n, d) posterior standard deviation, without pixel noise.")
    latent_mean: Any = Field(description="(n, L) every raw latent in the manifest's order.")
    latent_sd: Any = Field(description="(n, L).")
    class_probabilities: Any = Field(description="(n, K), rows sum to 1; null for a model without classes.")
    class_index: Any = Field(description="(n,) the most probable class; null for a model without classes.")


class DecodeAnswer(Answer):
    """Decoded images, or spectra; the other is null."""

    images: Any = Field(description="(n, h, w) or (n, h, w, c) in the training data's unit: the likelihood's mean.")
    spectra: Any = Field(description="(n, l) or (n, l, c) in the training data's unit: the likelihood's mean.")


class ManifoldAnswer(Answer):
    """A grid of decoded images, or spectra; the other is null."""

    values_1: Any = Field(description="(count_1,) of axis_1, from the top.")
    values_2: Any = Field(description="(count_2,) of axis_2, from the left.")
    images: Any = Field(description="(count_1, count_2, h, w) or (count_1, count_2, h, w, c) in the training data's unit.")
    spectra: Any = Field(description="(count_1, count_2, l) or (count_1, count_2, l, c) in the training data's unit.")


class ReconstructAnswer(Answer):
    """Each image as the model sees it."""

    frame_id: str
    acquisition_time_unix_ns: int
    reconstruction: Any = Field(description="(n, h, w) or (n, h, w, c) in the training data's unit.")
    error: Any = Field(description="(n,) mean squared difference where the input range is [0, 1].")
    error_threshold: float = Field(description="Error that novel_false_alarm_rate of the held-out images exceed; 0 = not calibrated.")
    novel_false_alarm_rate: float
    novel: Any = Field(description="(n,) true where error > error_threshold; null when not calibrated.")
    p_value: Any = Field(description="(n,) in (0, 1]: the share of held-out images with at least this error, the image itself counted; or null.")
    class_probabilities: Any = Field(description="(n, K), rows sum to 1; null for a model without classes.")
    class_index: Any = Field(description="(n,) the most probable class; null for a model without classes.")


class ClassifyAnswer(Answer):
    """Which class each image, or spectrum, shows."""

    frame_id: str
    acquisition_time_unix_ns: int
    class_probabilities: Any = Field(description="(n, K), rows sum to 1.")
    class_index: Any = Field(description="(n,) the most probable class.")
    class_names: list[str] = Field(description="The K classes.")


class RegressAnswer(Answer):
    """The targets of each image, or spectrum."""

    frame_id: str
    acquisition_time_unix_ns: int
    target_mean: Any = Field(description="(n, t) in each target's unit.")
    target_sd: Any = Field(description="(n, t) in each target's unit: of the observable, noise included.")
    names: list[str] = Field(description="The t targets.")
    units: list[str] = Field(description="The unit of each target; 1 = none.")


class Problem(BaseModel):
    """What went wrong, what was expected, what to do."""

    reason: str = Field(description="Stable word, such as INVALID_TENSOR.")
    status: str = Field(description="Canonical status, such as INVALID_ARGUMENT.")
    message: str
    field: str
    row: int | None
    retry_delay_s: float | None
    metadata: dict[str, str]


class ErrorAnswer(BaseModel):
    """Every answer that is not 200."""

    error: Problem
