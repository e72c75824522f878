"""What a bundle is drawn on: the file given, or fresh data from the generator that drew its training data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import Array, DataSet
from training.data.domains import draw_domains
from training.data.patch_spectra import draw_patch_spectra
from training.data.patches import cut_patches
from training.data.readers import read_data
from training.data.stripes import draw_noise, draw_stripes
from training.errors import InputError
from training.report.arrays import conditions_of, outputs_of, taken, targets_of
from training.report.graphs import LatentGraphs
from training.report.scale_graphs import Frame
from training.report.scale_patches import last_stage_descriptors, resamples

_CARDS_PER_SUIT = 100
_PATCHES = 400
_GENERATOR = re.compile(r"draw_(cards|domains|patch_spectra|stripes|noise)\(((?:[^()]|\([^()]*\))*)\)")
# Of a truth that poses can be compared with.
_POSE = ("angle_rad", "scale", "shift_down_px", "shift_right_px")


@dataclass(frozen=True)
class Scan:
    """One image that patches were cut from: `image` (h, w[, c]) in the model's unit, and each patch's corner, pixels."""

    image: Array
    top_px: Array
    left_px: Array


@dataclass(frozen=True)
class Subjects:
    """Images or spectra to draw the model on.

    Attributes:
        values: (n, h, w[, c]) or (n, l[, c]), of the model's size, as the graphs take them.
        name: what they are, for titles.
        conditions: (n, k) float32 in their units; None for a model without any.
        targets: (n, t) in their units, NaN where not known; None where the data has none.
        outputs: (n, ...) float32 what the model should draw, in its unit, where another kind goes in; None where the data does not hold it.
        labels: (n,) index into `classes`; None where there are no classes.
        classes: names of the classes.
        symmetry_order: of each class.
        truth: drawn poses by the names of `encode`'s outputs, (n,) each; None where the truth is not known.
        scan: where the patches lie, when they were cut from one image without resampling.
        frame: the image that patches or descriptors were cut from.
    """

    values: Array
    name: str
    conditions: Array | None = None
    targets: Array | None = None
    outputs: Array | None = None
    labels: Array | None = None
    classes: tuple[str, ...] = ()
    symmetry_order: tuple[int, ...] = ()
    truth: dict[str, Array] | None = None
    scan: Scan | None = None
    frame: Frame | None = None

    @property
    def at_own_conditions(self) -> str:
        """For titles, ", each at its own conditions"; empty without conditions."""
        return ", each at its own conditions" if self.conditions is not None else ""


def subjects_from_file(graphs: LatentGraphs, path: Path, channel: str | None) -> Subjects:
    """The file's images or spectra where they have the model's size, patches of its first image where they are larger.

    Raises:
        InputError: those of reading; UNITS_DIFFER, and those of `_subjects`.
    """
    data = read_data(path, channel)
    unit = graphs.preprocessing.unit
    of_any_unit = graphs.latent.frames is not None and graphs.latent.frames.standardised
    if data.unit not in {"unknown", unit} and not of_any_unit:
        raise InputError("UNITS_DIFFER", f"{path.name} has values in {data.unit}, the model was trained on values in {unit}; choose another channel.")
    # No bundle says which rows of its file were held out.
    own = " (training rows among them)" if data.sha256 in graphs.manifest.training_data.sha256 else ""
    return _subjects(graphs, data, path.name + own)


def fresh_subjects(graphs: LatentGraphs, seed: int) -> Subjects | None:
    """New drawings with the options that the training data was drawn with.

    None when it was not drawn here, or when what is drawn lacks something that the model takes, such as conditions of the user's own.
    """
    found = _GENERATOR.search(graphs.manifest.training_data.source)
    if found is None:
        return None
    try:
        data, name = _drawn(found.group(1), _options(found.group(2)), seed)
    except (SyntaxError, ValueError, TypeError):  # written by another version of the generator, or by hand
        return None
    if [column.categories for column in graphs.latent.conditions] == [SUITS] and "labels" in data.arrays:
        data = replace(data, arrays=data.arrays | {"conditions": data.arrays["labels"][:, None]})
    try:
        return _subjects(graphs, data, name)
    except InputError:
        return None


def _drawn(generator: str, options: dict[str, Any], seed: int) -> tuple[DataSet, str]:
    """The data, and what it is called in titles."""
    if generator in {"stripes", "noise"}:
        other = seed + (seed == options["seed"])  # the training data has its seed
        draw = draw_stripes if generator == "stripes" else draw_noise
        return draw(**options | {"count": 1, "seed": other}), f"freshly drawn {generator} (seed {other})"
    if generator == "domains":
        return draw_domains(**options | {"seed": seed}), f"a freshly drawn scan (seed {seed})"
    own = f"(test stream, seed {seed})"
    if generator == "patch_spectra":
        return draw_patch_spectra(**options | {"count": _PATCHES, "seed": seed, "stream": "test"}), f"freshly drawn patches {own}"
    return draw_cards(**options | {"n_per_suit": _CARDS_PER_SUIT, "seed": seed, "stream": "test"}), f"freshly drawn cards {own}"


def in_unit(graphs: LatentGraphs, values: Array) -> Array:
    """Images or spectra as float32 in the training data's unit, whatever integers stand for."""
    if values.dtype == np.float32 or graphs.preprocessing.integer_images == "value":
        return values.astype(np.float32)
    low, high = (np.asarray(ends, np.float32) for ends in (graphs.preprocessing.input_low, graphs.preprocessing.input_high))
    scaled = (values if values.ndim == 4 else values[..., None]) / np.float32(np.iinfo(values.dtype).max) * (high - low) + low
    return scaled.reshape(values.shape).astype(np.float32)


def _options(text: str) -> dict[str, Any]:
    """Keyword arguments as the generator wrote them into its source: numbers, text and pairs, nothing evaluated."""
    call = ast.parse(f"f({text})", mode="eval").body
    return {word.arg: ast.literal_eval(word.value) for word in getattr(call, "keywords", []) if word.arg is not None}


def _subjects(graphs: LatentGraphs, data: DataSet, name: str) -> Subjects:
    """What the model takes, and what stands beside it.

    Raises:
        InputError: NO_IMAGES, NO_SPECTRA, CHANNELS_DIFFER, IMAGES_TOO_SMALL, SPECTRA_DIFFER, OUTPUTS_DIFFER, and those of conditions and targets.
    """
    values = taken(graphs, data, name)
    beside = conditions_of(graphs, data, name), targets_of(graphs, data, name)
    if graphs.latent.input_kind == "images" and values.shape[1:3] != graphs.taken_shape[:2]:
        image = Frame(in_unit(graphs, values[0][None])[0], name, _pixel_size(data))
        if resamples(graphs):
            return Subjects(last_stage_descriptors(graphs, image), f"windows of {name}", frame=image)
        return replace(_patches(graphs, values[0], beside, name), frame=image)
    found = Subjects(values, name, *beside, outputs_of(graphs, data, name))
    truth = {key.removeprefix("truth_"): data.arrays[key] for key in data.arrays if key.startswith("truth_") and data.arrays[key].ndim == 1}
    labels = data.arrays.get("labels")
    if labels is None or not truth.keys() >= set(_POSE):
        return found
    return replace(found, labels=labels, classes=SUITS, symmetry_order=tuple(SYMMETRY_ORDER[suit] for suit in SUITS), truth=truth)


def _pixel_size(data: DataSet) -> float | None:
    """Of the first image, nm; None where it is not known."""
    sizes = np.atleast_1d(data.arrays.get("pixel_size_nm", np.nan))
    return float(sizes[0]) if np.isfinite(sizes[0]) and sizes[0] > 0 else None


def _patches(graphs: LatentGraphs, image: Array, beside: tuple[Array | None, Array | None], name: str) -> Subjects:
    height, width = graphs.taken_shape[:2]
    if min(image.shape[:2]) < max(height, width) or height != width:
        raise InputError(
            "IMAGES_TOO_SMALL",
            f"{name} has images of {image.shape[0]} × {image.shape[1]} px; the model takes {height} × {width} px, or, if square, larger ones.",
        )
    patches = cut_patches(image, height, max(1, height // 6))
    # Every patch has what its image has; targets are of whole images.
    conditions = None if beside[0] is None else np.repeat(beside[0][:1], len(patches.images), axis=0)
    return Subjects(patches.images, f"patches of {name}", conditions, scan=Scan(in_unit(graphs, image), patches.top_px, patches.left_px))
