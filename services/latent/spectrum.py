"""Latents of points against window length, and from which length on classes of points can be told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dichroic.errors import InvalidTensorError
from dichroic.separability import separation
from services.engine.model import Identity
from services.latent.answers import Bool, Float32, Int64
from services.latent.frames import FrameEncoder, LatentMap
from services.latent.inputs import NDArray
from services.latent.windows import Float64, Wanted, checked_centres, spectrum_windows, windows_of


@dataclass(frozen=True)
class Spectrum:
    """k windows, n points. Shapes and units as ScaleSpectrumResponse's fields of the same name; None where it says empty."""

    model: Identity
    window_px: Float64
    window_nm: Float64 | None
    stage: Int64
    valid: Bool
    invalid_count: int
    explained: Float32
    content: Float32 | None
    latent_mean: Float32
    latent_sd: Float32
    separability: Float64 | None
    separable_from_px: float
    separable_from_nm: float


@dataclass(frozen=True)
class Asked:
    """What a spectrum is asked with.

    Attributes:
        wanted: its centres are the points; without windows, 16 of them are chosen.
        labels: (n,) int64, the points' classes, -1 where not known; None: separability is not asked for.
    """

    wanted: Wanted
    labels: NDArray | None = None


async def scale_spectrum(encoder: FrameEncoder, identity: Identity, asked: Asked) -> Spectrum:
    """The points through windows of many lengths, by the model that has this identity.

    Raises:
        InvalidTensorError: no centres, or as checked_labels; otherwise as FrameEncoder.places and FrameEncoder.maps.
    """
    wanted, labels = asked.wanted, asked.labels
    if wanted.centres_px is None:
        raise InvalidTensorError("centres_px is missing: send the points, float64 (n, 2), (row, column) in pixels of the frame.", field="centres_px")
    if not (wanted.window_px or wanted.window_nm):
        # The pixel size and the stage are looked at first: the choice needs them.
        windows_of(encoder.frames, replace(wanted, window_px=(1.0,)), encoder.height, encoder.width)
        centres = checked_centres(wanted.centres_px, 0.0, encoder.height, encoder.width)
        chosen = spectrum_windows(encoder.frames, centres, wanted.pixel_size_nm, encoder.height, encoder.width)
        wanted = replace(wanted, window_px=chosen)
    places = encoder.places(wanted)
    if labels is not None:
        checked_labels(labels, places[0].count)
    maps = await encoder.maps(places, explain=True)
    found = {name: _stacked(maps, name) for name in ("valid", "explained", "content", "latent_mean", "latent_sd")}
    window_px = np.array([each.window_px for each in maps])
    separability, least = (None, 0.0) if labels is None else separation(window_px, [_told(each) for each in maps], found["valid"], labels)
    return Spectrum(
        model=identity,
        window_px=window_px,
        window_nm=np.array([each.window_nm for each in maps]) if wanted.pixel_size_nm else None,
        stage=np.array([each.stage for each in maps], dtype=np.int64),
        invalid_count=sum(each.invalid_count for each in maps),
        separability=separability,
        separable_from_px=least,
        separable_from_nm=least * wanted.pixel_size_nm,
        **found,
    )


def checked_labels(labels: NDArray, points: int) -> None:
    """Compares labels with the points.

    Raises:
        InvalidTensorError: another dtype or number, below -1, fewer than two classes of two points at least; names the row or the class.
    """
    if labels.dtype != np.int64 or labels.shape != (points,):
        found = f"{labels.dtype.name} of shape {labels.shape}"
        raise InvalidTensorError(f"labels is {found}; send int64 ({points},), one for each centre.", field="labels")
    if labels.min() < -1:
        row = int(np.argmax(labels < -1))
        raise InvalidTensorError(f"labels: row {row} is {labels[row]}; classes are 0 or more, and -1 is not known.", field="labels", row=row)
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    if len(classes) < 2:
        found = "1 class" if len(classes) else "0 classes"
        message = f"labels has {found}; telling classes apart needs two or more, of two points each. Labels are 0 or more, and -1 where not known."
        raise InvalidTensorError(message, field="labels")
    if counts.min() < 2:
        alone = classes[np.argmin(counts)]
        message = f"labels: class {alone} has one point, and without it no mean. Send two of every class at least, or -1 for it."
        raise InvalidTensorError(message, field="labels")


def _told(found: LatentMap) -> NDArray:
    """What classes may differ in, (n, d): the content, or of models without it every raw latent."""
    return found.content if found.content is not None and found.content.shape[1] else found.latent_mean


def _stacked(maps: tuple[LatentMap, ...], name: str) -> Any:
    values = [getattr(each, name) for each in maps]
    return None if values[0] is None else np.stack(values)
