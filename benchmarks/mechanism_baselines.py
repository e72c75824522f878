"""What others reach at one case and seed of `benchmarks.mechanism_table`: on the same points, with the same starts and the same stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mechanism_case import CASES, MECHANISMS, Standardised, drawn, points_of, set_aside
from training.data.patches_field import population_sd
from training.mechanism.baselines import Told, deep_kernel, plain_gp, product_gp, random_forest
from training.mechanism.figures import crps, rmse


def baselines_of(name: str, seed: int, bundle: Path) -> dict[str, dict[str, float]]:
    """By their names. `bundle`: the encoder that ours has, whose latents the product GP is given too."""
    from training.report.graphs import LatentGraphs  # noqa: PLC0415

    (train, test), validation = drawn(name, seed), set_aside(seed)
    graphs = LatentGraphs(bundle)
    encoded = [points_of(graphs, arrays) for arrays in (train, test)]
    made = Standardised(train, encoded[0].classes)
    latents = [made(each.arrays, each.classes) for each in encoded]
    pixels = train["patch"][0].size

    def flat(arrays: dict[str, Any]) -> Any:
        return np.concatenate((arrays["patch"].reshape(len(arrays["patch"]), -1).astype(np.float64), rest(arrays)), axis=1)

    def rest(arrays: dict[str, Any]) -> Any:
        return np.concatenate((arrays["position"], arrays["age"]), axis=1)

    told = {
        "plain GP": plain_gp(flat(train), train["y"], flat(test), seed=seed, validation=validation, pixels=pixels),
        "product GP, our latents": product_gp(MECHANISMS, latents[0], train["y"], latents[1], seed=seed, validation=validation),
        "deep kernel": deep_kernel(train["patch"], rest(train), train["y"], test["patch"], rest(test), seed=seed, validation=validation),
        "random forest": random_forest(flat(train), train["y"], flat(test), seed=seed),
    }
    return {who: _figures(each, CASES[name][0], test) for who, each in told.items()}


def _figures(told: Told, form: str, test: dict[str, Any]) -> dict[str, float]:
    return {
        "rmse": rmse(told.mean, test["truth_f"]) / population_sd(form),
        "coverage_90_y": told.coverage(test["y"], 0.9),
        "nlpd": told.nlpd(test["y"]),
        "crps": crps(told.mean, told.variance, test["y"]),
    }
