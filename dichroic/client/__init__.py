"""The client of a Dichroic server. `Client` blocks, `AsyncClient` is awaited; both do the same."""

from dichroic.client.answers import (
    Classification,
    Decoding,
    Encoding,
    Manifold,
    ModelIdentity,
    ModelInfo,
    ModelSummary,
    Reconstruction,
    Regression,
    Signature,
    TensorSpec,
)
from dichroic.client.async_session import AsyncSession
from dichroic.client.asynchronous import AsyncClient
from dichroic.client.frame_answers import FrameEncoding, LatentMap, ScaleSpectrum, StreamedFrame, StreamFrame
from dichroic.client.mechanism_answers import Observation, Prediction, SessionDeleted, SessionMade, Suggestion
from dichroic.client.session import Session
from dichroic.client.synchronous import Client
from dichroic.client.transition_answers import Plan, Transitions

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "Classification",
    "Client",
    "Decoding",
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
