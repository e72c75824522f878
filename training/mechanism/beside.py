"""Baselines beside a recipe's model: the same points, the same points set aside, and as many starts; each tells y and nothing of who caused it."""

from __future__ import annotations

import numpy as np

from dichroic.bundle.manifest import Metric
from training.mechanism import figures
from training.mechanism.baselines import Told, deep_kernel, plain_gp, product_gp, random_forest
from training.mechanism.prepare import Points, PreparedPoints
from training.mechanism.structure import Array, Mechanism
from training.recipe_mechanism import MechanismRecipe

_TITLES = {
    "plain_gp": "a plain GP",
    "product_gp": "one product kernel on our latents",
    "deep_kernel": "a one-encoder deep kernel",
    "random_forest": "a random forest",
}
# Exact inference and a lengthscale for each input: beyond this many points they would take hours, and are left out.
MOST_POINTS = 2000


def baseline_metrics(
    recipe: MechanismRecipe, prepared: PreparedPoints, mechanisms: tuple[Mechanism, ...], latents: tuple[Array, Array], validation: Array
) -> tuple[Metric, ...]:
    """NLPD, RMSE and coverage of each baseline that the recipe names.

    Args:
        recipe: says which.
        prepared: the points.
        mechanisms: whose latents are which columns.
        latents: (N, D) of the training points and (n, D) of those held out.
        validation: (N,) bool, the points set aside.
    """
    rows = []
    for name in recipe.fit.baselines if len(prepared.train) <= MOST_POINTS else ():
        told = _told(name, recipe, prepared, mechanisms, latents, validation)
        if told is None:
            continue
        y = prepared.held_out.y
        title = _TITLES[name]
        rows += [
            Metric(name=f"nlpd_{name}", value=told.nlpd(y), unit="nat", split=prepared.split, meaning=f"as nlpd, of {title}"),
            Metric(
                name=f"rmse_y_{name}",
                value=figures.rmse(told.mean, y),
                unit=recipe.quantity.unit,
                split=prepared.split,
                meaning=f"as rmse_y, of {title}",
            ),
            Metric(name=f"coverage_90_{name}", value=told.coverage(y, 0.9), unit="1", split=prepared.split, meaning=f"as coverage_90, of {title}"),
        ]
    return tuple(rows)


def _told(  # noqa: PLR0917 - one order, one caller
    name: str, recipe: MechanismRecipe, prepared: PreparedPoints, mechanisms: tuple[Mechanism, ...], latents: tuple[Array, Array], validation: Array
) -> Told | None:
    train, test, seed, outliers = prepared.train, prepared.held_out, recipe.seed, recipe.fit.outliers
    pictures = [each.name for each in recipe.mechanisms if each.kind in ("image", "spectrum")]
    if name == "product_gp":
        return product_gp(mechanisms, latents[0], train.y, latents[1], seed=seed, validation=validation, starts=recipe.fit.starts, outliers=outliers)
    pixels = sum(train.arrays[each][0].size for each in pictures)
    inputs, new = (np.concatenate((_pictures(points, pictures), _others(recipe, points)), axis=1) for points in (train, test))
    if name == "plain_gp":
        return plain_gp(inputs, train.y, new, seed=seed, validation=validation, pixels=pixels, starts=recipe.fit.starts, outliers=outliers)
    if name == "random_forest":
        return random_forest(inputs, train.y, new, seed=seed, groups=prepared.group, outliers=outliers)
    images = [each.name for each in recipe.mechanisms if each.kind == "image"]
    if len(images) != 1 or train.arrays[images[0]].ndim != 3:
        return None  # its network has one picture of one channel
    others = [_others(recipe, points) for points in (train, test)]
    first, second = (points.arrays[images[0]] for points in (train, test))
    return deep_kernel(first, others[0], train.y, second, others[1], seed=seed, validation=validation, outliers=outliers)


def _pictures(points: Points, names: list[str]) -> Array:
    parts = [points.arrays[name].reshape(len(points), -1).astype(np.float64) for name in names]
    return np.concatenate([np.zeros((len(points), 0)), *parts], axis=1)


def _others(recipe: MechanismRecipe, points: Points) -> Array:
    """Coordinates and parameters as they are, categories as ones and zeros."""
    parts = [np.zeros((len(points), 0))]
    for each in recipe.mechanisms:
        if each.kind in ("coordinates", "parameters"):
            parts.append(points.arrays[each.name])
        elif each.kind == "category":
            parts.append(np.eye(len(each.categories))[points.arrays[each.name]])
    return np.concatenate(parts, axis=1)
