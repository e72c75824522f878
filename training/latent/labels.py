"""Labels of images from files: checked, and split into training and held-out ones exactly as the images are."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.data.dataset import DataSet
from training.errors import InputError
from training.latent.held_out import split_rows
from training.recipe import FileData, Recipe

Array = np.ndarray[Any, np.dtype[Any]]


def split_labels(trained: list[DataSet], units: list[str], data: FileData, recipe: Recipe) -> tuple[Array | None, Array | None, Array | None]:
    """Labels (·,) int64 of the training, validation and held-out images, split as the images are; None where the files have none.

    Args:
        trained: the files' data.
        units: what is held out of each file as a whole: "frames", or "images" or "groups".
        data: the recipe's section.
        recipe: the recipe.

    Raises:
        InputError: LABELS_REQUIRED, INVALID_LABELS, CLASS_COUNT_DIFFERS, CLASS_WITHOUT_LABELS.
    """
    if not recipe.model.class_source:
        return None, None, None
    taught = recipe.model.class_source == "semi_supervised"
    if not all("labels" in made.arrays for made in trained):
        if taught:
            missing = next(made.source for made in trained if "labels" not in made.arrays)
            raise InputError(
                "LABELS_REQUIRED", f"{missing} has no array 'labels' (n,): one class for each image, from 0, and −1 where it is not known."
            )
        return None, None, None
    wants_validation = recipe.training.wants_validation
    parts = []
    for made, unit in zip(trained, units, strict=True):
        labels = _checked_labels(made, recipe.model.classes if taught else None)
        rows = split_rows(made, unit, data.held_out_fraction, recipe.seed, validation=wants_validation)
        parts.append([labels[part] for part in (rows.train, rows.validation, rows.held_out)])
    train, chosen, held_out = (np.concatenate([part[index] for part in parts]) for index in range(3))
    empty = [f"{k} ({name})" for k, name in enumerate(recipe.class_names) if not np.any(train == k)]
    if taught and empty:
        raise InputError(
            "CLASS_WITHOUT_LABELS",
            f"No labelled training image is of class {', '.join(empty)} (held-out images do not count): label some of every class, or set "
            "model.classes to those that have labels.",
        )
    return train, chosen, held_out


def _checked_labels(made: DataSet, classes: int | None) -> Array:
    labels = made.arrays["labels"].astype(np.int64)  # integers, one for each image: the reader has seen to it
    if labels.min(initial=-1) < -1:
        raise InputError("INVALID_LABELS", f"labels of {made.source} go down to {labels.min()}; classes count from 0: write −1 for unlabelled.")
    if classes is not None and labels.max(initial=-1) >= classes:
        raise InputError(
            "CLASS_COUNT_DIFFERS",
            f"labels of {made.source} go up to {labels.max()}, the recipe has classes = {classes} (labels 0 to {classes - 1}); set model.classes = "
            f"{labels.max() + 1}, or correct the labels.",
        )
    return labels
