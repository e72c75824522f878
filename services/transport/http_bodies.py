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


class ImagesBody(Body):
    """Images to encode or reconstruct."""

    images: JsonArray = Field(description="(n, h, w) or (n, h, w, c): uint8, uint16 or float32 in the training data's unit; finite.")
    frame_id: str = Field(default="", description="The caller's name for the frame, echoed.")
    acquisition_time_unix_ns: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] = Field(
        default=0, description="When the frame was taken, ns since 1970-01-01T00:00:00 UTC, echoed; 0 = unknown."
    )


class DecodeBody(Body):
    """Latents to decode: at least one array, all with the same n."""

    content: JsonArray | None = Field(default=None, description="(n, d) content latents; default zeros.")
    angle_rad: JsonArray | None = Field(default=None, description="(n,) counter-clockwise, radians; default 0.")
    scale: JsonArray | None = Field(default=None, description="(n,) > 0, 1 = the training object's size; default 1.")
    shift_down_px: JsonArray | None = Field(default=None, description="(n,) pixels towards higher rows; default 0.")
    shift_right_px: JsonArray | None = Field(default=None, description="(n,) pixels towards higher columns; default 0.")


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
    content: Any = Field(description="(n, d) posterior mean, prior N(0, 1).")
    content_sd: Any = Field(description="(n, d) posterior standard deviation, without pixel noise.")
    latent_mean: Any = Field(description="(n, L) every raw latent in the manifest's order.")
    latent_sd: Any = Field(description="(n, L).")


class DecodeAnswer(Answer):
    """Decoded images."""

    images: Any = Field(description="(n, h, w) or (n, h, w, c) in the training data's unit: the likelihood's mean.")


class ReconstructAnswer(Answer):
    """Each image as the model sees it."""

    frame_id: str
    acquisition_time_unix_ns: int
    reconstruction: Any = Field(description="(n, h, w) or (n, h, w, c) in the training data's unit.")
    error: Any = Field(description="(n,) mean squared difference where the input range is [0, 1].")
    error_threshold: float = Field(description="Error that novel_false_alarm_rate of the held-out images exceed; 0 = not calibrated.")
    novel_false_alarm_rate: float
    novel: Any = Field(description="(n,) true where error > error_threshold; null when not calibrated.")


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
