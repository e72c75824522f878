"""The client: images to pose, content and class, and back, from a Dichroic server. `Client` blocks, `AsyncClient` is awaited; both do the same."""

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
from dichroic.client.asynchronous import AsyncClient
from dichroic.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "Decoding",
    "Encoding",
    "Manifold",
    "ModelIdentity",
    "ModelInfo",
    "ModelSummary",
    "Reconstruction",
    "Regression",
    "Signature",
    "TensorSpec",
]
