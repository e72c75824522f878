"""Inducing points where there are too many points for an exact posterior. `python -m benchmarks.mechanism_inducing`.

200 000 points of patches × field × ageing (science.md 3.3 (a)) with noise of 10 %, the true classes as the patch's latents, so that no encoder is
needed: time, peak memory, error, coverage and recovered parts on fresh points. And 5 000 points, beside the exact posterior of the same structure.
Needs the extra `training`. One process, one thread; about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.patches_field import FACTOR, LEVEL, ageing, field, population_sd
from training.mechanism.figures import coverage, nlpd, r_squared, rmse
from training.mechanism.fit_inducing import FittedInducing, fit_inducing
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Array, Mechanism, additive, scaled

RESULT = Path(__file__).resolve().parent / "results" / "mechanism" / "inducing.json"
MECHANISMS = (Mechanism("patch", 0, 4), Mechanism("position", 4, 2), Mechanism("age", 6, 1))
FORMS = {"additive": additive("patch", "position", "age"), "scaled": scaled("patch", "position", "age")}
NOISE, SET_ASIDE, TEST_POINTS = 0.1, 2000, 4000


@dataclass(frozen=True)
class Drawn:
    """Latents (n, 7), unstandardised, the parts in the generator's own gauge, f and y, each (n,)."""

    latents: Array
    own: Array
    h: Array
    g: Array
    f: Array
    y: Array


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--inducing", type=int, default=512)
    parser.add_argument("--form", nargs="+", choices=sorted(FORMS), default=sorted(FORMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file; the page is written beside it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "seed": arguments.seed, "threads": 1, "noise": NOISE, "rows": [], "beside_exact": []}
    for form in arguments.form:
        facts["rows"].append(many(form, arguments.points, arguments.inducing, arguments.seed))
        arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    # Last: the exact posterior needs more memory than all before.
    for form in arguments.form:
        facts["beside_exact"].append(beside_exact(form, 5000, arguments.inducing, arguments.seed))
        arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    page = page_of(facts)
    arguments.out.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def drawn(count: int, form: str, seed: int) -> Drawn:
    """Classes in turn, places and ages uniform on [0, 1]."""
    rng = np.random.default_rng(seed)
    inputs, error = rng.random((count, 3)), rng.standard_normal(count)
    return told(np.column_stack((np.eye(4)[np.arange(count) % 4], inputs)), form, error)


def told(latents: Array, form: str, error: Array) -> Drawn:
    """The generator's answer at latents (n, 7); y has errors of `error` (n,) times 10 % of sd(f)."""
    own = np.array(LEVEL if form == "additive" else FACTOR)[latents[:, :4].argmax(axis=1)]
    h, g = field(latents[:, 4:6]), ageing(latents[:, 6])
    f = own + h + g if form == "additive" else own * h + g
    return Drawn(latents, own, h, g, f, f + NOISE * population_sd(form) * error)


def fitted(train: Drawn, form: str, inducing: int, seed: int) -> tuple[FittedInducing, Array, Array]:
    """And the latents' mean and standard deviation."""
    mean, sd = train.latents.mean(axis=0), train.latents.std(axis=0)
    validation = np.zeros(len(train.y), bool)
    validation[np.random.default_rng(seed).permutation(len(train.y))[: min(SET_ASIDE, len(train.y) // 7)]] = True
    found = fit_inducing(MECHANISMS, FORMS[form], (train.latents - mean) / sd, train.y, seed=seed, validation=validation, inducing=inducing)
    return found, mean, sd


def many(form: str, count: int, inducing: int, seed: int) -> dict[str, Any]:
    """All figures of one form."""
    train, test = drawn(count, form, seed), drawn(TEST_POINTS, form, 10_000 + seed)
    began, processor = time.monotonic(), time.process_time()
    found, mean, sd = fitted(train, form, inducing, seed)
    row: dict[str, Any] = {
        "form": form,
        "points": count,
        "inducing": len(found.posterior.latents),
        "rank": len(found.posterior.inverse),
        "fit_wall_s": time.monotonic() - began,
        "fit_cpu_s": time.process_time() - processor,
        # Of Linux, in kB.
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }
    answer = found.posterior.predict((test.latents - mean) / sd)
    observed, size = answer.total_variance + found.noise_variance, population_sd(form)
    row |= {
        "rmse": rmse(answer.total_mean, test.f) / size,
        "nlpd": nlpd(answer.total_mean, observed, test.y),
        "noise_sd": float(np.sqrt(found.noise_variance)) / size,
        "coverage_90_y": coverage(answer.total_mean, observed, test.y, 0.9),
        "coverage_90_f": coverage(answer.total_mean, answer.total_variance, test.f, 0.9),
    }
    # The gauge: means over the inducing points by their weights.
    at, weights = told(found.posterior.latents * sd + mean, form, np.zeros(len(found.posterior.latents))), found.posterior.reference
    place = {name: index for index, name in enumerate(answer.names)}
    root = 1.0 if form == "additive" else float(np.sqrt(weights @ at.own**2))
    truths = {"age": test.g - weights @ at.g, "position": test.h - weights @ at.h if form == "additive" else test.h * root}
    parts = {name: answer.mean[:, place[name]] for name in truths}
    if form == "additive":
        truths["patch"], parts["patch"] = test.own - weights @ at.own, answer.mean[:, place["patch"]]
    else:
        truths["patch"], parts["patch"] = test.own / root, answer.factor[:, place["position"]]
    # How far the gauge is from that of all training points.
    row["gauge_off"] = max(abs(float(weights @ few - whole.mean())) for few, whole in ((at.own, train.own), (at.h, train.h), (at.g, train.g)))
    return row | {f"r2_{name}": r_squared(parts[name], truths[name]) for name in sorted(parts)}


def beside_exact(form: str, count: int, inducing: int, seed: int) -> dict[str, Any]:
    """The same structure and points, with and without inducing points."""
    train, test = drawn(count, form, seed), drawn(1000, form, 10_000 + seed)
    found, mean, sd = fitted(train, form, inducing, seed)
    noise = np.full(count, found.noise_variance)
    exact = Posterior(found.structure, (train.latents - mean) / sd, train.y, noise, np.full(count, 1 / count))
    one, other = (each.predict((test.latents - mean) / sd) for each in (found.posterior, exact))
    size = population_sd(form)
    return {
        "form": form,
        "points": count,
        "inducing": len(found.posterior.latents),
        "mean_rmse": rmse(one.total_mean, other.total_mean) / size,
        "sd_rmse": rmse(np.sqrt(one.total_variance), np.sqrt(other.total_variance)) / size,
        "sd": float(np.sqrt(other.total_variance).mean()) / size,
        "rmse": rmse(one.total_mean, test.f) / size,
        "exact_rmse": rmse(other.total_mean, test.f) / size,
    }


def page_of(facts: dict[str, Any]) -> str:
    """Both tables."""
    lines = [
        "# Inducing points: many points, and beside the exact posterior",
        "",
        f"Written by `python -m benchmarks.mechanism_inducing` on {facts['date']}, seed {facts['seed']}, one thread of a shared machine.",
        f"Patches × field × ageing, noise {facts['noise']:.0%} of sd(f), true classes as latents. RMSE of f and noise_sd are over sd(f);",
        "gauge_off is the largest difference of a part's mean over the weighted inducing points from that over all training points.",
        "",
    ]
    names = ["form", "points", "inducing", "fit_wall_s", "fit_cpu_s", "peak_memory_mb", "rmse", "coverage_90_y", "coverage_90_f", "noise_sd"]
    names += ["r2_patch", "r2_position", "r2_age", "gauge_off"]
    lines += _table(names, facts["rows"])
    lines += [
        "",
        "The same structure and 5 000 points, told by inducing points and exactly; over sd(f). `sd` is the exact posterior's own, in the mean.",
        "",
    ]
    lines += _table(["form", "points", "inducing", "mean_rmse", "sd_rmse", "sd", "rmse", "exact_rmse"], facts["beside_exact"])
    return "\n".join(lines) + "\n"


def _table(names: list[str], rows: list[dict[str, Any]]) -> list[str]:
    head = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return head + ["| " + " | ".join(_cell(name, row[name]) for name in names) + " |" for row in rows]


def _cell(name: str, value: Any) -> str:
    if name.endswith(("_s", "_mb")):
        return f"{value:.0f}"
    if name.startswith("r2"):
        return f"{value:.5f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
