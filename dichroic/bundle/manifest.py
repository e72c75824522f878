"""What `bundle.json` may hold, field by field. Unknown fields are refused: a reader that ignores a field may compute a wrong answer."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dichroic.bundle.files import MANIFEST_NAME, MAX_VERSION, MODEL_NAME

# Major.minor. Anything that can change a number a bundle answers is a major change.
FORMAT_VERSION = "1.0"
# A row is an image, a spectrum or latents; more is a mistake, or an attack on the server's memory.
MAX_ROW_ELEMENTS = 1 << 28

Name = Annotated[str, StringConstraints(pattern=MODEL_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SignatureName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9]{1,16})?$")]
Axis = Annotated[int, Field(ge=0, le=1 << 24)]
DType = Literal["uint8", "uint16", "int64", "float32", "float64", "bool"]
ITEM_BYTES = {"uint8": 1, "uint16": 2, "int64": 8, "float32": 4, "float64": 8, "bool": 1}
Kind = Literal["latent", "mechanism", "transition"]
Invariance = Literal["rotation", "translation", "scale"]


class Section(BaseModel):
    """Frozen, closed, and without NaN: JSON has none, and a NaN in a manifest is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class FileEntry(Section):
    """One file of the bundle besides bundle.json."""

    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class TensorSpec(Section):
    """One input or output of a graph.

    `shape` has the batch axis by its name "n" and always first; `range_low`/`range_high` are None where not bounded.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    dtype: DType
    shape: Annotated[tuple[Literal["n"] | Axis, ...], Field(min_length=1, max_length=8)]
    axes: tuple[str, ...]
    unit: Annotated[str, StringConstraints(min_length=1)]
    range_low: float | None = None
    range_high: float | None = None
    meaning: Annotated[str, StringConstraints(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shape[0] != "n" or "n" in self.shape[1:]:
            raise ValueError(f"{self.name}: the first axis, and no other, is the batch axis 'n', not {self.shape}")
        if math.prod(self.row_shape) > MAX_ROW_ELEMENTS:
            raise ValueError(f"{self.name}: a row of shape {self.row_shape} has more than {MAX_ROW_ELEMENTS} elements")
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{self.name}: {len(self.axes)} axis names for {len(self.shape)} axes")
        if self.range_low is not None and self.range_high is not None and self.range_low > self.range_high:
            raise ValueError(f"{self.name}: range_low {self.range_low} is above range_high {self.range_high}")
        return self

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row, without the batch axis."""
        return tuple(int(length) for length in self.shape[1:])


class Signature(Section):
    """One capability's graph. `max_batch`: the most rows one run may take (bounds the memory of intermediate results)."""

    graph: str
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    max_batch: Annotated[int, Field(ge=1, le=65536)]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of every input and output."""
        return sum(math.prod(spec.row_shape) * ITEM_BYTES[spec.dtype] for spec in (*self.inputs, *self.outputs))

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for tensors in (self.inputs, self.outputs):
            names = [tensor.name for tensor in tensors]
            if len(set(names)) != len(names):
                raise ValueError(f"{self.graph}: two inputs or two outputs have one name: {names}")
        return self


class Preprocessing(Section):
    """How image values enter the encoder, all inside the graph: (value - input_low) / (input_high - input_low), then clipped if `clip`.

    Per channel, in `unit`. `integer_images`: "full_scale" maps 0..(greatest value of the dtype) onto input_low..input_high before that;
    "value" takes integers as values in `unit` (detector counts).
    """

    unit: Annotated[str, StringConstraints(min_length=1)]
    input_low: Annotated[tuple[float, ...], Field(min_length=1)]
    input_high: Annotated[tuple[float, ...], Field(min_length=1)]
    clip: bool
    integer_images: Literal["full_scale", "value"]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if len(self.input_low) != len(self.input_high):
            raise ValueError("input_low and input_high have one value for each channel")
        if any(low >= high for low, high in zip(self.input_low, self.input_high, strict=True)):
            raise ValueError(f"input_low {self.input_low} must lie below input_high {self.input_high} in every channel")
        return self


class Metric(Section):
    """One figure of merit, measured on data the model never saw (`split` says which)."""

    name: Annotated[str, StringConstraints(min_length=1)]
    value: float
    unit: Annotated[str, StringConstraints(min_length=1)]
    split: Annotated[str, StringConstraints(min_length=1)]
    meaning: Annotated[str, StringConstraints(min_length=1)]


class Quantile(Section):
    """`value` is exceeded by a share `1 - probability` of the held-out rows."""

    probability: Annotated[float, Field(gt=0, lt=1)]
    value: float


class ErrorCalibration(Section):
    """Quantiles of a per-image error on held-out images."""

    count: Annotated[int, Field(ge=1)]
    split: Annotated[str, StringConstraints(min_length=1)]
    quantiles: Annotated[tuple[Quantile, ...], Field(min_length=1)]


class Calibration(Section):
    """What was checked on held-out data before the bundle was written."""

    reconstruction_error: ErrorCalibration | None = None


class TrainingData(Section):
    """Where the numbers came from. `sha256`: of the data file, or of the arrays a generator made."""

    source: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)]
    sha256: tuple[Sha256, ...] = Field(min_length=1)


class Producer(Section):
    """Who wrote the bundle. Not part of the digest."""

    git_commit: str
    packages: dict[str, str]
    timings_s: dict[str, float] = Field(default_factory=dict)


class LatentSection(Section):
    """The latent room's own facts.

    `pose_convention` names how pose is reported; the only one so far is "object-ccw-row0-top": the object's own pose, angle
    counter-clockwise with row 0 at the top, scale > 1 larger, shift in input-image pixels down and right, about the image's centre.
    """

    invariances: tuple[Invariance, ...]
    image_height_px: Annotated[int, Field(ge=2)]
    image_width_px: Annotated[int, Field(ge=2)]
    channels: Annotated[int, Field(ge=1)]
    channel_names: tuple[str, ...] = ()
    pixel_size_nm: Annotated[float, Field(gt=0)] | None = None
    content_size: Annotated[int, Field(ge=0)]
    latent_names: Annotated[tuple[str, ...], Field(min_length=1)]
    pose_convention: Literal["object-ccw-row0-top"] = "object-ccw-row0-top"
    rotation_prior_sd_rad: Annotated[float, Field(gt=0)] | None = None
    shift_prior_sd: Annotated[float, Field(gt=0)] | None = None
    scale_prior_log_sd: Annotated[float, Field(gt=0)] | None = None
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"]
    novelty_threshold: float | None = None
    novelty_false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for names in (self.invariances, self.latent_names, self.channel_names):
            if len(set(names)) != len(names):
                raise ValueError(f"a name stands twice in {names}")
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"{len(self.channel_names)} channel names for {self.channels} channels")
        if self.content_size > len(self.latent_names):
            raise ValueError(f"content_size {self.content_size} is more than the {len(self.latent_names)} latents")
        if (self.novelty_threshold is None) != (self.novelty_false_alarm_rate is None):
            raise ValueError("novelty_threshold and novelty_false_alarm_rate are given together or not at all")
        return self


class Manifest(Section):
    """The whole of bundle.json."""

    format_version: Annotated[str, StringConstraints(pattern=r"^1\.(0|[1-9][0-9]{0,3})$")]
    name: Name
    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    kind: Kind
    created_time: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
    producer: Producer
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1)]
    signatures: Annotated[dict[SignatureName, Signature], Field(min_length=1)]
    preprocessing: Preprocessing | None = None
    metrics: tuple[Metric, ...] = ()
    calibration: Calibration = Calibration()
    training_data: TrainingData
    latent: LatentSection | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        paths = {entry.path for entry in self.files}
        # Also not in another case: on Windows and macOS that is the same file.
        if len({path.lower() for path in paths}) != len(self.files):
            raise ValueError("files: a path is listed twice")
        if MANIFEST_NAME in {path.lower() for path in paths}:
            raise ValueError(f"files: {MANIFEST_NAME} cannot hold its own hash")
        for name, signature in self.signatures.items():
            if signature.graph not in paths:
                raise ValueError(f"signatures.{name}: its graph {signature.graph!r} is not among the files")
        if (self.kind == "latent") != (self.latent is not None):
            raise ValueError("a bundle of kind 'latent', and no other, has the section 'latent'")
        if self.latent is not None and self.preprocessing is None:
            raise ValueError("a bundle of kind 'latent' has the section 'preprocessing'")
        if self.latent is not None and self.preprocessing is not None and len(self.preprocessing.input_low) != self.latent.channels:
            raise ValueError(f"preprocessing has {len(self.preprocessing.input_low)} channels, latent has {self.latent.channels}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON without version, created_time and producer: equal digests answer equally.

        Of the fields that bundle.json holds, and no others: a default that a later reader adds must not change an old bundle's digest.
        """
        facts = self.model_dump(mode="json", exclude={"version", "created_time", "producer"}, exclude_unset=True)
        return hashlib.sha256(canonical_json(facts).encode("utf-8")).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, UTF-8, finite numbers only: the same facts give the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def bound(value: float | None, *, low: bool) -> float:
    """A range's end as a number: None is minus or plus infinity."""
    return value if value is not None else (-math.inf if low else math.inf)
