"""Issue 6: does it help to go from the shortest window to the longest? `python -m benchmarks.scales_order`.

Each recipe is fitted in every order with as many epochs in total: progressively, in reverse, each length from first weights ("cold"), one model of
all lengths ("joint"), one length alone for all of them ("single": the longest window's cold start at equal total compute). Held-out −ELBO at every
window, several seeds, which draw blocks, weights, and drawn data, anew. Measured scans are looked up in DICHROIC_DATA and left out
without it. Needs the extra `training`. Resumable: what is done, by the recipe as it is, is read from the JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import read_rows, write_rows
from benchmarks.scales_order_page import ORDERS, page_of
from training.latent.pipeline import Request, settle_torch
from training.recipe import FileData, Recipe, read_recipe
from training.scales.figures import stage_figures
from training.scales.fit import Leg, fit_legs, legs_of, single_leg
from training.scales.prepare import Stage, prepare_scales

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scales"
RECIPES, SEEDS = ("scales_stripes", "scales_pto", "scales_pzt"), range(5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, nargs="+", default=RECIPES, help="these recipes alone")
    parser.add_argument("--seed", type=int, nargs="+", default=list(SEEDS), help="these seeds alone")
    parser.add_argument("--order", choices=ORDERS, nargs="+", default=ORDERS, help="these orders alone")
    parser.add_argument("--quick", action="store_true", help="the drawn recipe and two seeds, two epochs of few windows: shows that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    settle_torch(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / ("order_quick.json" if arguments.quick else "order.json")
    rows = read_rows(path)
    for name in arguments.recipe[:1] if arguments.quick else arguments.recipe:
        if isinstance(read_recipe(ROOT / "recipes" / f"{name}.toml").data, FileData) and "DICHROIC_DATA" not in os.environ:
            print(f"{name}: left out, DICHROIC_DATA is not set", file=sys.stderr)
            continue
        digest = digest_of(name)
        rows = [row for row in rows if row["recipe"] != name or row.get("digest") == digest]
        for seed in arguments.seed[:2] if arguments.quick else arguments.seed:
            for order in arguments.order:
                if any((row["recipe"], row["seed"], row["order"]) == (name, seed, order) for row in rows):
                    continue
                print(f"{name}, seed {seed}, {order} ...", file=sys.stderr, flush=True)
                rows.append({"recipe": name, "digest": digest, "seed": seed, "order": order, **fitted(name, seed, order, quick=arguments.quick)})
                write_rows(path, rows)
    page = page_of(rows)
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def fitted(name: str, seed: int, order: str, *, quick: bool) -> dict[str, Any]:
    """One fit in one order, and its figures at every window."""
    recipe, stages = prepared(name, seed, quick=quick)
    began = time.process_time()
    legs = legs_for(order, len(stages), recipe.training.epochs)
    with tempfile.TemporaryDirectory() as folder:
        found = fit_legs(recipe, stages, legs, folder=Path(folder), fingerprint="order", device=torch.device("cpu"), resume=False)
    fit_s = time.process_time() - began
    figures = [stage_figures(model, stage, seed) for model, stage in zip(found.models, stages, strict=True)]
    return {
        "steps": found.steps,
        "windows": [stage.label for stage in stages],
        "negative_elbo": [each.negative_elbo for each in figures],
        "explained": [each.explained for each in figures],
        "active": [each.use.active_count for each in figures],
        "held_out": len(stages[-1].prepared.held_out.images),
        "fit_cpu_s": round(fit_s, 1),
    }


def legs_for(order: str, stages: int, epochs: int) -> tuple[Leg, ...]:
    """The legs of an order, or of the longest window alone."""
    if order == "single":
        return single_leg(stages - 1, stages, epochs)
    return legs_of(order, stages, epochs)  # type: ignore[arg-type] # one of ORDERS


def digest_of(name: str) -> str:
    """Of what a recipe says but its texts: rows of another recipe under the same name are not its own."""
    facts = read_recipe(ROOT / "recipes" / f"{name}.toml").model_dump_json(exclude={"card", "seed"})
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def prepared(name: str, seed: int, *, quick: bool) -> tuple[Recipe, tuple[Stage, ...]]:
    """The recipe with this seed, and its descriptors: the same for every order."""
    recipe = read_recipe(ROOT / "recipes" / f"{name}.toml").model_copy(update={"seed": seed})
    if not isinstance(recipe.data, FileData):
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"seed": seed})})
    if quick and recipe.scales is not None:
        lessons = ("equivariance", "orientation")
        short = {"epochs": 2} | {name: getattr(recipe.training, name).model_copy(update={"epochs": 0}) for name in lessons}
        changes = {
            "training": recipe.training.model_copy(update=short),
            "scales": recipe.scales.model_copy(update={"patches_per_scale": 200}),
        }
        recipe = recipe.model_copy(update=changes)
    return recipe, prepare_scales(Request(recipe, (), None, Path(), "cpu", resume=False))


if __name__ == "__main__":
    sys.exit(main())
