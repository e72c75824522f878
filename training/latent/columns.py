"""The arrays `conditions` and `targets` of a file, compared with the columns that the recipe names, and what a model must know of each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.data.dataset import DataSet
from training.errors import InputError
from training.latent.specification import ConditionColumn, TargetColumn
from training.recipe_data import Condition, Target

Array = np.ndarray[Any, np.dtype[Any]]

# Known values of one target: a mean and a spread need them.
_FEWEST_KNOWN = 5


def read_conditions(made: DataSet, columns: Sequence[Condition]) -> Array | None:
    """The file's conditions (n, k) float32; None where the recipe names none.

    Raises:
        InputError: CONDITIONS_REQUIRED, CONDITIONS_SHAPE, NON_FINITE_CONDITIONS, CATEGORY_OUT_OF_RANGE.
    """
    if not columns:
        return None
    names = ", ".join(column.name for column in columns)
    if "conditions" not in made.arrays:
        raise InputError(
            "CONDITIONS_REQUIRED",
            f"{made.source} has no array 'conditions' (n, {len(columns)}); the recipe's [[data.conditions]] are: {names}. Put the array beside the "
            "images, a row for each, or leave [[data.conditions]] out.",
        )
    with np.errstate(over="ignore"):  # what overflows is refused below
        values = _columns(made, "conditions", len(columns), names).astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            "NON_FINITE_CONDITIONS",
            f"conditions of {made.source} are NaN, infinite or beyond float32 in row {row}, column {columns[column].name}; "
            "every image needs all of its conditions: fill them in, or leave these images out.",
        )
    for index, each in enumerate(columns):
        own = values[:, index]
        wrong = (own < 0) | (own >= len(each.categories)) | (own != np.floor(own))
        if each.categories and wrong.any():
            row = int(np.argmax(wrong))
            told = ", ".join(f"{number} {name}" for number, name in enumerate(each.categories))
            raise InputError(
                "CATEGORY_OUT_OF_RANGE",
                f"conditions of {made.source}: {each.name} is {own[row]:g} in row {row}, which is no category; they are {told}.",
            )
    return values


def read_targets(made: DataSet, columns: Sequence[Target]) -> Array | None:
    """The file's targets (n, t) float64, NaN where not known; None where the recipe names none.

    Raises:
        InputError: TARGETS_REQUIRED, TARGETS_SHAPE, INFINITE_TARGETS.
    """
    if not columns:
        return None
    names = ", ".join(column.name for column in columns)
    if "targets" not in made.arrays:
        raise InputError(
            "TARGETS_REQUIRED",
            f"{made.source} has no array 'targets' (n, {len(columns)}), NaN where a value is not known; the recipe's [[data.targets]] are: {names}.",
        )
    values = _columns(made, "targets", len(columns), names)
    if np.isinf(values).any():
        row = int(np.argwhere(np.isinf(values))[0][0])
        raise InputError("INFINITE_TARGETS", f"targets of {made.source} are infinite in row {row}; write NaN where a value is not known.")
    return values


def condition_columns(columns: Sequence[Condition], values: Array | None) -> tuple[ConditionColumn, ...]:
    """What the model must know of each column of the training images' conditions (n, k).

    Raises:
        InputError: CONSTANT_CONDITION, CATEGORY_WITHOUT_IMAGES.
    """
    found = []
    for index, each in enumerate(columns):
        assert values is not None  # noqa: S101 (read with these columns)
        own = values[:, index].astype(np.float64)
        if each.categories:
            empty = [name for number, name in enumerate(each.categories) if not np.any(own == number)]
            if empty:
                raise InputError(
                    "CATEGORY_WITHOUT_IMAGES",
                    f"No training image has the category {empty[0]!r} of {each.name}; give some, or leave the category out.",
                )
            found.append(ConditionColumn(each.name, each.unit, each.meaning, each.categories))
            continue
        if np.ptp(own) == 0:
            raise InputError(
                "CONSTANT_CONDITION", f"The condition {each.name} is {own[0]:g} for all training images and tells nothing; leave it out."
            )
        found.append(ConditionColumn(each.name, each.unit, each.meaning, (), *_mean_and_sd(own)))
    return tuple(found)


def target_columns(columns: Sequence[Target], values: Array | None) -> tuple[TargetColumn, ...]:
    """What the model must know of each column of the training images' targets (n, t).

    Raises:
        InputError: TARGET_WITHOUT_VALUES, CONSTANT_TARGET.
    """
    found = []
    for index, each in enumerate(columns):
        assert values is not None  # noqa: S101 (read with these columns)
        own = values[:, index]
        known = own[~np.isnan(own)]
        if len(known) < _FEWEST_KNOWN:
            raise InputError(
                "TARGET_WITHOUT_VALUES",
                f"The target {each.name} is known of {len(known)} training images; {_FEWEST_KNOWN} at least are needed (NaN stands for not known).",
            )
        if np.ptp(known) == 0:
            raise InputError("CONSTANT_TARGET", f"The target {each.name} is {known[0]:g} for all training images; there is nothing to learn.")
        found.append(TargetColumn(each.name, each.unit, each.meaning, *_mean_and_sd(known)))
    return tuple(found)


def _columns(made: DataSet, name: str, wanted: int, names: str) -> Array:
    values = made.arrays[name]
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != wanted:
        raise InputError(
            f"{name.upper()}_SHAPE",
            f"{name} of {made.source} have shape {made.arrays[name].shape}; the recipe's [[data.{name}]] ask for (n, {wanted}): {names}.",
        )
    return values


def _mean_and_sd(values: Array) -> tuple[float, float]:
    # As float32 holds them: the graphs compute in float32.
    return float(np.float32(values.mean())), float(max(np.float32(values.std()), np.finfo(np.float32).tiny))
