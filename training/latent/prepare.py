"""From a recipe and files to arrays a fit can use: training images, images to choose restarts by, and images to measure on."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.data.dataset import DataSet
from training.data.patches import cut_patches
from training.errors import InputError
from training.latent.columns import read_conditions, read_targets
from training.latent.companions import Companions
from training.latent.held_out import Split, held_out_unit, split_patches, split_rows
from training.latent.labels import split_labels
from training.latent.normalisation import in_float32, preprocessing_of
from training.latent.orientation import crop, wide_px
from training.latent.prepared import EvaluationSet, Prepared
from training.recipe import FileData, Normalisation, Recipe
from training.recipe_sections import DataKind

Array = np.ndarray[Any, np.dtype[Any]]

MIN_TRAINING_IMAGES = 20
_MIN_HELD_OUT = 5
_LEAST_SIDE_PX = 8
_OTHERS_DATA = (
    "This model was trained on {names}. The recipe's texts on this card (title, description, limits, what is published and what is ours) "
    "were written for other data ({own}) and may not hold here."
)


def prepare_files(
    recipe: Recipe, data: FileData, trained: list[DataSet], kept: list[DataSet], *, others_data: bool = False, licence: str | None = None
) -> Prepared:
    """Cuts (where the recipe has a window) and splits the images or spectra of files, and what stands beside them.

    Args:
        recipe: the recipe.
        data: its section on files.
        trained: files to train on, less their held-out part.
        kept: files that are only measured on.
        others_data: the files are not those that the recipe's licence, citation, notes and card were written for.
        licence: of the files; None: the recipe's, or "not stated" for others' data.

    Raises:
        InputError: NO_IMAGES, NO_SPECTRA, NO_TRAINING_DATA, IMAGE_SIZES_DIFFER, UNITS_DIFFER, QUANTITIES_DIFFER, TOO_FEW_IMAGES, CONSTANT_IMAGES,
            CONSTANT_SPECTRA, NON_FINITE_IMAGES, INTEGER_SCALE, INVALID_NORMALISATION, INVALID_PIXEL_SIZE, and those of columns.py, of cutting and
            of splitting.
    """
    unit = one_unit(trained, kept)
    pixel_size_nm = _pixel_size(trained)
    splits = [_split(made, data, recipe) for made in trained] if not recipe.training.orientation.weight else _wide_splits(trained, data, recipe)
    whole = [_whole(made, data, recipe) for made in kept]
    _check_sizes([split.held_out for split in splits] + [other.images for other in whole])
    train, validation, held_out = (np.concatenate([getattr(split, part) for split in splits]) for part in ("train", "validation", "held_out"))
    check_images(train, held_out, recipe.model.input_kind)
    beside = [_split_beside(made, split, data, recipe) for made, split in zip(trained, splits, strict=True)]
    train_beside, validation_beside, held_beside = (_joined([parts[index] for parts in beside]) for index in range(3))
    outputs = train_beside.outputs
    if outputs is not None:
        _check_sizes([part.outputs for part in (held_beside, *(other.beside for other in whole)) if part.outputs is not None])
        check_images(outputs, outputs[:_MIN_HELD_OUT], recipe.model.output_kind)
    clip = recipe.model.likelihood != "gaussian"
    names = ", ".join(made.source for made in trained)
    units_of = [held_out_unit(made, data.window_px) for made in trained]
    train_labels, chosen_labels, held_labels = split_labels(trained, units_of, data, recipe)
    units_held = " and ".join(dict.fromkeys(units_of))
    if recipe.model.input_kind == "spectra":
        units_held = units_held.replace("images", "spectra")
    return Prepared(
        train=train,
        validation=validation,
        held_out=EvaluationSet(f"held-out {units_held} of {names}", held_out, labels=held_labels, beside=held_beside),
        others=tuple(whole),
        preprocessing=preprocessing_of(recipe.normalisation, train, unit, clip=clip),
        quantity=trained[0].quantity,
        pixel_size_nm=pixel_size_nm,
        source="; ".join(part for part in (names, "" if others_data else data.citation) if part),
        licence=licence or ("not stated" if others_data else data.licence),
        sha256=tuple(made.sha256 for made in trained),
        notes="" if others_data else data.notes,
        remark=remark_on(names, data) if others_data else "",
        labels=train_labels if recipe.model.class_source == "semi_supervised" else None,
        validation_labels=chosen_labels,
        beside=train_beside,
        validation_beside=validation_beside,
        output_preprocessing=None if outputs is None else preprocessing_of(recipe.output_normalisation, outputs, data.output_unit, clip=clip),
        conditions=data.conditions,
        targets=data.targets,
    )


def one_unit(trained: list[DataSet], kept: list[DataSet]) -> str:
    """The unit of the values of all files, which hold one quantity.

    Raises:
        InputError: NO_TRAINING_DATA, UNITS_DIFFER, QUANTITIES_DIFFER.
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
    return units[0]


def remark_on(names: str, data: FileData) -> str:
    """What the card says first where the files are not those that the recipe was written for."""
    return _OTHERS_DATA.format(names=names, own=", ".join((*data.files, *data.evaluate_only)))


def _split(made: DataSet, data: FileData, recipe: Recipe) -> Split:
    images = values_of(made, recipe.model.input_kind, recipe.normalisation)
    wants_validation = recipe.training.wants_validation
    unit = held_out_unit(made, data.window_px)
    if unit == "blocks":
        return split_patches(images, data.window_px or 0, data.stride_px, data.held_out_fraction, recipe.seed, validation=wants_validation)
    rows = split_rows(made, unit, data.held_out_fraction, recipe.seed, validation=wants_validation)
    return Split(*(_cut(images[part], data) for part in (rows.train, rows.validation, rows.held_out)))


def _split_beside(made: DataSet, split: Split, data: FileData, recipe: Recipe) -> tuple[Companions, Companions, Companions]:
    """What stands beside the training, validation and held-out images: all patches of an image have what the image has."""
    whole = _beside(made, data, recipe)
    unit = held_out_unit(made, data.window_px)
    if unit == "blocks":  # of every image, so that each image has as many patches in a part as any other
        every = np.arange(len(made.arrays["images" if "images" in made.arrays else "frames"]))
        rows = Split(every, every, every)
    else:
        rows = split_rows(made, unit, data.held_out_fraction, recipe.seed, validation=recipe.training.wants_validation)
    pairs = ((rows.train, split.train), (rows.validation, split.validation), (rows.held_out, split.held_out))
    first, second, third = (whole.at(np.repeat(own, len(part) // max(1, len(own)))) for own, part in pairs)
    return first, second, third


def _beside(made: DataSet, data: FileData, recipe: Recipe) -> Companions:
    kind = recipe.model.output_kind
    outputs = values_of(made, kind, recipe.output_normalisation) if recipe.translates else None
    return Companions(read_conditions(made, data.conditions), read_targets(made, data.targets), outputs)


def _whole(made: DataSet, data: FileData, recipe: Recipe) -> EvaluationSet:
    images = values_of(made, recipe.model.input_kind, recipe.normalisation)
    cut, beside = _cut(images, data), _beside(made, data, recipe)
    return EvaluationSet(f"{made.source}, never trained on", cut, beside=beside.at(np.repeat(np.arange(len(images)), len(cut) // len(images))))


def _joined(parts: list[Companions]) -> Companions:
    fields = ("conditions", "targets", "outputs")
    every = {name: [getattr(part, name) for part in parts] for name in fields}
    sizes = [outputs for outputs in every["outputs"] if outputs is not None]
    _check_sizes(sizes)
    return Companions(**{name: None if found[0] is None else np.concatenate(found) for name, found in every.items()})


def _wide_splits(trained: list[DataSet], data: FileData, recipe: Recipe) -> list[Split]:
    """Patches wide enough to be turned by any angle; wide ones share no pixel either, and all but the training patches are cropped."""
    side = data.window_px or 0
    wide = data.model_copy(update={"window_px": wide_px(side)})
    splits = [_split(made, wide, recipe) for made in trained]
    return [Split(split.train, crop(split.validation, side), crop(split.held_out, side)) for split in splits]


def _cut(images: Array, data: FileData) -> Array:
    if not data.window_px or not len(images):
        return images
    return np.concatenate([cut_patches(image, data.window_px, data.stride_px).images for image in images])


def values_of(made: DataSet, kind: DataKind, normalisation: Normalisation) -> Array:
    """The file's images or frames (n, h, w, c), or its spectra as images of one row (n, 1, l, c); float32 in their unit.

    Raises:
        InputError: NO_IMAGES, NO_SPECTRA, INTEGER_SCALE, INVALID_NORMALISATION, NON_FINITE_IMAGES.
    """
    name = "spectra" if kind == "spectra" else "images" if "images" in made.arrays else "frames"
    if name not in made.arrays:
        wanted = "'spectra' (n, l[, c])" if kind == "spectra" else "'images' (n, h, w[, c])"
        raise InputError(
            f"NO_{kind.upper()}",
            f"{made.source} has no array {wanted}; it has {', '.join(sorted(made.arrays))}. Give one, or say in [model] with input_kind and "
            "output_kind which the model takes and gives.",
        )
    values = made.arrays[name]
    values = with_channels(values if name != "spectra" else values[:, None])
    if values.dtype.kind in "ui":
        values = _integers(values, made, normalisation)
    if not np.isfinite(values).all():
        raise InputError("NON_FINITE_IMAGES", f"{name} of {made.source} hold NaN or infinity; cut them away or fill them in first.")
    return values.astype(np.float32)


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
    in_float32(low, high, images.shape[-1])
    return (low + images / np.iinfo(images.dtype).max * (high - low)).astype(np.float32)


def with_channels(images: Array) -> Array:
    """Images (n, h, w[, c]) with a channel axis."""
    return images[..., None] if images.ndim == 3 else images


def _check_sizes(parts: list[Array]) -> None:
    sizes = sorted({part.shape[1:] for part in parts})
    if len(sizes) > 1:
        told = ", ".join(" × ".join(map(str, size)) for size in sizes)
        raise InputError(
            "IMAGE_SIZES_DIFFER", f"Images have different sizes (height × width × channels: {told}); give window_px, or crop them first."
        )


def check_images(train: Array, held_out: Array, kind: DataKind) -> None:
    """Raises InputError (TOO_FEW_IMAGES, IMAGES_TOO_SMALL, SPECTRA_TOO_SHORT, CONSTANT_IMAGES, CONSTANT_SPECTRA) where nothing can be learned."""
    if len(train) < MIN_TRAINING_IMAGES or len(held_out) < _MIN_HELD_OUT:
        raise InputError(
            "TOO_FEW_IMAGES",
            f"{len(train)} training and {len(held_out)} held-out {kind} are too few (at least {MIN_TRAINING_IMAGES} and {_MIN_HELD_OUT}); "
            "give more data, a smaller window or a smaller stride.",
        )
    if kind == "spectra" and train.shape[2] < _LEAST_SIDE_PX:
        raise InputError("SPECTRA_TOO_SHORT", f"Spectra of {train.shape[2]} points are too short: at least {_LEAST_SIDE_PX}.")
    if kind == "images" and min(train.shape[1:3]) < _LEAST_SIDE_PX:
        raise InputError("IMAGES_TOO_SMALL", f"Images of {train.shape[1]} × {train.shape[2]} px are too small: at least 8 × 8.")
    constant = [channel for channel in range(train.shape[3]) if np.ptp(train[..., channel]) == 0]
    if constant:
        raise InputError(
            f"CONSTANT_{kind.upper()}",
            f"All training {kind} have one and the same value, {train[0, 0, 0, constant[0]]:g}, in channel {constant[0]}: there is nothing to learn. "
            "Look into the file, or choose another channel of it.",
        )


def _pixel_size(sets: list[DataSet]) -> float | None:
    sizes = [np.unique(np.asarray(made.arrays["pixel_size_nm"])) for made in sets if "pixel_size_nm" in made.arrays]
    found = np.unique(np.concatenate(sizes)) if sizes else np.empty(0)
    if not np.all(np.isfinite(found) & (found > 0)):
        raise InputError(
            "INVALID_PIXEL_SIZE", f"`pixel_size_nm` holds {found.tolist()[:3]}; it is finite and above 0, or left out where it is not known."
        )
    return float(found[0]) if len(found) == 1 and len(sizes) == len(sets) else None
