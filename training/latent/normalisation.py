"""How values of images and spectra become the networks' [0, 1], and which range that is."""

from __future__ import annotations

from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing
from training.errors import InputError
from training.recipe import Normalisation

Array = np.ndarray[Any, np.dtype[Any]]


def normalised(images: Array, preprocessing: Preprocessing, *, clip: bool | None = None) -> Array:
    """(v − low)/(high − low) per channel, float32, as the exported graphs compute it; clipped to [0, 1] as the preprocessing (or `clip`) says."""
    low = np.asarray(preprocessing.input_low, dtype=np.float32)
    span = np.asarray(preprocessing.input_high, dtype=np.float32) - low
    scaled = (images.astype(np.float32) - low) / span
    return np.clip(scaled, 0, 1) if (preprocessing.clip if clip is None else clip) else scaled


def preprocessing_of(chosen: Normalisation, train: Array, unit: str, *, clip: bool) -> Preprocessing:
    """The ends that a recipe gives, or percentiles of the training images (n, h, w, c) of each channel.

    Raises:
        InputError: INVALID_NORMALISATION.
    """
    if chosen.input_low is not None and chosen.input_high is not None:
        low, high = np.asarray(chosen.input_low, dtype=np.float64), np.asarray(chosen.input_high, dtype=np.float64)
    else:
        low, high = np.percentile(train.astype(np.float64), [chosen.low_percentile, chosen.high_percentile], axis=(0, 1, 2))
    low_32, high_32 = in_float32(low, high, train.shape[3])
    return Preprocessing(
        unit=unit or "unknown",
        input_low=tuple(float(value) for value in low_32),
        input_high=tuple(float(value) for value in high_32),
        clip=clip,
        integer_images=chosen.integer_images,
    )


def in_float32(low: Array, high: Array, channels: int) -> tuple[Array, Array]:
    """Both ends (c,) as float32.

    Raises:
        InputError: INVALID_NORMALISATION: they do not fit the channels, or are empty or endless.
    """
    # As float32 holds them: the graphs compute in float32, and the manifest must say the same numbers.
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused here
        low_32, high_32 = low.astype(np.float32), high.astype(np.float32)
        fits = len(low) == len(high) == channels and bool(np.all(np.isfinite(high_32 - low_32) & (low_32 < high_32)))
    if not fits:
        raise InputError(
            "INVALID_NORMALISATION",
            f"The input range {low.tolist()} to {high.tolist()} does not fit {channels} channel(s), or is empty or endless in float32; "
            "set input_low < input_high with one value for each channel in [normalisation], or wider percentiles.",
        )
    return low_32, high_32
