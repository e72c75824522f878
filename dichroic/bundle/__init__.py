"""The bundle: the only thing that passes from training to services. See docs/bundle-format.md."""

from dichroic.bundle.files import MANIFEST_NAME, README_NAME, versions_in
from dichroic.bundle.manifest import (
    FORMAT_VERSION,
    Condition,
    LatentSection,
    Manifest,
    MechanismSection,
    Metric,
    Preprocessing,
    Signature,
    Target,
    TensorSpec,
    TrainingData,
    TransitionSection,
)
from dichroic.bundle.reader import Bundle, read_bundle
from dichroic.bundle.writer import write_bundle

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "README_NAME",
    "Bundle",
    "Condition",
    "LatentSection",
    "Manifest",
    "MechanismSection",
    "Metric",
    "Preprocessing",
    "Signature",
    "Target",
    "TensorSpec",
    "TrainingData",
    "TransitionSection",
    "read_bundle",
    "versions_in",
    "write_bundle",
]
