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
    """Pose, content and class of n images, or spectra, in their order. Pose is the object's, about the image's centre, row 0 at the top.

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
        class_probabilities: (n, K) float32, rows sum to 1, in the order of the manifest's `latent.class_names`. None for a model without classes.
        class_index: (n,) int64, the most probable class. None as class_probabilities.
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
    class_probabilities: NDArray | None = None
    class_index: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Decoding:
    """The images, or spectra, that n latents say.

    Attributes:
        model: which model answered, for every row.
        images: (n, h, w) or (n, h, w, c) float32, in the unit of the training data: the likelihood's mean. None for a model that gives spectra.
        spectra: (n, l) or (n, l, c) float32, likewise. None for a model that gives images.
    """

    model: ModelIdentity
    images: NDArray | None = None
    spectra: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Manifold:
    """A grid of decoded images, or spectra, over two content latents.

    Attributes:
        model: which model answered.
        values_1: (count_1,) float32, ascending: the first axis' content latent in each row of the grid, from the top.
        values_2: (count_2,) float32, ascending: the second axis' content latent in each column of the grid, from the left.
        images: (count_1, count_2, h, w) or (count_1, count_2, h, w, c) float32, in the unit of the training data. None for a model that gives
            spectra.
        spectra: (count_1, count_2, l) or (count_1, count_2, l, c) float32, likewise. None for a model that gives images.
    """

    model: ModelIdentity
    values_1: NDArray
    values_2: NDArray
    images: NDArray | None = None
    spectra: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Classification:
    """Which class each of n images, or spectra, shows.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        class_probabilities: (n, K) float32, rows sum to 1, in the order of class_names.
        class_index: (n,) int64, the most probable class.
        class_names: the K classes.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    class_probabilities: NDArray
    class_index: NDArray
    class_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Regression:
    """The targets of n images, or spectra.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        target_mean: (n, t) float32, the expected value of each target, in its unit.
        target_sd: (n, t) float32, its standard deviation, in its unit: of the observable, noise included.
        names: the t targets.
        units: the unit of each; "1" for none.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    target_mean: NDArray
    target_sd: NDArray
    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Each of n images as the model sees it, and how far off that is.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        reconstruction: (n, h, w) or (n, h, w, c), of spectra (n, l) or (n, l, c), float32, in the unit of the training data.
        error: (n,) float32, mean over pixels and channels of the squared difference, scaled so that the model's input range is [0, 1]; >= 0.
        error_threshold: the error that a share `novel_false_alarm_rate` of the held-out images exceed. None where not calibrated.
        novel_false_alarm_rate: that share, in (0, 1). None where not calibrated.
        novel: (n,) bool, error > error_threshold: the model has probably not seen the like. None where not calibrated.
        p_value: (n,) float32 in (0, 1]: the share of held-out images with at least this error, the image itself counted. None where not calibrated.
        class_probabilities: (n, K) float32, rows sum to 1. None for a model without classes.
        class_index: (n,) int64, the most probable class. None as class_probabilities.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    reconstruction: NDArray
    error: NDArray
    error_threshold: float | None = None
    novel_false_alarm_rate: float | None = None
    novel: NDArray | None = None
    p_value: NDArray | None = None
    class_probabilities: NDArray | None = None
    class_index: NDArray | None = None


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
