"""Issue 3's table: classes and poses of held-out cards, every case over several seeds. `python -m benchmarks.latent_table --case NAME`.

Needs the extra `training`. Resumable: a seed that is done is read from its JSON, one that was interrupted goes on from its checkpoint.
`--budget demo` takes minutes for each seed on two cores, `--budget full` hours there, or minutes on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results" / "latent"
CARD = {"title": "Benchmark", "description": "A case of the table.", "limits": "Drawn cards.", "published": "See the case.", "ours": "See the case."}
NETWORK = {"encoder": "convolutional", "encoder_channels": [16, 32, 32], "encoder_widths": [128], "content_size": 2, "shift_prior_sd": 0.2}
# Of cards and steps: unlabelled cards of each suit, epochs of alignment's lesson and of the bound, pixels and pairs per step, decoder widths.
BUDGETS = {
    "smoke": {"per_suit": 20, "lessons": 1, "epochs": 1, "pixels": 32, "pairs": 2, "widths": [16, 16], "side": 16, "labelled": 10},
    "demo": {"per_suit": 500, "lessons": 8, "epochs": 40, "pixels": 96, "pairs": 2, "widths": [64, 64], "side": 48, "labelled": 200},
    "full": {"per_suit": 3000, "lessons": 4, "epochs": 60, "pixels": 256, "pairs": 3, "widths": [128, 128], "side": 48, "labelled": 200},
}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        data: the cards: keys of [data].
        model: keys of [model] beside NETWORK.
        alignment: keys of [training.alignment] beside its epochs and weight.
        targets: figure: the least value that the worst seed must reach.
        published: the figure found elsewhere, for the table.
        classes: keys of [training.classes] beside the budget's.
        lessons: how many times the budget's epochs of lessons: the more there is to a pose, the longer it takes to learn. Lessons are cheap.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    alignment: dict[str, Any]
    targets: dict[str, float]
    published: str
    lessons: int = 1
    classes: dict[str, Any] = field(default_factory=dict)


_SEMI = {"class_source": "semi_supervised", "classes": 4, "angle_bins": 12}
_JOINT = {"class_source": "joint", "classes": 4, "angle_bins": 12}
_WIDE = {"labelled_angle_deg": 4.0, "angle_deg": 60.0, "shear_deg": 1.0, "shift": 0.1, "scale": [1.0, 1.3]}
CASES = {
    "ss-rvae-shear-1": Case(
        {"angle_deg": 120.0, "shear_deg": 1.0, "shift": 0.0}, {"invariances": ["rotation"], **_SEMI}, {}, {"class_accuracy": 0.995}, "0.984"
    ),
    "ss-rvae-shear-20": Case(
        {"angle_deg": 120.0, "shear_deg": 20.0, "shift": 0.0}, {"invariances": ["rotation"], **_SEMI}, {}, {"class_accuracy": 0.97}, "0.829"
    ),
    "ss-trsvae": Case(
        _WIDE, {"invariances": ["rotation", "translation", "scale"], **_SEMI}, {"scale": [0.95, 1.35]}, {"class_accuracy": 0.97}, "0.8735", 5
    ),
    "joint-rvae-120": Case(
        {"angle_deg": 120.0, "shear_deg": 1.0, "shift": 0.0}, {"invariances": ["rotation"], **_JOINT}, {}, {"class_accuracy": 0.99}, "none"
    ),
    "joint-trvae-120": Case(
        {"angle_deg": 120.0, "shear_deg": 1.0, "shift": 0.1},
        {"invariances": ["rotation", "translation"], **_JOINT},
        {},
        {"class_accuracy": 0.97},
        "none",
        5,
        # Without it one fit of three let two suits share a class once content was let in.
        {"usage_weight": 100.0},
    ),
    "joint-rvae-180": Case(
        {"angle_deg": 180.0, "shear_deg": 1.0, "shift": 0.0},
        {"invariances": ["rotation"], **_JOINT},
        {},
        {"class_accuracy": 0.95, "angle_correlation_worst": 0.99},
        "none",
    ),
}


_PAGE = """# Classes and poses of held-out cards, budget `{budget}`

Written by `python -m benchmarks.latent_table --budget {budget}`. The worst seed counts; a case that
is not here, or with fewer than three seeds, was not run so far. Every seed draws cards of its own; held-out cards
come from an independent random stream. Published figures are of other people's cards; `none`: no figure was ever published. In every case
classes and poses are aligned first ([decision 0011](../../../docs/decisions/0011-alignment-before-the-bound.md)).

{table}
"""


def recipe_facts(name: str, budget: str, seed: int) -> dict[str, Any]:
    """The recipe of a case, as a recipe file would hold it. Every seed draws cards of its own."""
    case, size = CASES[name], BUDGETS[budget]
    semi = case.model["class_source"] == "semi_supervised"
    data = {"source": "cards", "train_per_suit": size["per_suit"], "test_per_suit": 250, "side_px": size["side"], "seed": seed, **case.data}
    training = {
        "epochs": size["epochs"],
        "batch_size": 64,
        "learning_rate": 2e-3,
        "learning_rate_end": 1e-4,
        "pixels_per_step": size["pixels"],
        # Content is held off until classes and poses have settled, or it absorbs them.
        "content_beta_start": 20.0,
        "content_beta_until": 0.4,
        "threads": 1,
        "classes": {"pairs_per_step": size["pairs"], "random_pairs": 1, **case.classes},
        "alignment": {"epochs": size["lessons"] * case.lessons, "weight": 100.0, **case.alignment},
    }
    return {
        "name": f"{name}-{budget}",
        "kind": "latent",
        "seed": seed,
        "data": {**data, **({"labelled_per_suit": size["labelled"]} if semi else {})},
        "normalisation": {"input_low": [0.0], "input_high": [1.0]},
        "model": {**NETWORK, "decoder_widths": size["widths"], **case.model},
        "training": training,
        "card": CARD,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Fits the cases of the latent table and measures classes and poses on cards never seen.")
    parser.add_argument("--case", nargs="+", choices=sorted(CASES), default=sorted(CASES), help="which cases (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of data and fit (default: 0 1 2)")
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="demo", help="how much work (default: demo)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files (default: benchmarks/results/latent)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {name: [one_seed(name, arguments.budget, seed, arguments.device, arguments.out) for seed in arguments.seeds] for name in arguments.case}
    print(table(results))
    page = _PAGE.format(budget=arguments.budget, table=table(on_disk(arguments.budget, arguments.out)))
    (arguments.out / f"{arguments.budget}.md").write_text(page, encoding="utf-8")
    met = all(worst(name, rows)[figure] >= least for name, rows in results.items() for figure, least in CASES[name].targets.items())
    print(f"targets {'met' if met else 'NOT met'}; figures in {arguments.out}")
    return 0 if met else 1


def one_seed(name: str, budget: str, seed: int, device: str, out: Path) -> dict[str, Any]:
    """The figures of one fit: from its JSON when it was done before with the same recipe, else fitted, or resumed."""
    from training.latent.pipeline import Request, choose_device, fit_latent  # noqa: PLC0415
    from training.recipe import Recipe  # noqa: PLC0415

    facts = recipe_facts(name, budget, seed)
    path = out / f"{name}-{budget}-{seed}.json"
    if path.exists():
        done = json.loads(path.read_text(encoding="utf-8"))
        if done["recipe"] == facts:
            return dict(done)
    print(f"{name}, {budget}, seed {seed} ...", file=sys.stderr)
    recipe = Recipe.model_validate_json(json.dumps(facts))
    work = out / f".work-{name}-{budget}-{seed}"
    # A checkpoint of another recipe lies under another name and is never taken.
    unfinished = any(work.glob(".checkpoints/*/*.safetensors"))
    began = time.monotonic()
    written = _fit(Request(recipe, (), None, work, device, resume=unfinished), fit_latent)
    figures = {metric.name: metric.value for metric in written.manifest.metrics}
    chosen = choose_device(device).type
    row = {
        "case": name,
        "budget": budget,
        "seed": seed,
        "device": chosen,
        "wall_s": round(time.monotonic() - began, 1),
        "resumed": unfinished,
        "figures": figures,
        "recipe": facts,
    }
    path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return row


def _fit(request: Any, fit_latent: Any) -> Any:
    from dataclasses import replace  # noqa: PLC0415

    from training.errors import InputError  # noqa: PLC0415

    try:
        return fit_latent(request)
    except InputError as error:
        if not (request.resume and error.reason == "CHECKPOINT_MISSING"):
            raise
        return fit_latent(replace(request, resume=False))


def on_disk(budget: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Every result of a budget that stands in the folder and is of the recipe as it is now, by case and seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in CASES:
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob(f"{name}-{budget}-*.json"))]
        rows = [row for row in rows if row["recipe"] == recipe_facts(name, budget, row["seed"])]
        if rows:
            found[name] = sorted(rows, key=lambda row: row["seed"])
    return found


def worst(name: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """The least value over the seeds of each figure that has a target."""
    return {figure: min(row["figures"][figure] for row in rows) for figure in CASES[name].targets}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """One line for each case and figure: published, target, every seed, the worst, wall time and device."""
    lines = ["| case | figure | published | target | seeds | worst | met | wall (s) | device |", "|---|---|---|---|---|---|---|---|---|"]
    for name, rows in results.items():
        for figure, least in CASES[name].targets.items():
            values = ", ".join(f"{row['figures'][figure]:.4f}" for row in rows)
            low = worst(name, rows)[figure]
            wall, devices = max(row["wall_s"] for row in rows), "/".join(sorted({row["device"] for row in rows}))
            lines.append(
                f"| {name} | {figure} | {CASES[name].published} | {least:g} | {values} | {low:.4f} | "
                f"{'yes' if low >= least else 'no'} | {wall:.0f} | {devices} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
