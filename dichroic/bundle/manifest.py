"""What `bundle.json` may hold, field by field. Unknown fields are refused: a reader that ignores a field may compute a wrong answer."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.bundle.files import MANIFEST_NAME, MAX_VERSION, MODEL_NAME
from dichroic.bundle.frames_section import DenseFrames, Frames, FrameStage
from dichroic.bundle.latent_section import Condition, Invariance, LatentSection, Target, TopologyAxis
from dichroic.bundle.mechanism_section import MechanismSection
from dichroic.bundle.section import Section
from dichroic.bundle.tensors import ITEM_BYTES, MAX_ROW_ELEMENTS, Signature, TensorSpec
from dichroic.bundle.transition_section import TrainedRange, TransitionSection

__all__ = [
    "FORMAT_VERSION",
    "ITEM_BYTES",
    "MAX_ROW_ELEMENTS",
    "Calibration",
    "Condition",
    "CoverageLevel",
    "DenseFrames",
    "ErrorCalibration",
    "FileEntry",
    "FrameStage",
    "Frames",
    "HopCalibration",
    "IntervalCoverage",
    "Invariance",
    "LatentSection",
    "Manifest",
    "MechanismSection",
    "Metric",
    "Preprocessing",
    "Producer",
    "Quantile",
    "ReliabilityBin",
    "Section",
    "Signature",
    "Target",
    "TensorSpec",
    "TopologyAxis",
    "TrainedRange",
    "TrainingData",
    "TransitionSection",
    "bound",
    "canonical_json",
]

# Major.minor. Anything that can change a number a bundle answers is a major change.
FORMAT_VERSION = "1.5"

Name = Annotated[str, StringConstraints(pattern=MODEL_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SignatureName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z0-9]{1,16})?$")]
Kind = Literal["latent", "mechanism", "transition"]


class FileEntry(Section):
    """One file of the bundle besides bundle.json."""

    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


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


class CoverageLevel(Section):
    """The central interval that should hold a share `probability` of the points held a share `covered`."""

    probability: Annotated[float, Field(gt=0, lt=1)]
    covered: Annotated[float, Field(ge=0, le=1)]


class IntervalCoverage(Section):
    """How often intervals held what was measured, y with its noise, at points the model never saw."""

    count: Annotated[int, Field(ge=1)]
    split: Annotated[str, StringConstraints(min_length=1)]
    levels: Annotated[tuple[CoverageLevel, ...], Field(min_length=1)]


class ReliabilityBin(Section):
    """Of `count` held-out states for which P(hop) was told to be `predicted` in the mean, a share `observed` hopped."""

    predicted: Annotated[float, Field(ge=0, le=1)]
    observed: Annotated[float, Field(ge=0, le=1)]
    count: Annotated[int, Field(ge=1)]


class HopCalibration(Section):
    """How often the atom hopped that was told to hop so often, at held-out states.

    `expected_calibration_error`: the mean over the bins of |predicted − observed|, weighted by their counts.
    """

    count: Annotated[int, Field(ge=1)]
    split: Annotated[str, StringConstraints(min_length=1)]
    expected_calibration_error: Annotated[float, Field(ge=0, le=1)]
    bins: Annotated[tuple[ReliabilityBin, ...], Field(min_length=1)]


class Calibration(Section):
    """What was checked on held-out data before the bundle was written.

    `reconstruction_error_sample`: of the `reconstruction_error.count` held-out errors in ascending order, up to 1000 at evenly spaced ranks, the
    least and the greatest among them; all of them where there are no more than 1000. The novelty p-value is made from it.
    """

    reconstruction_error: ErrorCalibration | None = None
    reconstruction_error_sample: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=1000)] = ()
    interval_coverage: IntervalCoverage | None = None
    hop_calibration: HopCalibration | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sample = self.reconstruction_error_sample
        count = 0 if self.reconstruction_error is None else self.reconstruction_error.count
        if sample and not 2 <= len(sample) <= count:
            raise ValueError(f"reconstruction_error_sample has {len(sample)} errors; 2 to all of the {count} that reconstruction_error counts")
        if any(low > high for low, high in pairwise(sample)):
            raise ValueError("reconstruction_error_sample is not in ascending order")
        return self


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
    mechanism: MechanismSection | None = None
    transition: TransitionSection | None = None

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
        return self

    @model_validator(mode="after")
    def _kinds_section(self) -> Self:
        for kind, section in (("latent", self.latent), ("mechanism", self.mechanism), ("transition", self.transition)):
            if (self.kind == kind) != (section is not None):
                raise ValueError(f"a bundle of kind {kind!r}, and no other, has the section {kind!r}")
        if self.latent is not None and self.preprocessing is None:
            raise ValueError("a bundle of kind 'latent' has the section 'preprocessing'")
        if self.latent is not None and self.preprocessing is not None and len(self.preprocessing.input_low) != self.latent.channels:
            raise ValueError(f"preprocessing has {len(self.preprocessing.input_low)} channels, latent has {self.latent.channels}")
        if self.latent is not None:
            self.latent.check_signatures(self.signatures)
        if self.mechanism is not None:
            self.mechanism.check_signatures(self.signatures)
        if self.transition is not None:
            self.transition.check_signatures(self.signatures)
        checked = {"mechanism": self.calibration.interval_coverage, "transition": self.calibration.hop_calibration}
        if self.kind in checked and checked[self.kind] is None:
            field = {"mechanism": "interval_coverage", "transition": "hop_calibration"}[self.kind]
            raise ValueError(f"a bundle of kind {self.kind!r} has calibration.{field}: without it nobody knows what its uncertainty is worth")
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
