"""What a bundle is drawn on: the file given, or fresh data from the generator that drew its training data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import Array, DataSet
from training.data.domains import draw_domains
from training.data.patches import cut_patches
from training.data.readers import read_data
from training.errors import InputError
from training.report.graphs import LatentGraphs

_CARDS_PER_SUIT = 100
_GENERATOR = re.compile(r"draw_(cards|domains)\(((?:[^()]|\([^()]*\))*)\)")


@dataclass(frozen=True)
class Scan:
    """One image that patches were cut from: `image` (h, w[, c]) in the model's unit, and each patch's corner, pixels."""

    image: Array
    top_px: Array
    left_px: Array


@dataclass(frozen=True)
class Subjects:
    """Images to draw the model on.

    Attributes:
        images: (n, h, w[, c]), of the model's size, as the graphs take them.
        name: what they are, for titles.
        labels: (n,) index into `classes`; None where there are no classes.
        classes: names of the classes.
        symmetry_order: of each class.
        truth: drawn poses by the names of `encode`'s outputs, (n,) each; empty where the truth is not known.
        scan: where the patches lie, when they were cut from one image.
    """

    images: Array
    name: str
    labels: Array | None = None
    classes: tuple[str, ...] = ()
    symmetry_order: tuple[int, ...] = ()
    truth: dict[str, Array] | None = None
    scan: Scan | None = None


def subjects_from_file(graphs: LatentGraphs, path: Path, channel: str | None) -> Subjects:
    """The file's images where they have the model's size, patches of its first image where they are larger.

    Raises:
        InputError: those of reading; NO_IMAGES, UNITS_DIFFER, IMAGES_TOO_SMALL or CHANNELS_DIFFER.
    """
    data = read_data(path, channel)
    unit = graphs.preprocessing.unit
    if data.unit not in {"unknown", unit}:
        raise InputError("UNITS_DIFFER", f"{path.name} has values in {data.unit}, the model was trained on values in {unit}; choose another channel.")
    return _subjects(graphs, data, path.name)


def fresh_subjects(graphs: LatentGraphs, seed: int) -> Subjects | None:
    """New drawings with the options that the training data was drawn with; None when it was not drawn here."""
    source = graphs.manifest.training_data.source
    found = _GENERATOR.search(source)
    if found is None:
        return None
    try:
        options = _options(found.group(2))
        if found.group(1) == "domains":
            return _subjects(graphs, draw_domains(**options | {"seed": seed}), f"a freshly drawn scan (seed {seed})")
        cards = draw_cards(**options | {"n_per_suit": _CARDS_PER_SUIT, "seed": seed, "stream": "test"})
    except (SyntaxError, ValueError, TypeError):  # written by another version of the generator, or by hand
        return None
    return _subjects(graphs, cards, f"freshly drawn cards (test stream, seed {seed})")


def in_unit(graphs: LatentGraphs, images: Array) -> Array:
    """Images as float32 in the training data's unit, whatever integers stand for."""
    if images.dtype == np.float32 or graphs.preprocessing.integer_images == "value":
        return images.astype(np.float32)
    low, high = (np.asarray(ends, np.float32) for ends in (graphs.preprocessing.input_low, graphs.preprocessing.input_high))
    scaled = (images if images.ndim == 4 else images[..., None]) / np.float32(np.iinfo(images.dtype).max) * (high - low) + low
    return scaled.reshape(images.shape).astype(np.float32)


def _options(text: str) -> dict[str, Any]:
    """Keyword arguments as the generator wrote them into its source: numbers, text and pairs, nothing evaluated."""
    call = ast.parse(f"f({text})", mode="eval").body
    return {word.arg: ast.literal_eval(word.value) for word in getattr(call, "keywords", []) if word.arg is not None}


def _subjects(graphs: LatentGraphs, data: DataSet, name: str) -> Subjects:
    latent = graphs.latent
    images = data.arrays.get("images", data.arrays.get("frames"))
    if images is None:
        raise InputError("NO_IMAGES", f"{name} holds no images; it holds {', '.join(sorted(data.arrays))}.")
    if latent.channels == 1 and images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    channels = images.shape[3] if images.ndim == 4 else 1
    if channels != latent.channels:
        raise InputError("CHANNELS_DIFFER", f"{name} has images of {channels} channels, the model takes {latent.channels}.")
    size = (latent.image_height_px, latent.image_width_px)
    if images.shape[1:3] != size:
        return _patches(graphs, images[0], name)
    labels = data.arrays.get("labels")
    truth = {key.removeprefix("truth_"): data.arrays[key] for key in data.arrays if key.startswith("truth_") and data.arrays[key].ndim == 1}
    drawn = bool(truth) and labels is not None
    return Subjects(
        images,
        name,
        labels if drawn else None,
        SUITS if drawn else (),
        tuple(SYMMETRY_ORDER[suit] for suit in SUITS) if drawn else (),
        truth if drawn else None,
    )


def _patches(graphs: LatentGraphs, image: Array, name: str) -> Subjects:
    height, width = graphs.latent.image_height_px, graphs.latent.image_width_px
    if min(image.shape[:2]) < max(height, width) or height != width:
        raise InputError(
            "IMAGES_TOO_SMALL",
            f"{name} has images of {image.shape[0]} × {image.shape[1]} px; the model takes {height} × {width} px, or, if square, larger ones.",
        )
    patches = cut_patches(image, height, max(1, height // 6))
    return Subjects(patches.images, f"patches of {name}", scan=Scan(in_unit(graphs, image), patches.top_px, patches.left_px))
