"""What GET /v1/models answers: the facts of models.proto, with numbers as numbers and the manifest as an object."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

from services.engine.model import ServingModel
from services.engine.repository import Entry, Repository
from services.settings import Settings
from services.transport.http_bodies import ModelName


class ModelLine(BaseModel):
    """A version in one line."""

    model: ModelName
    kind: str = Field(description="latent, mechanism or transition; empty while it could not be read.")
    state: str = Field(description="loading, ready, failed or unloaded.")
    state_detail: str = Field(description="The step that refused it and why; empty otherwise.")
    is_default: bool = Field(description="True for the version that a request without a version gets.")


class ModelList(BaseModel):
    """Every version, sorted by name, then version."""

    models: list[ModelLine]


class ModelDetails(BaseModel):
    """One version in full."""

    model: ModelName
    kind: str
    device: str
    device_is_fallback: bool = Field(description="True when device 'auto' found no GPU.")
    max_message_bytes: int = Field(description="The largest request received; a larger one is answered 413.")
    manifest: dict[str, Any] = Field(description="bundle.json, as docs/bundle-format.md describes it: signatures, metrics, calibration and all.")
    model_card: str = Field(description="Markdown.")


class ModelNames(BaseModel):
    """The versions a call was about."""

    models: list[ModelName]


def name_of(model: ServingModel) -> ModelName:
    """Name, version, digest."""
    return ModelName(name=model.manifest.name, version=model.manifest.version, digest=model.bundle.digest)


def line(entry: Entry, repository: Repository) -> ModelLine:
    """A version in one line."""
    return ModelLine(
        model=name_of(entry.model) if entry.model else ModelName(name=entry.name, version=entry.version, digest=""),
        kind=entry.model.manifest.kind if entry.model else "",
        state=entry.state.value,
        state_detail=entry.detail,
        is_default=entry.model is not None and repository.default_version(entry.name) == entry.version,
    )


def in_full(model: ServingModel, repository: Repository, settings: Settings) -> ModelDetails:
    """Everything a client needs to know of one version."""
    return ModelDetails(
        model=name_of(model),
        kind=model.manifest.kind,
        device=repository.device.name,
        device_is_fallback=repository.device.fallback,
        max_message_bytes=settings.max_message_bytes,
        manifest=json.loads(model.manifest.model_dump_json()),
        model_card=model.bundle.model_card,
    )
