"""From a recipe and files to arrays a fit can use: training images, images to choose restarts by, and images to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing
from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import DataSet
from training.data.patches import cut_patches
from training.errors import InputError
from training.latent.held_out import Split, split_frames, split_images, split_patches
from training.latent.labels import split_labels
from training.latent.orientation import crop, wide_px
from training.latent.pose_metrics import PoseTruth
from training.recipe import CardsData, FileData, Normalisation, Recipe

Array = np.ndarray[Any, np.dtype[Any]]

MIN_TRAINING_IMAGES = 20
_MIN_HELD_OUT = 5
_OTHERS_DATA = (
    "This model was trained on {names}. The recipe's texts on this card (title, description, limits, what is published and what is ours) "
    "were written for other data ({own}) and may not hold here."
)


@dataclass(frozen=True)
class EvaluationSet:
    """Images (n, h, w, c) float32, in the data's unit, that nothing was fitted to; `name` says which.

    `truth` where they were drawn; `labels` (n,) int64, −1 unlabelled, where the data has them.
    """

    name: str
    images: Array
    truth: PoseTruth | None = None
    labels: Array | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything a fit and its report need of the data.

    Attributes:
        train: (n, h, w, c) float32, in `preprocessing.unit`.
        validation: (m, h, w, c) to choose restarts or models by; empty where the recipe wants none.
        held_out: measured on once, at the end; calibration and novelty threshold come from here.
        others: further sets, such as a whole scan that was never trained on.
        preprocessing: unit and normalisation.
        quantity: what was measured; may be empty.
        pixel_size_nm: of all files; None when unknown or not one.
        source: files' names or the generator, with the citation.
        licence: of the data.
        sha256: of each file trained on, or of the generator's arrays.
        notes: about the data, for the model card; may be empty.
        remark: what the card must say before the recipe's texts, when the data are not those they were written for; may be empty.
        labels: (n,) int64 class of each training image, −1 unlabelled; None: not a semi-supervised model.
        validation_truth: of the validation images, where they were drawn.
        validation_labels: (m,) int64, −1 unlabelled; measured with, never trained on.
    """

    train: Array
    validation: Array
    held_out: EvaluationSet
    others: tuple[EvaluationSet, ...]
    preprocessing: Preprocessing
    quantity: str
    pixel_size_nm: float | None
    source: str
    licence: str
    sha256: tuple[str, ...]
    notes: str = ""
    remark: str = ""
    labels: Array | None = None
    validation_truth: PoseTruth | None = None
    validation_labels: Array | None = None


def prepare_cards(recipe: Recipe, data: CardsData) -> Prepared:
    """Draws the cards: training, validation and test images from three independent streams."""
    counts = {"train": data.train_per_suit, "validation": data.validation_per_suit, "test": data.test_per_suit}
    drawn = {
        stream: draw_cards(
            count,
            angle_deg=data.angle_deg,
            shear_deg=data.shear_deg,
            shift=data.shift,
            scale=data.scale,
            side=data.side_px,
            seed=data.seed,
            stream=stream,
        )
        for stream, count in counts.items()
    }
    images = {stream: _with_channels(made.arrays["images"]).astype(np.float32) for stream, made in drawn.items()}
    labels = None
    if data.labelled_per_suit:
        made = _labelled_cards(data)
        images["train"] = np.concatenate([images["train"], _with_channels(made.arrays["images"])])
        labels = np.concatenate([np.full(4 * data.train_per_suit, -1), made.arrays["labels"]])
        drawn["labelled"] = made
    chosen = recipe.training.wants_validation
    fitted = ("train", "validation") if chosen else ("train",)
    return Prepared(
        train=images["train"],
        validation=images["validation"] if chosen else images["validation"][:0],
        held_out=EvaluationSet("drawn cards, test stream", images["test"], _truth(drawn["test"]), drawn["test"].arrays["labels"]),
        others=(),
        preprocessing=_preprocessing(recipe, images["train"], "1"),
        quantity="brightness",
        pixel_size_nm=None,
        source="; ".join(drawn[stream].source for stream in ("train", "labelled") if stream in drawn),
        licence="MIT (drawn by this project)",
        sha256=tuple(drawn[stream].sha256 for stream in (*fitted, *(("labelled",) if labels is not None else ()))),
        labels=labels,
        validation_truth=_truth(drawn["validation"]) if chosen else None,
        validation_labels=drawn["validation"].arrays["labels"] if chosen else None,
    )


def _labelled_cards(data: CardsData) -> DataSet:
    return draw_cards(
        data.labelled_per_suit,
        angle_deg=data.labelled_angle_deg,
        shear_deg=data.labelled_shear_deg,
        shift=data.labelled_shift,
        scale=data.labelled_scale,
        side=data.side_px,
        seed=data.seed,
        stream="labelled",
    )


def prepare_files(
    recipe: Recipe, data: FileData, trained: list[DataSet], kept: list[DataSet], *, others_data: bool = False, licence: str | None = None
) -> Prepared:
    """Cuts (where the recipe has a window) and splits the images of files.

    Args:
        recipe: the recipe.
        data: its section on files.
        trained: files to train on, less their held-out part.
        kept: files that are only measured on.
        others_data: the files are not those that the recipe's licence, citation, notes and card were written for.
        licence: of the files; None: the recipe's, or "not stated" for others' data.

    Raises:
        InputError: NO_IMAGES, NO_TRAINING_DATA, IMAGE_SIZES_DIFFER, UNITS_DIFFER, QUANTITIES_DIFFER, TOO_FEW_IMAGES, CONSTANT_IMAGES,
            NON_FINITE_IMAGES, INTEGER_SCALE, INVALID_NORMALISATION, INVALID_PIXEL_SIZE, and those of cutting and splitting.
    """
    sets = trained + kept
    if not trained:
        raise InputError("NO_TRAINING_DATA", "Every file given is named in the recipe's evaluate_only; give a file to train on.")
    units = sorted({made.unit for made in sets})
    if len(units) > 1:
        raise InputError("UNITS_DIFFER", f"The files have values in different units ({', '.join(units)}); train on files of one quantity.")
    quantities = sorted({made.quantity for made in sets if made.quantity})
    if len(quantities) > 1:
        raise InputError("QUANTITIES_DIFFER", f"The files hold different quantities ({', '.join(quantities)}); train on files of one quantity.")
    pixel_size_nm = _pixel_size(trained)
    splits = [_split(made, data, recipe) for made in trained] if not recipe.training.orientation.weight else _wide_splits(trained, data, recipe)
    whole = [EvaluationSet(f"{made.source}, never trained on", _cut(_images(made, recipe), data)) for made in kept]
    _check_sizes([split.held_out for split in splits] + [other.images for other in whole])
    train, validation, held_out = (np.concatenate([getattr(split, part) for split in splits]) for part in ("train", "validation", "held_out"))
    _check_images(train, held_out)
    names = ", ".join(made.source for made in trained)
    train_labels, chosen_labels, held_labels = split_labels(trained, [_held_out_unit(made, data) for made in trained], data, recipe)
    units_held = " and ".join(dict.fromkeys(_held_out_unit(made, data) for made in trained))
    return Prepared(
        train=train,
        validation=validation,
        held_out=EvaluationSet(f"held-out {units_held} of {names}", held_out, labels=held_labels),
        others=tuple(whole),
        preprocessing=_preprocessing(recipe, train, units[0]),
        quantity=trained[0].quantity,
        pixel_size_nm=pixel_size_nm,
        source="; ".join(part for part in (names, "" if others_data else data.citation) if part),
        licence=licence or ("not stated" if others_data else data.licence),
        sha256=tuple(made.sha256 for made in trained),
        notes="" if others_data else data.notes,
        remark=_OTHERS_DATA.format(names=names, own=", ".join((*data.files, *data.evaluate_only))) if others_data else "",
        labels=train_labels if recipe.model.class_source == "semi_supervised" else None,
        validation_labels=chosen_labels,
    )


def normalised(images: Array, preprocessing: Preprocessing, *, clip: bool | None = None) -> Array:
    """(v − low)/(high − low) per channel, float32, as the exported graphs compute it; clipped to [0, 1] as the preprocessing (or `clip`) says."""
    low = np.asarray(preprocessing.input_low, dtype=np.float32)
    span = np.asarray(preprocessing.input_high, dtype=np.float32) - low
    scaled = (images.astype(np.float32) - low) / span
    return np.clip(scaled, 0, 1) if (preprocessing.clip if clip is None else clip) else scaled


def _split(made: DataSet, data: FileData, recipe: Recipe) -> Split:
    images = _images(made, recipe)
    wants_validation = recipe.training.wants_validation
    unit = _held_out_unit(made, data)
    if unit == "blocks":
        return split_patches(images, data.window_px or 0, data.stride_px, data.held_out_fraction, recipe.seed, validation=wants_validation)
    if unit == "frames":
        return split_frames(images, data.held_out_fraction, validation=wants_validation)
    split = split_images(images, made.arrays.get("group"), data.held_out_fraction, recipe.seed, validation=wants_validation)
    return Split(*(_cut(part, data) for part in (split.train, split.validation, split.held_out)))


def _wide_splits(trained: list[DataSet], data: FileData, recipe: Recipe) -> list[Split]:
    """Patches wide enough to be turned by any angle; wide ones share no pixel either, and all but the training patches are cropped."""
    side = data.window_px or 0
    wide = data.model_copy(update={"window_px": wide_px(side)})
    splits = [_split(made, wide, recipe) for made in trained]
    return [Split(split.train, crop(split.validation, side), crop(split.held_out, side)) for split in splits]


def _held_out_unit(made: DataSet, data: FileData) -> str:
    """What is held out as a whole: groups where the file names several, else blocks of patches, a run of frames, or images."""
    if len(np.unique(made.arrays.get("group", np.zeros(1)))) > 1:
        return "groups"
    if data.window_px:
        return "blocks"
    return "images" if "images" in made.arrays else "frames"


def _cut(images: Array, data: FileData) -> Array:
    if not data.window_px or not len(images):
        return images
    return np.concatenate([cut_patches(image, data.window_px, data.stride_px).images for image in images])


def _images(made: DataSet, recipe: Recipe) -> Array:
    name = "images" if "images" in made.arrays else "frames"
    if name not in made.arrays:
        raise InputError("NO_IMAGES", f"{made.source} has no array 'images' (n, h, w[, c]); it has {', '.join(sorted(made.arrays))}.")
    images = _with_channels(made.arrays[name])
    if images.dtype.kind in "ui":
        images = _integers(images, made, recipe.normalisation)
    if not np.isfinite(images).all():
        raise InputError("NON_FINITE_IMAGES", f"{made.source} holds NaN or infinity; cut them away or fill them in first.")
    return images.astype(np.float32)


def _integers(images: Array, made: DataSet, normalisation: Normalisation) -> Array:
    if normalisation.integer_images == "value":
        return images.astype(np.float32)
    if normalisation.input_low is None or normalisation.input_high is None:
        raise InputError(
            "INTEGER_SCALE",
            f'{made.source} holds {images.dtype} images; say in [normalisation] what they mean: integer_images = "value" (counts, scaled by '
            'percentiles), or "full_scale" with input_low and input_high (the values that 0 and the greatest integer stand for).',
        )
    low, high = np.asarray(normalisation.input_low), np.asarray(normalisation.input_high)
    _in_float32(low, high, images.shape[-1])
    return (low + images / np.iinfo(images.dtype).max * (high - low)).astype(np.float32)


def _with_channels(images: Array) -> Array:
    return images[..., None] if images.ndim == 3 else images


def _check_sizes(parts: list[Array]) -> None:
    sizes = sorted({part.shape[1:] for part in parts})
    if len(sizes) > 1:
        told = ", ".join(" × ".join(map(str, size)) for size in sizes)
        raise InputError(
            "IMAGE_SIZES_DIFFER", f"Images have different sizes (height × width × channels: {told}); give window_px, or crop them first."
        )


def _check_images(train: Array, held_out: Array) -> None:
    if len(train) < MIN_TRAINING_IMAGES or len(held_out) < _MIN_HELD_OUT:
        raise InputError(
            "TOO_FEW_IMAGES",
            f"{len(train)} training and {len(held_out)} held-out images are too few (at least {MIN_TRAINING_IMAGES} and {_MIN_HELD_OUT}); "
            "give more data, a smaller window or a smaller stride.",
        )
    if min(train.shape[1:3]) < 8:
        raise InputError("IMAGES_TOO_SMALL", f"Images of {train.shape[1]} × {train.shape[2]} px are too small: at least 8 × 8.")
    constant = [channel for channel in range(train.shape[3]) if np.ptp(train[..., channel]) == 0]
    if constant:
        raise InputError("CONSTANT_IMAGES", f"All training images have one and the same value in channel {constant[0]}: there is nothing to learn.")


def _preprocessing(recipe: Recipe, train: Array, unit: str) -> Preprocessing:
    chosen = recipe.normalisation
    if chosen.input_low is not None and chosen.input_high is not None:
        low, high = np.asarray(chosen.input_low, dtype=np.float64), np.asarray(chosen.input_high, dtype=np.float64)
    else:
        low, high = np.percentile(train.astype(np.float64), [chosen.low_percentile, chosen.high_percentile], axis=(0, 1, 2))
    low_32, high_32 = _in_float32(low, high, train.shape[3])
    return Preprocessing(
        unit=unit or "unknown",
        input_low=tuple(float(value) for value in low_32),
        input_high=tuple(float(value) for value in high_32),
        clip=recipe.model.likelihood != "gaussian",
        integer_images=chosen.integer_images,
    )


def _in_float32(low: Array, high: Array, channels: int) -> tuple[Array, Array]:
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


def _truth(made: DataSet) -> PoseTruth:
    arrays = made.arrays
    return PoseTruth(
        labels=arrays["labels"],
        angle_rad=arrays["truth_angle_rad"],
        scale=arrays["truth_scale"],
        shift_down_px=arrays["truth_shift_down_px"],
        shift_right_px=arrays["truth_shift_right_px"],
        symmetry_order=tuple(SYMMETRY_ORDER[suit] for suit in SUITS),
    )


def _pixel_size(sets: list[DataSet]) -> float | None:
    sizes = [np.unique(np.asarray(made.arrays["pixel_size_nm"])) for made in sets if "pixel_size_nm" in made.arrays]
    found = np.unique(np.concatenate(sizes)) if sizes else np.empty(0)
    if not np.all(np.isfinite(found) & (found > 0)):
        raise InputError(
            "INVALID_PIXEL_SIZE", f"`pixel_size_nm` holds {found.tolist()[:3]}; it is finite and above 0, or left out where it is not known."
        )
    return float(found[0]) if len(found) == 1 and len(sizes) == len(sets) else None
