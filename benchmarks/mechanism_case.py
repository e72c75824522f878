"""One case of `benchmarks.mechanism_table` at one seed: the points, the fits of ours and the oracle, and every figure of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.patches_field import CLASSES, draw_patches_field, population_sd
from training.mechanism.figures import coverage, crps, nlpd, r_squared, rmse
from training.mechanism.fit import Fitted, fit
from training.mechanism.leakage import leakage
from training.mechanism.structure import Mechanism, additive, scaled

POINTS, TEST_POINTS = 600, 2000
# A patch is sorted with doubt where its most probable class has less than this.
_SURE = 0.9
CASES = {
    "additive-0": ("additive", 0.0),
    "additive-5": ("additive", 0.05),
    "additive-10": ("additive", 0.1),
    "additive-20": ("additive", 0.2),
    "additive-50": ("additive", 0.5),
    "scaled-10": ("scaled", 0.1),
}
# Of the fresh points: those that leakage is told of, and in which case. Forests over patches take longer than the fits.
LEAKAGE_POINTS, LEAKAGE_OF = 500, ("additive-10",)
MECHANISMS = (Mechanism("patch", 0, 4), Mechanism("position", 4, 2), Mechanism("age", 6, 1))
FORMS = {"additive": additive("patch", "position", "age"), "scaled": scaled("patch", "position", "age")}


@dataclass(frozen=True)
class Points:
    """What is measured on: the generator's arrays, and what the encoder makes of the patches, (n, 4) class probabilities."""

    arrays: dict[str, Any]
    classes: Any


def one(name: str, seed: int, bundle: Path) -> dict[str, Any]:
    """All figures of one case and seed but the baselines'."""
    from training.report.graphs import LatentGraphs  # noqa: PLC0415

    graphs = LatentGraphs(bundle)
    began = time.monotonic()
    train, test = (points_of(graphs, arrays) for arrays in drawn(name, seed))
    form = CASES[name][0]
    encoder = {
        "digest": graphs.manifest.digest,
        "accuracy": _accuracy(test),
        "accuracy_of_fitted_points": _accuracy(train),
        "doubtful": float(np.mean(test.classes.max(axis=1) < _SURE)),
    }
    row: dict[str, Any] = {"case": name, "seed": seed, "encoder": encoder}
    for who in ("ours", "oracle"):
        own, new = (points.classes if who == "ours" else np.eye(len(CLASSES))[points.arrays["labels"]] for points in (train, test))
        made = Standardised(train.arrays, own)
        fitted = fit(MECHANISMS, FORMS[form], made(train.arrays, own), train.arrays["y"], seed=seed, validation=set_aside(seed))
        row[who], parts = figures(fitted, form, train.arrays, test.arrays, latents=made(test.arrays, new))
        if name in LEAKAGE_OF:
            row[who] |= leakages(parts, test.arrays, seed)
    row["wall_s"] = round(time.monotonic() - began, 1)
    return row


class Standardised:
    """Latents in units of the training points' standard deviation: frozen."""

    def __init__(self, arrays: dict[str, Any], classes: Any) -> None:
        raw = _raw(arrays, classes)
        self.mean, self.sd = raw.mean(axis=0), raw.std(axis=0)

    def __call__(self, arrays: dict[str, Any], classes: Any) -> Any:
        """(n, 7)."""
        return (_raw(arrays, classes) - self.mean) / self.sd


def figures(fitted: Fitted, form: str, train: dict[str, Any], test: dict[str, Any], *, latents: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of one fit, on points it never saw; and its parts there, (n,) each."""
    told, sd = fitted.posterior.predict(latents), population_sd(form)
    observed = told.total_variance + fitted.noise_variance
    found = {
        "rmse": rmse(told.total_mean, test["truth_f"]) / sd,
        "nlpd": nlpd(told.total_mean, observed, test["y"]),
        "crps": crps(told.total_mean, observed, test["y"]),
        "noise_sd": float(np.sqrt(fitted.noise_variance)) / sd,
    }
    for percent in (50, 90, 95):
        found[f"coverage_{percent}_y"] = coverage(told.total_mean, observed, test["y"], percent / 100)
        found[f"coverage_{percent}_f"] = coverage(told.total_mean, told.total_variance, test["truth_f"], percent / 100)
    parts, truths = {}, {}
    for index, name in enumerate(told.names[1:], start=1):
        parts[name], truths[name] = told.mean[:, index], test[f"truth_{name}"] - train[f"truth_{name}"].mean()
        if form == "scaled" and name == "position":
            root = np.sqrt(np.mean(train["truth_patch"] ** 2))
            parts["patch"], truths["patch"] = told.factor[:, index], test["truth_patch"] / root
            truths[name] = test["truth_position"] * root
    return found | {f"r2_{name}": r_squared(parts[name], truths[name]) for name in parts}, parts


def leakages(parts: dict[str, Any], test: dict[str, Any], seed: int) -> dict[str, float]:
    """Of each part from every other mechanism's input, and the greatest."""
    few = slice(LEAKAGE_POINTS)
    inputs = {"patch": test["patch"][few].reshape(LEAKAGE_POINTS, -1), "position": test["position"][few], "age": test["age"][few]}
    leaks = {f"leakage_{other}_to_{name}": leakage(parts[name][few], inputs[other], seed=seed) for name in parts for other in inputs if other != name}
    return leaks | {"leakage": max(leaks.values())}


def drawn(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The points fitted and the fresh ones."""
    form, noise = CASES[name]
    train, test = (
        draw_patches_field(count, form=form, noise=noise, seed=seed, stream=stream).arrays
        for stream, count in (("train", POINTS), ("test", TEST_POINTS))
    )
    return train, test


def set_aside(seed: int) -> Any:
    """(POINTS,) bool: those that choose among the fit's rounds and starts."""
    validation = np.zeros(POINTS, bool)
    validation[np.random.default_rng(seed).permutation(POINTS)[: POINTS // 7]] = True
    return validation


def points_of(graphs: Any, arrays: dict[str, Any]) -> Points:
    return Points(arrays, graphs.encode(arrays["patch"])["class_probabilities"].astype(np.float64))


def _raw(arrays: dict[str, Any], classes: Any) -> Any:
    return np.concatenate((classes, arrays["position"], arrays["age"]), axis=1)


def _accuracy(points: Points) -> float:
    from training.latent.class_metrics import class_agreement  # noqa: PLC0415

    return class_agreement(points.classes.argmax(axis=1), points.arrays["labels"], len(CLASSES), matched=True).accuracy
