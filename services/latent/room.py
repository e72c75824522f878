"""Encode, decode, reconstruct: from a caller's arrays to a bundle's signatures and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from dichroic.bundle import LatentSection
from dichroic.errors import InvalidTensorError, UnsupportedCapabilityError
from services.engine.model import ServingModel, check_array
from services.engine.repository import Repository
from services.latent.answers import Decoded, Encoded, Identity, Reconstructed

NDArray = np.ndarray[Any, np.dtype[Any]]

IMAGE_DTYPES = {np.dtype(name): name for name in ("uint8", "uint16", "float32")}
POSE_DEFAULTS = {"angle_rad": 0.0, "scale": 1.0, "shift_down_px": 0.0, "shift_right_px": 0.0}


class LatentRoom:
    """The latent capability over a repository. Deadlines are in the event loop's time, seconds."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def encode(self, model_name: str, model_version: int, images: NDArray, deadline: float) -> Encoded:
        """Images to pose and content.

        Args:
            model_name: the bundle's name.
            model_version: ≥ 1, or 0 for the highest that serves.
            images: (n, h, w[, c]) uint8, uint16 or float32.
            deadline: in the event loop's time, seconds.

        Raises:
            DichroicError: the errors that LatentService's comment in the proto lists.
        """
        with self._latent(model_name, model_version) as (model, _):
            outputs = await model.run(f"encode.{_image_dtype(images)}", {"images": images}, deadline)
            pose = {name: outputs.get(name) for name in (*POSE_DEFAULTS, "angle_sd_rad", "content", "content_sd")}
            return Encoded(_identity(model), latent_mean=outputs["latent_mean"], latent_sd=outputs["latent_sd"], **pose)

    async def decode(self, model_name: str, model_version: int, latents: Mapping[str, NDArray], deadline: float) -> Decoded:
        """Content and pose to images.

        Args:
            model_name: the bundle's name.
            model_version: ≥ 1, or 0 for the highest that serves.
            latents: any of content (n, d), angle_rad, scale, shift_down_px, shift_right_px (n,), float32; at least one. What is not given is
                the prior's mean: zeros, and 1 for the scale.
            deadline: in the event loop's time, seconds.

        Raises:
            DichroicError: as encode.
        """
        with self._latent(model_name, model_version) as (model, latent):
            outputs = await model.run("decode", _decoder_inputs(model, latent, latents), deadline)
            return Decoded(_identity(model), outputs["images"])

    async def reconstruct(self, model_name: str, model_version: int, images: NDArray, deadline: float) -> Reconstructed:
        """Images to themselves by way of the latents, with each one's error. Arguments and errors as encode."""
        with self._latent(model_name, model_version) as (model, latent):
            outputs = await model.run(f"reconstruct.{_image_dtype(images)}", {"images": images}, deadline)
            error, threshold = outputs["error"], latent.novelty_threshold
            return Reconstructed(
                _identity(model),
                outputs["reconstruction"],
                error,
                error_threshold=threshold or 0.0,
                novel_false_alarm_rate=latent.novelty_false_alarm_rate or 0.0,
                novel=None if threshold is None else error > threshold,
            )

    @contextmanager
    def _latent(self, name: str, version: int) -> Iterator[tuple[ServingModel, LatentSection]]:
        with self._repository.lease(name, version) as model:
            if model.manifest.latent is None:
                raise UnsupportedCapabilityError(
                    f"Model {name!r} is of kind {model.manifest.kind!r}; this needs one of kind 'latent'.", field="model_name"
                )
            yield model, model.manifest.latent


def _identity(model: ServingModel) -> Identity:
    return Identity(model.manifest.name, model.manifest.version, model.bundle.digest)


def _image_dtype(images: NDArray) -> str:
    name = IMAGE_DTYPES.get(images.dtype)
    if name is None:
        raise InvalidTensorError(f"images are {images.dtype.name}; send uint8, uint16 or float32.", field="images")
    return name


def _decoder_inputs(model: ServingModel, latent: LatentSection, given: Mapping[str, NDArray]) -> dict[str, NDArray]:
    specs = {spec.name: spec for spec in model.signature("decode").inputs}
    extra = sorted(given.keys() - specs.keys())
    if extra:
        why = "has no content latents" if extra == ["content"] else f"has no pose (its invariances are {list(latent.invariances) or 'none'})"
        raise InvalidTensorError(f"{extra[0]} was given, but the model {why}. Leave it out.", field=extra[0])
    if not given:
        first = next(iter(specs))
        raise InvalidTensorError(f"No latents were given; give at least one of {', '.join(specs)}.", field=first)
    # Before anything is made of their number of rows: a few bytes can claim a great many.
    for name, array in given.items():
        check_array(specs[name], array)
    rows = len(next(iter(given.values())))
    model.check_rows("decode", rows)
    scale = given.get("scale")
    if scale is not None and np.any(scale <= 0):
        row = int(np.argmax(scale <= 0))
        raise InvalidTensorError(f"scale of row {row} is {scale[row]:g}; a scale is greater than 0.", field="scale", row=row)
    return {name: given[name] if name in given else _prior_mean(name, rows, latent.content_size) for name in specs}


def _prior_mean(name: str, rows: int, content_size: int) -> NDArray:
    if name == "content":
        return np.zeros((rows, content_size), dtype=np.float32)
    return np.full(rows, POSE_DEFAULTS[name], dtype=np.float32)
