"""Issue 4's last row: how many points active learning needs for the error that random points have at 400. `python -m benchmarks.mechanism_active`.

Patches × field × ageing, additive, noise 10 %. A pool of candidates whose inputs are known; all strategies begin with the same random points. At
every size of the curve the hyperparameters are fitted anew, from the points measured so far alone; between two sizes they stand, and picks are
greedy, each conditioned on those before. Error: RMSE of f on 2 000 fresh points, over sd(f). The patch's latents are its true class, or with
`--encoders` what a latent bundle tells of it. Needs the extra `training`. Resumable: what is done is read from the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import read_rows, write_rows
from training.data.patches_field import CLASSES, draw_patches_field, population_sd
from training.mechanism.acquisition import STRATEGIES, Candidates, Strategy, picks
from training.mechanism.figures import rmse
from training.mechanism.fit import Fitted, fit
from training.mechanism.structure import Mechanism, additive

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mechanism"
POOL, TEST_POINTS, START = 2000, 2000, 30
SIZES = (30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240, 280, 320, 360, 400)
NOISE, REACH = 0.1, 200
# Points that hyperparameters count as known from, and noises for which it is told what the model then expects.
KNOWN = 600
EXPECTED_NOISES = (0.1, 0.05, 0.0)
# Rounds of exchanges, each of which takes every point of a design out and puts the best of all in its place.
EXCHANGES = 3
# The error of random points at 400 depends on which: it is the mean of so many orders, the first of which the curve shows.
RANDOM_ORDERS = 3
MECHANISMS = (Mechanism("patch", 0, 4), Mechanism("position", 4, 2), Mechanism("age", 6, 1))
TERMS = additive("patch", "position", "age")
PART = "position"
NAMES = {
    "random": "random",
    "space_filling": "space-filling (farthest point)",
    "total_sd": "total sd",
    "part_sd": f"sd of the part {PART}",
    "mean_variance": "mean variance (ALC)",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategy", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--encoders", type=Path, help="folder with SEED/patches_joint bundles (default: true classes)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / ("active.json" if arguments.encoders is None else "active_encoded.json")
    rows = read_rows(path)
    for seed in arguments.seeds:
        bundle = None if arguments.encoders is None else arguments.encoders / str(seed) / "patches_joint"
        for strategy, order in [("random", order) for order in range(RANDOM_ORDERS)] + [(each, 0) for each in arguments.strategy if each != "random"]:
            if any((row["seed"], row["strategy"], row["order"]) == (seed, strategy, order) for row in rows):
                continue
            print(f"{strategy}, seed {seed}, order {order} ...", file=sys.stderr)
            rows.append({"seed": seed, "strategy": strategy, "order": order, **curve(strategy, seed, order, bundle)})
            write_rows(path, rows)
    known = path.with_name("active_expected.json")
    if not known.exists():
        found = {str(noise): {seed: expected(seed, noise) for seed in arguments.seeds} for noise in EXPECTED_NOISES}
        known.write_text(_lines(found), encoding="utf-8")
    page = page_of(
        rows,
        json.loads(known.read_text(encoding="utf-8")),
        "true classes" if arguments.encoders is None else "class probabilities of the fitted encoder",
    )
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def curve(strategy: Strategy, seed: int, order: int, bundle: Path | None) -> dict[str, Any]:
    """RMSE of f over sd(f) at each of SIZES."""
    began = time.monotonic()
    pool, test = (
        draw_patches_field(count, form="additive", noise=NOISE, seed=seed, stream=stream).arrays
        for stream, count in (("train", POOL), ("test", TEST_POINTS))
    )
    raw, at = (np.concatenate((_classes(each, bundle), each["position"], each["age"]), axis=1) for each in (pool, test))
    # Inputs of candidates are known before anything is measured.
    latents, new = ((values - raw.mean(axis=0)) / raw.std(axis=0) for values in (raw, at))
    measured = np.random.default_rng((seed, 30)).permutation(POOL)[:START].tolist()
    rng, errors, noises = np.random.default_rng((seed, 31, order)), [], []
    for size, following in zip(SIZES, (*SIZES[1:], None), strict=True):
        nothing = np.zeros(size, bool)
        fitted = fit(MECHANISMS, TERMS, latents[measured], pool["y"][measured], seed=seed, validation=nothing, starts=1)
        told = fitted.posterior.predict(new)
        errors.append(rmse(told.total_mean, test["truth_f"]) / population_sd("additive"))
        noises.append(float(np.sqrt(fitted.noise_variance)) / population_sd("additive"))
        if following is not None:
            needs = strategy not in ("random", "space_filling")
            candidates = _candidates(fitted, latents) if needs else Candidates(np.zeros((1, 1)), np.zeros(1))
            measured += picks(strategy, candidates, latents, measured, following - size, rng)
    return {
        "sizes": SIZES,
        "rmse": np.round(errors, 5).tolist(),
        "noise_sd": np.round(noises, 4).tolist(),
        "wall_s": round(time.monotonic() - began, 1),
    }


def expected(seed: int, noise: float) -> dict[str, Any]:
    """What the model itself expects of each strategy once its hyperparameters are known (those of 600 points): no luck of noise or of a fit in it.

    The root of the mean posterior variance over the pool, over sd(f), at each of SIZES; under "exchanged", of REACH points alone, those of ALC after
    exchanges: as good as any design that can be found, though nobody could choose it before measuring.
    """
    pool = draw_patches_field(POOL, form="additive", noise=noise, seed=seed, stream="train").arrays
    raw = np.concatenate((_classes(pool, None), pool["position"], pool["age"]), axis=1)
    latents = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    fitted = fit(MECHANISMS, TERMS, latents[:KNOWN], pool["y"][:KNOWN], seed=seed, validation=np.zeros(KNOWN, bool), starts=1)
    begun = np.random.default_rng((seed, 30)).permutation(POOL)[:START].tolist()
    found: dict[str, Any] = {}
    for strategy in STRATEGIES:
        chosen = begun + picks(strategy, _candidates(fitted, latents), latents, begun, SIZES[-1] - START, np.random.default_rng((seed, 31, 0)))
        errors, known = [], _candidates(fitted, latents)
        for before, size in zip((0, *SIZES[:-1]), SIZES, strict=True):
            known.condition(chosen[before:size])
            errors.append(float(np.sqrt(np.mean(np.diag(known.covariance)))) / population_sd("additive"))
        found[strategy] = np.round(errors, 5).tolist()
        if strategy == "mean_variance":
            best = _candidates(fitted, latents)
            exchange(best, chosen[:REACH], EXCHANGES)
            found["exchanged"] = round(float(np.sqrt(np.mean(np.diag(best.covariance)))) / population_sd("additive"), 5)
        print(f"expected: {strategy}, noise {noise:.0%}, seed {seed} done", file=sys.stderr)
    return found


def exchange(candidates: Candidates, chosen: list[int], rounds: int) -> list[int]:
    """Improves a design: takes each point out, and puts in its place the one that then lowers the mean variance most.

    Args:
        candidates: before anything is measured; left conditioned on the design.
        chosen: the design to begin with.
        rounds: how often every point is taken out.

    Returns:
        The design.
    """
    design = list(chosen)
    candidates.condition(design)
    for _ in range(rounds):
        for place, index in enumerate(design):
            candidates.forget(index)
            scores = candidates.scores("mean_variance")
            scores[[each for each in design if each != index]] = -np.inf
            design[place] = int(np.argmax(scores))
            candidates.observe(design[place])
    return design


def _candidates(fitted: Fitted, latents: Any) -> Candidates:
    kernels = {values.term.name: fitted.structure.covariance(values, latents, latents) for values in fitted.structure.terms}
    return Candidates(np.sum(list(kernels.values()), axis=0), np.full(len(latents), fitted.noise_variance), kernels[PART])


def _classes(arrays: dict[str, Any], bundle: Path | None) -> Any:
    if bundle is None:
        return np.eye(len(CLASSES))[arrays["labels"]]
    from training.report.graphs import LatentGraphs  # noqa: PLC0415

    return LatentGraphs(bundle).encode(arrays["patch"])["class_probabilities"].astype(np.float64)


def _lines(found: Any, depth: int = 1) -> str:
    """JSON, a line for each curve."""
    if not isinstance(found, dict):
        return json.dumps(found)
    inner = ",\n".join(f"{' ' * depth}{json.dumps(str(key))}: {_lines(value, depth + 1)}" for key, value in found.items())
    return f"{{\n{inner}\n{' ' * (depth - 1)}}}" + ("\n" if depth == 1 else "")


def needed(row: dict[str, Any], target: float) -> int | None:
    """The first size at which the error is no more than `target`; None: at none."""
    return next((size for size, error in zip(row["sizes"], row["rmse"], strict=True) if error <= target), None)


def page_of(rows: list[dict[str, Any]], known: dict[str, dict[str, dict[str, Any]]], latents: str) -> str:
    """The table."""
    seeds = sorted({row["seed"] for row in rows})
    targets = {seed: float(np.mean([row["rmse"][-1] for row in rows if row["seed"] == seed and row["strategy"] == "random"])) for seed in seeds}
    lines = [
        "# Active learning: points to reach the error of 400 random ones",
        "",
        f"Written by `python -m benchmarks.mechanism_active`. Patches × field × ageing, additive, noise {NOISE:.0%}, patches as their {latents};",
        f"a pool of {POOL} candidates, the same {START} random points to begin with, hyperparameters fitted anew from the measured points at every",
        f"size. Error: RMSE of f on {TEST_POINTS} fresh points over sd(f). The error to reach is the mean of {RANDOM_ORDERS} random orders at "
        f"{SIZES[-1]} points:",
        f"{', '.join(f'{targets[seed]:.4f} (seed {seed})' for seed in seeds)}. Reach of issue 4: {REACH} points or fewer at the worst seed.",
        "",
        f"| strategy | points needed, each seed | worst | ≤ {REACH} | error at 100 | error at 200 | error at 400 |",
        "|---|---|---|---|---|---|---|",
    ]
    for strategy in STRATEGIES:
        own = sorted((row for row in rows if row["strategy"] == strategy and row["order"] == 0), key=lambda row: row["seed"])
        if not own:
            continue
        found = [needed(row, targets[row["seed"]]) for row in own]
        worst = None if None in found else max(size for size in found if size is not None)
        told = ", ".join("more" if size is None else str(size) for size in found)
        at = ["; ".join(f"{row['rmse'][SIZES.index(size)]:.4f}" for row in own) for size in (100, 200, 400)]
        met = "" if strategy == "random" else "no" if worst is None or worst > REACH else "yes"
        lines.append(f"| {NAMES[strategy]} | {told} | {worst or 'more than 400'} | {met} | {' | '.join(at)} |")
    lines += [
        "",
        f"What the model expects of each once its hyperparameters are known (those of {KNOWN} points): the root of the mean posterior variance of f",
        "over the pool, over sd(f). No luck of one noise or of one fit is in it. *Exchanged*: the points of ALC, each of them taken out in turn and",
        f"the best of all put in its place, {EXCHANGES} rounds: what {REACH} points of this pool can do where everything is known beforehand.",
        "",
        f"| noise | strategy | points for the expected error of {SIZES[-1]} random ones, each seed | at 100 | at {REACH} | at {SIZES[-1]} |",
        "|---|---|---|---|---|---|",
    ]
    for noise, seeds_found in known.items():
        for strategy in STRATEGIES:
            own = [each[strategy] for each in seeds_found.values()]
            found = [needed({"sizes": SIZES, "rmse": each[strategy]}, each["random"][-1]) for each in seeds_found.values()]
            at = ["; ".join(f"{errors[SIZES.index(size)]:.4f}" for errors in own) for size in (100, REACH, 400)]
            told = ", ".join("more" if size is None else str(size) for size in found)
            lines.append(f"| {float(noise):.0%} | {NAMES[strategy]} | {told} | {' | '.join(at)} |")
        exchanged = "; ".join(f"{each['exchanged']:.4f}" for each in seeds_found.values())
        lines.append(f"| {float(noise):.0%} | exchanged | | | {exchanged} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
