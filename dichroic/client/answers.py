"""What the client hands back: named numpy arrays with their units, and what the server says of its models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dichroic.wire import NDArray


@dataclass(frozen=True)
class ModelIdentity:
    """Which model answered. Equal digests give equal answers.

    Attributes:
        name: the bundle's name, such as "domains".
        version: the bundle's version, >= 1.
        digest: SHA-256 of the manifest in canonical form, 64 hexadecimal digits; empty where the manifest could not be read.
    """

    name: str
    version: int
    digest: str


@dataclass(frozen=True, eq=False)
class Encoding:
    """Pose and content of n images, in their order. Pose is the object's, about the image's centre, row 0 at the top.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        content: (n, d) float32, posterior mean of the content latents, unit 1, prior N(0, 1); d may be 0.
        content_sd: (n, d) float32, its posterior standard deviation, of the latent, without pixel noise.
        latent_mean: (n, L) float32, posterior mean of every raw latent, in the order of the manifest's `latent.latent_names`.
        latent_sd: (n, L) float32, its posterior standard deviation.
        angle_rad: (n,) float32, counter-clockwise, in [-pi, pi]. None for a model without a rotation latent.
        angle_sd_rad: (n,) float32, its posterior standard deviation, without pixel noise. None as angle_rad.
        scale: (n,) float32, ratio to the training object's size, > 0, > 1 is larger. None for a model without a scale latent.
        shift_down_px: (n,) float32, input-image pixels towards higher row numbers. None for a model without a translation latent.
        shift_right_px: (n,) float32, input-image pixels towards higher column numbers. None as shift_down_px.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    content: NDArray
    content_sd: NDArray
    latent_mean: NDArray
    latent_sd: NDArray
    angle_rad: NDArray | None = None
    angle_sd_rad: NDArray | None = None
    scale: NDArray | None = None
    shift_down_px: NDArray | None = None
    shift_right_px: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Decoding:
    """The images that n latents say.

    Attributes:
        model: which model answered, for every row.
        images: (n, h, w) or (n, h, w, c) float32, in the unit of the training data: the likelihood's mean.
    """

    model: ModelIdentity
    images: NDArray


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Each of n images as the model sees it, and how far off that is.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        reconstruction: (n, h, w) or (n, h, w, c) float32, in the unit of the training data.
        error: (n,) float32, mean over pixels and channels of the squared difference, scaled so that the model's input range is [0, 1]; >= 0.
        error_threshold: the error that a share `novel_false_alarm_rate` of the held-out images exceed. None where not calibrated.
        novel_false_alarm_rate: that share, in (0, 1). None where not calibrated.
        novel: (n,) bool, error > error_threshold: the model has probably not seen the like. None where not calibrated.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    reconstruction: NDArray
    error: NDArray
    error_threshold: float | None = None
    novel_false_alarm_rate: float | None = None
    novel: NDArray | None = None


@dataclass(frozen=True)
class ModelSummary:
    """A version in one line.

    Attributes:
        model: name, version and digest.
        kind: "latent", "mechanism" or "transition"; empty when the manifest could not be read.
        state: "loading", "ready", "failed" or "unloaded".
        state_detail: for "failed" the step that refused it and why, for people.
        is_default: true for the version that a request without a version gets.
    """

    model: ModelIdentity
    kind: str
    state: str
    state_detail: str
    is_default: bool


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor is.

    Attributes:
        name: as in the answer's attribute where there is one.
        dtype: numpy's name of the element type, such as "float32".
        shape: axis lengths, outermost first; -1 for the batch axis, which is always the first.
        axes: the meaning of each axis, such as "batch", "row", "column".
        unit: of the values: "rad", "px", "1" for none, or the training data's own.
        range_low: least value expected, in `unit`; -inf where not bounded.
        range_high: greatest value expected, in `unit`; inf where not bounded.
        meaning: a sentence for people.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    unit: str
    range_low: float
    range_high: float
    meaning: str


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one capability: "decode", or with the image's dtype after a dot, "encode.uint8"."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class ModelInfo:
    """Everything a client needs to know of one version.

    Attributes:
        model: name, version and digest.
        kind: "latent", "mechanism" or "transition".
        device: "cpu" or "cuda".
        device_is_fallback: true when the server looked for a GPU and fell back to the CPU.
        max_message_bytes: the largest message the server receives.
        signatures: what each capability takes and gives, sorted by name.
        manifest: the bundle's manifest as parsed JSON (docs/bundle-format.md).
        model_card: Markdown: training data, licence, figures, limits.
    """

    model: ModelIdentity
    kind: str
    device: str
    device_is_fallback: bool
    max_message_bytes: int
    signatures: tuple[Signature, ...]
    manifest: dict[str, Any]
    model_card: str
