"""What the server says of its models, read from the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dichroic.client.answers import ModelIdentity, ModelInfo, ModelSummary, Signature, TensorSpec
from dichroic.errors import InternalError
from dichroic.v1 import array_pb2, models_pb2
from dichroic.wire import DTYPE_NAMES


def identity_of(message: models_pb2.ModelIdentity) -> ModelIdentity:
    """Which model answered."""
    return ModelIdentity(message.name, message.version, message.digest)


def summaries_of(response: models_pb2.ListModelsResponse) -> list[ModelSummary]:
    """Every version the server knows, in the server's order: by name, then by version."""
    return [
        ModelSummary(identity_of(model.model), model.kind, _state(model.state), model.state_detail, model.is_default) for model in response.models
    ]


def info_of(response: models_pb2.GetModelResponse) -> ModelInfo:
    """One version in full.

    Raises:
        InternalError: the server sent a manifest that is not a JSON object.
    """
    try:
        manifest = json.loads(response.manifest_json)
    except ValueError as error:
        raise InternalError(f"The server sent a manifest that is not JSON: {error}.") from error
    if not isinstance(manifest, dict):
        raise InternalError("The server sent a manifest that is not a JSON object.")
    return ModelInfo(
        model=identity_of(response.model),
        kind=response.kind,
        device=response.device,
        device_is_fallback=response.device_is_fallback,
        max_message_bytes=response.max_message_bytes,
        signatures=tuple(Signature(sig.name, _specs(sig.inputs), _specs(sig.outputs)) for sig in response.signatures),
        manifest=manifest,
        model_card=response.model_card,
    )


def _specs(messages: Iterable[models_pb2.TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=spec.name,
            dtype=_dtype_name(spec.dtype),
            shape=tuple(spec.shape),
            axes=tuple(spec.axes),
            unit=spec.unit,
            range_low=spec.range_low,
            range_high=spec.range_high,
            meaning=spec.meaning,
        )
        for spec in messages
    )


def _dtype_name(number: array_pb2.DataType.ValueType) -> str:
    # A newer server may know more element types than this client.
    return DTYPE_NAMES.get(number, f"dtype {number}")


def _state(number: models_pb2.ModelState.ValueType) -> str:
    try:
        return models_pb2.ModelState.Name(number).removeprefix("MODEL_STATE_").lower()
    except ValueError:
        return f"state {number}"
