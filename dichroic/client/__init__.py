"""The client: images to pose and content, and back, from a Dichroic server. `Client` blocks, `AsyncClient` is awaited; both do the same."""

from dichroic.client.answers import Decoding, Encoding, ModelIdentity, ModelInfo, ModelSummary, Reconstruction, Signature, TensorSpec
from dichroic.client.asynchronous import AsyncClient
from dichroic.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Decoding",
    "Encoding",
    "ModelIdentity",
    "ModelInfo",
    "ModelSummary",
    "Reconstruction",
    "Signature",
    "TensorSpec",
]
