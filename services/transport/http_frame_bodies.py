"""The JSON requests and answers of whole images, as OpenAPI shows them. Units and shapes are those of the proto's fields of the same name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from services.transport.http_bodies import Answer, Body
from services.transport.json_arrays import JsonArray

Length = Annotated[float, Field(gt=0)]


class FrameBody(Body):
    """A whole image, and windows on it."""

    frame: JsonArray = Field(
        description="(h, w) or (h, w, c): uint8, uint16 or float32; NaN (in lists: null) and infinity make windows that touch them invalid."
    )
    frame_id: str = Field(default="", description="The caller's name for the frame, echoed.")
    acquisition_time_unix_ns: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] = Field(
        default=0, description="When the frame was taken, ns since 1970-01-01T00:00:00 UTC, echoed; 0 = unknown."
    )
    pixel_size_nm: Length | None = Field(default=None, description="Side of the frame's pixels, nm; default: unknown.")
    window_px: Length | list[Length] = Field(default=[], description="One window length or several, pixels of the frame; default: the model's own.")
    window_nm: Length | list[Length] = Field(default=[], description="Window lengths, nm, instead of window_px; they need pixel_size_nm.")
    stage: Annotated[int, Field(ge=0)] = Field(default=0, description="Which stage encodes every window, 1 to K; 0 = the nearest in log length.")


class EncodeFrameBody(FrameBody):
    """A whole image, and where its windows are: a grid, or centres."""

    stride_px: Length | None = Field(
        default=None, description="Grid step, pixels of the frame; default: the dense encoder's own, or a quarter of the window."
    )
    centres_px: JsonArray | None = Field(default=None, description="(n, 2) float64, (row, column), pixels of the frame: centres instead of a grid.")
    explain: bool = Field(default=False, description="Whether `explained` is told, which takes about a hundred times as long.")


class ScaleSpectrumBody(FrameBody):
    """Points of a whole image, and the windows through which they are looked at."""

    centres_px: JsonArray = Field(description="(n, 2) float64, (row, column), pixels of the frame: the points.")
    labels: JsonArray | None = Field(default=None, description="(n,) int64: the points' classes, 0 or more; -1 where not known.")


class FrameAnswer(Answer):
    """What every answer about a frame carries."""

    frame_id: str
    acquisition_time_unix_ns: int


class LatentMapAnswer(BaseModel):
    """The windows of one length: n = rows x columns, row after row, or the centres given. Null in rows that are not valid, class_index -1."""

    window_px: float
    window_nm: float = Field(description="0 = unknown.")
    stage: int = Field(description="1 to K.")
    rows: int = Field(description="Of the grid; 0 where centres were given.")
    columns: int = Field(description="Of the grid; 0 where centres were given.")
    centres_px: Any = Field(description="(n, 2) (row, column), pixels of the frame.")
    valid: Any = Field(description="(n,) false where a window touches a pixel that is not finite.")
    invalid_count: int
    evaluated: str = Field(description="dense, or windows.")
    explained: Any = Field(description="(n,) at most 1; null unless asked for.")
    angle_rad: Any = Field(description="(n,) radians counter-clockwise, row 0 at the top.")
    angle_sd_rad: Any = Field(description="(n,) radians.")
    scale: Any = Field(description="(n,) > 1: larger.")
    shift_down_px: Any = Field(description="(n,) pixels of the frame, from the window's middle.")
    shift_right_px: Any = Field(description="(n,) pixels of the frame, from the window's middle.")
    content: Any = Field(description="(n, d) posterior mean.")
    content_sd: Any = Field(description="(n, d) posterior standard deviation.")
    latent_mean: Any = Field(description="(n, L) every raw latent in the manifest's order.")
    latent_sd: Any = Field(description="(n, L).")
    class_probabilities: Any = Field(description="(n, K), rows sum to 1; null for a model without classes.")
    class_index: Any = Field(description="(n,) the most probable class; null for a model without classes.")


class EncodeFrameAnswer(FrameAnswer):
    """One map for each window, in the order of the request."""

    maps: list[LatentMapAnswer]


class ScaleSpectrumAnswer(FrameAnswer):
    """Latents against window length: k windows, n points. Null where a window is not valid."""

    window_px: Any = Field(description="(k,) pixels of the frame.")
    window_nm: Any = Field(description="(k,) nm; null where the pixel size is unknown.")
    stage: Any = Field(description="(k,) 1 to K.")
    valid: Any = Field(description="(k, n).")
    invalid_count: int
    explained: Any = Field(description="(k, n) how much of each window its reconstruction explains, at most 1.")
    content: Any = Field(description="(k, n, d) posterior mean.")
    latent_mean: Any = Field(description="(k, n, L).")
    latent_sd: Any = Field(description="(k, n, L).")
    separability: Any = Field(description="(k,) balanced accuracy of the classes, one point left out; null without labels.")
    separable_from_px: float = Field(description="The least window from which on separability is >= 0.9, of 8 points of every class; 0 = none.")
    separable_from_nm: float = Field(description="The same, nm; 0 = none, or unknown.")
