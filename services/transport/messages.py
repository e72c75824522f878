"""Answers and models as protobuf messages."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.manifest import bound
from dichroic.v1 import models_pb2
from dichroic.wire import DTYPE_NAMES, put_array
from services.engine.model import Identity, ServingModel
from services.engine.repository import Entry, Repository, State
from services.settings import Settings

STATES = {
    State.LOADING: models_pb2.MODEL_STATE_LOADING,
    State.READY: models_pb2.MODEL_STATE_READY,
    State.FAILED: models_pb2.MODEL_STATE_FAILED,
    State.UNLOADED: models_pb2.MODEL_STATE_UNLOADED,
}
Filled = TypeVar("Filled", bound=Message)
DTYPES = {name: number for number, name in DTYPE_NAMES.items()}


def fill(response: Filled, answer: object) -> Filled:
    """Writes a room's answer into its response: the same names, None leaves the field empty, a dataclass is a message of its own."""
    for name, value in vars(answer).items():
        if value is None:
            continue
        if isinstance(value, np.ndarray):
            put_array(getattr(response, name), value)
        elif isinstance(value, Identity):
            getattr(response, name).MergeFrom(identity(value))
        elif isinstance(value, tuple):
            field = getattr(response, name)
            for each in value:
                if is_dataclass(each):
                    fill(field.add(), each)
                else:
                    field.append(each)
        else:
            setattr(response, name, value)
    return response


def echo(request: Any, response: Filled) -> Filled:
    """Writes what an answer repeats of its request."""
    for name in ("frame_id", "acquisition_time_unix_ns"):
        setattr(response, name, getattr(request, name))
    return response


def identity(model: Identity) -> models_pb2.ModelIdentity:
    """Name, version, digest."""
    return models_pb2.ModelIdentity(name=model.name, version=model.version, digest=model.digest)


def identity_of(model: ServingModel) -> models_pb2.ModelIdentity:
    """Name, version, digest of a model in service."""
    return identity(model.identity)


def summary(entry: Entry, repository: Repository) -> models_pb2.ModelSummary:
    """A version in one line."""
    known = identity_of(entry.model) if entry.model else models_pb2.ModelIdentity(name=entry.name, version=entry.version)
    return models_pb2.ModelSummary(
        model=known,
        kind=entry.model.manifest.kind if entry.model else "",
        state=STATES[entry.state],
        state_detail=entry.detail,
        is_default=entry.model is not None and repository.default_version(entry.name) == entry.version,
    )


def details(model: ServingModel, repository: Repository, settings: Settings) -> models_pb2.GetModelResponse:
    """Everything a client needs to know of one version."""
    return models_pb2.GetModelResponse(
        model=identity_of(model),
        kind=model.manifest.kind,
        device=repository.device.name,
        device_is_fallback=repository.device.fallback,
        max_message_bytes=settings.max_message_bytes,
        signatures=[_signature(name, found) for name, found in sorted(model.manifest.signatures.items())],
        manifest_json=_manifest_json(model),
        model_card=model.bundle.model_card,
    )


def _manifest_json(model: ServingModel) -> str:
    return model.manifest.model_dump_json()


def _signature(name: str, signature: Signature) -> models_pb2.Signature:
    return models_pb2.Signature(name=name, inputs=map(_spec, signature.inputs), outputs=map(_spec, signature.outputs))


def _spec(spec: TensorSpec) -> models_pb2.TensorSpec:
    return models_pb2.TensorSpec(
        name=spec.name,
        dtype=DTYPES[spec.dtype],
        shape=[-1 if isinstance(length, str) else length for length in spec.shape],
        axes=spec.axes,
        unit=spec.unit,
        range_low=bound(spec.range_low, low=True),
        range_high=bound(spec.range_high, low=False),
        meaning=spec.meaning,
    )
