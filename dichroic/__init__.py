"""Dichroic: what is in the image, from a model server for running microscopes.

    from dichroic import Client

    with Client("microscope-gpu:50051") as client:
        encoding = client.encode("domains", images)

This package is the client and what it shares with the server: bundles (`dichroic.bundle`), errors (`dichroic.errors`), the wire (`dichroic.v1`).
"""

from dichroic.client import (
    AsyncClient,
    AsyncSession,
    Classification,
    Client,
    Decoding,
    Encoding,
    FrameEncoding,
    LatentMap,
    Manifold,
    ModelIdentity,
    ModelInfo,
    ModelSummary,
    Observation,
    Plan,
    Prediction,
    Reconstruction,
    Regression,
    ScaleSpectrum,
    Session,
    SessionDeleted,
    SessionMade,
    Signature,
    StreamedFrame,
    StreamFrame,
    Suggestion,
    TensorSpec,
    Transitions,
)
from dichroic.errors import DichroicError

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Classification",
    "Client",
    "Decoding",
    "DichroicError",
    "Encoding",
    "FrameEncoding",
    "LatentMap",
    "Manifold",
    "ModelIdentity",
    "ModelInfo",
    "ModelSummary",
    "Observation",
    "Plan",
    "Prediction",
    "Reconstruction",
    "Regression",
    "ScaleSpectrum",
    "Session",
    "SessionDeleted",
    "SessionMade",
    "Signature",
    "StreamFrame",
    "StreamedFrame",
    "Suggestion",
    "TensorSpec",
    "Transitions",
]
__version__ = "0.1.0"
