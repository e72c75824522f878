"""Issue 4's first rows: patches × field × ageing with known parts, over several seeds. `python -m benchmarks.mechanism_table`.

For each seed the patch's encoder (recipes/patches_joint.toml, no labels, patches of its own) is fitted with that seed, then a structured Gaussian
process of 600 points for each form and noise, and measured on 2 000 fresh points. Beside it the oracle: the same process told the true classes.
Needs the extra `training`. Resumable: what is done is read from its JSON; an encoder that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.patches_field import CLASSES, draw_patches_field, population_sd
from training.mechanism.baselines import Told, deep_kernel, plain_gp, random_forest
from training.mechanism.figures import coverage, crps, nlpd, r_squared, rmse
from training.mechanism.fit import Fitted, fit
from training.mechanism.leakage import leakage
from training.mechanism.structure import Mechanism, additive, scaled

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mechanism"
ENCODER = ROOT / "recipes" / "patches_joint.toml"
POINTS, TEST_POINTS = 600, 2000
_ENCODER_SEED = 10_000
CASES = {
    "additive-0": ("additive", 0.0),
    "additive-5": ("additive", 0.05),
    "additive-10": ("additive", 0.1),
    "additive-20": ("additive", 0.2),
    "additive-50": ("additive", 0.5),
    "scaled-10": ("scaled", 0.1),
}
MECHANISMS = (Mechanism("patch", 0, 4), Mechanism("position", 4, 2), Mechanism("age", 6, 1))
FORMS = {"additive": additive("patch", "position", "age"), "scaled": scaled("patch", "position", "age")}
_PARTS = ("r2_patch", "r2_position", "r2_age")
# Of the worst seed. An oracle that misses one lowers it to 1.15 times its own error, which the page then says.
TARGETS: dict[str, dict[str, tuple[str, float]]] = {
    "additive-10": {"rmse": ("most", 0.04), "coverage_90_y": ("between", 0.03), **dict.fromkeys(_PARTS, ("least", 0.995)), "leakage": ("most", 0.02)},
    "additive-50": dict.fromkeys(_PARTS, ("least", 0.96)),
    "scaled-10": {"rmse": ("most", 0.06), "coverage_90_y": ("between", 0.03), **dict.fromkeys(_PARTS, ("least", 0.98))},
}


@dataclass(frozen=True)
class Points:
    """What is measured on: the generator's arrays, and what the encoder makes of the patches, (n, 4) class probabilities."""

    arrays: dict[str, Any]
    classes: Any


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-baselines", action="store_true", help="leave out the plain GP, the deep kernel and the random forest")
    parser.add_argument("--encoders", type=Path, help="folder with SEED/patches_joint bundles fitted before (default: fitted here)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        bundle = encoder_of(seed, arguments.out) if arguments.encoders is None else arguments.encoders / str(seed) / "patches_joint"
        for name in arguments.case:
            path = arguments.out / f"{name}-{seed}.json"
            if path.exists():
                continue
            print(f"{name}, seed {seed} ...", file=sys.stderr)
            row = one(name, seed, bundle, baselines=not arguments.no_baselines)
            path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    page = page_of(arguments.out)
    (arguments.out / "README.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def encoder_of(seed: int, out: Path) -> Path:
    """The encoder's bundle, fitted where it is not there yet."""
    from training.latent.pipeline import Request, fit_latent  # noqa: PLC0415
    from training.recipe import read_recipe  # noqa: PLC0415

    work = out / f".encoder-{seed}"
    if not (work / "patches_joint").exists():
        recipe = read_recipe(ENCODER)
        # Another seed than the points': the two generators would draw the same pixels' noise from one.
        recipe = recipe.model_copy(update={"seed": seed, "data": recipe.data.model_copy(update={"seed": _ENCODER_SEED + seed})})
        unfinished = any(work.glob(".checkpoints/*/*.safetensors"))
        fit_latent(Request(recipe, (), None, work, "cpu", resume=unfinished))
    return work / "patches_joint"


def one(name: str, seed: int, bundle: Path, *, baselines: bool) -> dict[str, Any]:
    """All figures of one case and seed."""
    from training.report.graphs import LatentGraphs  # noqa: PLC0415

    form, noise = CASES[name]
    graphs = LatentGraphs(bundle)
    began = time.monotonic()
    train, test = (
        _points(graphs, draw_patches_field(count, form=form, noise=noise, seed=seed, stream=stream).arrays)
        for stream, count in (("train", POINTS), ("test", TEST_POINTS))
    )
    validation = np.zeros(POINTS, bool)
    validation[np.random.default_rng(seed).permutation(POINTS)[: POINTS // 7]] = True
    row: dict[str, Any] = {"case": name, "seed": seed, "encoder": graphs.manifest.digest, "encoder_accuracy": _accuracy(test)}
    for who, features in (("ours", lambda points: points.classes), ("oracle", lambda points: np.eye(len(CLASSES))[points.arrays["labels"]])):
        made = Standardised(train.arrays, features(train))
        fitted = fit(MECHANISMS, FORMS[form], made(train.arrays, features(train)), train.arrays["y"], seed=seed, validation=validation)
        row[who] = figures(fitted, form, train.arrays, test.arrays, latents=made(test.arrays, features(test)), seed=seed)
    if baselines:
        row["baselines"] = _baselines(form, train.arrays, test.arrays, seed, validation)
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


def figures(fitted: Fitted, form: str, train: dict[str, Any], test: dict[str, Any], *, latents: Any, seed: int) -> dict[str, Any]:
    """Of one fit, on points it never saw."""
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
    inputs = {"patch": test["patch"].reshape(len(test["patch"]), -1), "position": test["position"], "age": test["age"]}
    for index, name in enumerate(told.names[1:], start=1):
        parts[name], truths[name] = told.mean[:, index], test[f"truth_{name}"] - train[f"truth_{name}"].mean()
        if form == "scaled" and name == "position":
            root = np.sqrt(np.mean(train["truth_patch"] ** 2))
            parts["patch"], truths["patch"] = told.factor[:, index], test["truth_patch"] / root
            truths[name] = test["truth_position"] * root
    found |= {f"r2_{name}": r_squared(parts[name], truths[name]) for name in parts}
    leaks = {f"{other}_to_{name}": leakage(parts[name], inputs[other], seed=seed) for name in parts for other in inputs if other != name}
    return found | {f"leakage_{pair}": value for pair, value in leaks.items()} | {"leakage": max(leaks.values())}


def page_of(out: Path) -> str:
    """The table of everything that stands in the folder."""
    lines = [
        "# Patches × field × ageing: parts, calibration, baselines",
        "",
        f"Written by `python -m benchmarks.mechanism_table`. {POINTS} points, {TEST_POINTS} fresh ones; the worst seed counts.",
        "RMSE is of f, over sd(f). The mechanisms are drawn independently and a part is a function of its own latents, so leakage is 0 here by",
        "construction; it is for data whose mechanisms are correlated.",
        "The oracle is the same process told the true classes; the bar is 1.15 times its error where it misses the target itself. Targets: issue 4.",
        "",
        "| case | figure | target | bar | ours, each seed | oracle, each seed | met |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    for name in CASES:
        of_case = sorted((row for row in rows if row["case"] == name), key=lambda row: row["seed"])
        if not of_case:
            continue
        wanted = TARGETS.get(name, {})
        for figure in ("rmse", "coverage_90_y", "coverage_90_f", *_PARTS, "leakage", "nlpd", "noise_sd"):
            ours, oracle = ([row[who][figure] for row in of_case] for who in ("ours", "oracle"))
            target, bar, met = _judged(wanted.get(figure), ours, oracle)
            lines.append(f"| {name} | {figure} | {target} | {bar} | {_list(ours)} | {_list(oracle)} | {met} |")
        for baseline in of_case[0].get("baselines", {}):
            told = [_list([row["baselines"][baseline][figure] for row in of_case]) for figure in ("rmse", "coverage_90_y", "nlpd")]
            lines.append(f"| {name} | {baseline}: rmse; coverage 90 %; nlpd | | | {'; '.join(told)} | | |")
    return "\n".join(lines) + "\n"


def _judged(target: tuple[str, float] | None, ours: list[float], oracle: list[float]) -> tuple[str, str, str]:
    if target is None:
        return "", "", ""
    kind, value = target
    if kind == "between":
        return "0.87 to 0.93", "", "yes" if all(abs(figure - 0.9) <= value for figure in ours) else "no"
    if kind == "most":
        bars = [max(value, 1.15 * figure) if figure > value else value for figure in oracle]
        met = all(figure <= bar for figure, bar in zip(ours, bars, strict=True))
        return f"≤ {value:g}", _list(bars) if bars != [value] * len(bars) else "", "yes" if met else "no"
    bars = [1 - 1.15 * (1 - figure) if figure < value else value for figure in oracle]
    met = all(figure >= bar for figure, bar in zip(ours, bars, strict=True))
    return f"≥ {value:g}", _list(bars) if bars != [value] * len(bars) else "", "yes" if met else "no"


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _points(graphs: Any, arrays: dict[str, Any]) -> Points:
    return Points(arrays, graphs.encode(arrays["patch"])["class_probabilities"].astype(np.float64))


def _raw(arrays: dict[str, Any], classes: Any) -> Any:
    return np.concatenate((classes, arrays["position"], arrays["age"]), axis=1)


def _accuracy(points: Points) -> float:
    from training.latent.class_metrics import class_agreement  # noqa: PLC0415

    return class_agreement(points.classes.argmax(axis=1), points.arrays["labels"], len(CLASSES), matched=True).accuracy


def _baselines(form: str, train: dict[str, Any], test: dict[str, Any], seed: int, validation: Any) -> dict[str, dict[str, float]]:
    def flat(arrays: dict[str, Any]) -> Any:
        return np.concatenate((arrays["patch"].reshape(len(arrays["patch"]), -1).astype(np.float64), arrays["position"], arrays["age"]), axis=1)

    def rest(arrays: dict[str, Any]) -> Any:
        return np.concatenate((arrays["position"], arrays["age"]), axis=1)

    told = {
        "plain GP": plain_gp(flat(train), train["y"], flat(test), seed=seed, validation=validation),
        "deep kernel": deep_kernel(train["patch"], rest(train), train["y"], test["patch"], rest(test), seed=seed),
        "random forest": random_forest(flat(train), train["y"], flat(test), seed=seed),
    }
    return {name: _of_baseline(each, form, test) for name, each in told.items()}


def _of_baseline(told: Told, form: str, test: dict[str, Any]) -> dict[str, float]:
    return {
        "rmse": rmse(told.mean, test["truth_f"]) / population_sd(form),
        "coverage_90_y": coverage(told.mean, told.variance, test["y"], 0.9),
        "nlpd": nlpd(told.mean, told.variance, test["y"]),
        "crps": crps(told.mean, told.variance, test["y"]),
    }


if __name__ == "__main__":
    sys.exit(main())
