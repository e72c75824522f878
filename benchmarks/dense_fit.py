"""`python -m benchmarks.dense --fit`: what the dense encoders learn beside the MLP, on the cards recipe's own data and epochs, several seeds.

Resumable: what is done, by the recipe as it is, is read from the JSON; where all is, the page is written anew from it and nothing is fitted.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The published family's encoder, and dense ones with the channels and the width of the recipe's own; keys of [model] in place of the recipe's.
ENCODERS: dict[str, dict[str, Any]] = {
    "mlp": {"encoder": "mlp", "encoder_widths": [128, 128]},
    "dense, moments": {"encoder": "dense", "dense_head": "moments", "encoder_channels": [16, 32, 32], "encoder_widths": [96]},
    "dense, full": {"encoder": "dense", "dense_head": "full", "encoder_channels": [16, 32, 32], "encoder_widths": [96]},
}
# The least that counts as a smoke test: as the recipe otherwise.
QUICK: dict[str, Any] = {"data": {"train_per_suit": 30, "test_per_suit": 10}, "training": {"epochs": 1}}
# Figures of the model card, and whether less is better.
FIGURES = {"negative_elbo": True, "angle_error_deg_worst": True, "angle_correlation_worst": False, "shift_r2_worst": False}
RECIPE = "recipes/cards.toml"
_HEAD = """# What the dense encoders learn

Written by `python -m benchmarks.dense --fit`. The recipe `{recipe}` as it stands, drawn card suits whose pose is to be found, with other encoders
and several seeds, each of which draws cards, weights and batches anew. Figures of held-out cards, as on the recipe's
[model card](../../../bundles/cards/1/README.md); of {less} less is better, of {more} more. The recipe's own encoder
(`encoder = "{own}"`) is not run here. A dense encoder has no padding, so that a server evaluates it once over a whole frame
([recipes](../../../docs/recipes.md#dense-encoders)).

{encoders}

## Held-out figures

{table}

## No worse than the MLP

In every figure: a mean over the seeds that is worse by no more than the larger standard deviation of the two over theirs.

| encoder | no worse |
|---|---|
{verdicts}
"""
# By encoder and seed.
Found = dict[str, dict[int, dict[str, float]]]


def compare(seeds: list[int], out: Path, *, quick: bool) -> int:
    """Fits every encoder for every seed, and writes `dense_fit.json`, its page `dense_fit.md` at the end, and a table on the screen.

    Returns:
        0 where no dense encoder's mean is worse than the MLP's in −ELBO and angle error by more than the seeds' spread, and for `quick`; else 1.
    """
    path = out / "dense_fit.json"
    found: Found = {name: {} for name in ENCODERS} if quick else done(path)
    for seed in seeds[:1] if quick else seeds:
        for name in ENCODERS:
            if seed in found[name]:
                continue
            found[name][seed] = figures(name, seed, quick=quick)
            if not quick:
                out.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(facts_of(found), indent=1) + "\n", encoding="utf-8")
    if not quick:
        path.with_suffix(".md").write_text(page_of(found), encoding="utf-8")
    print(table(found))
    return 0 if quick or all(no_worse(found, name) for name in ENCODERS) else 1


def facts_of(found: Found) -> dict[str, Any]:
    """What the JSON holds."""
    return {"recipe": RECIPE, "recipe_sha256": hashlib.sha256((ROOT / RECIPE).read_bytes()).hexdigest(), "encoders": ENCODERS, "figures": found}


def done(path: Path) -> Found:
    """What an earlier run left, if it was of this recipe and of these encoders."""
    nothing: Found = {name: {} for name in ENCODERS}
    if not path.exists():
        return nothing
    facts = json.loads(path.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(facts_of(nothing)))
    if any(facts.get(key) != wanted[key] for key in ("recipe_sha256", "encoders")):
        return nothing
    return nothing | {name: {int(seed): row for seed, row in rows.items()} for name, rows in facts["figures"].items()}


def figures(name: str, seed: int, *, quick: bool) -> dict[str, float]:
    """Held-out figures of one fit; nothing is exported."""
    import torch  # noqa: PLC0415

    from training.latent.checkpoint import CheckpointStore  # noqa: PLC0415
    from training.latent.figures import measure  # noqa: PLC0415
    from training.latent.pipeline import Request, fingerprint_of, fit_model, prepare, settle_torch  # noqa: PLC0415
    from training.recipe import Recipe  # noqa: PLC0415

    facts = tomllib.loads((ROOT / RECIPE).read_text(encoding="utf-8"))
    facts["seed"] = facts["data"]["seed"] = seed
    for key in ("encoder", "encoder_channels", "encoder_widths"):
        facts["model"].pop(key, None)
    facts["model"] |= ENCODERS[name]
    if quick:
        facts["data"] |= QUICK["data"]
        facts["training"] |= QUICK["training"]
        facts["training"]["equivariance"]["epochs"] = 1
    print(f"{name}, seed {seed} ...", file=sys.stderr)
    recipe = Recipe.model_validate_json(json.dumps(facts))
    settle_torch(1)
    prepared = prepare(Request(recipe, (), None, Path(), "cpu", resume=False))
    with tempfile.TemporaryDirectory() as work:
        store = CheckpointStore(Path(work) / "fit", fingerprint_of(recipe, prepared))
        fitted = fit_model(recipe, prepared, store, torch.device("cpu"), resume=False)
    metrics, _, _ = measure(fitted.model, prepared, seed)
    by_name = {metric.name: metric.value for metric in metrics}
    return {figure: by_name[figure] for figure in FIGURES}


def no_worse(found: Found, name: str) -> bool:
    """Whether an encoder's mean over the seeds is no worse than the MLP's by more than the larger of their standard deviations."""
    for figure, less in FIGURES.items():
        own, others = ([row[figure] for row in found[each].values()] for each in (name, "mlp"))
        spread = max(statistics.stdev(own), statistics.stdev(others)) if len(own) > 1 else 0.0
        worse = statistics.mean(own) - statistics.mean(others)
        if (worse if less else -worse) > spread:
            return False
    return True


def page_of(found: Found) -> str:
    """The page of these results, all of the recipe and the encoders as they are."""
    own = tomllib.loads((ROOT / RECIPE).read_text(encoding="utf-8"))["model"]["encoder"]
    less, more = (" and ".join(f"`{figure}`" for figure in FIGURES if FIGURES[figure] is wanted) for wanted in (True, False))
    encoders = "\n".join(f"- *{name}*: {_told(ENCODERS[name])}" for name in found)
    verdicts = "\n".join(f"| {name} | {'yes' if no_worse(found, name) else 'no'} |" for name in found if name != "mlp")
    return _HEAD.format(recipe=RECIPE, less=less, more=more, own=own, encoders=encoders, table=table(found), verdicts=verdicts)


def _told(encoder: dict[str, Any]) -> str:
    """An encoder's keys of [model] in words."""
    channels, widths = (", ".join(map(str, encoder.get(key, ()))) for key in ("encoder_channels", "encoder_widths"))
    if encoder["encoder"] == "mlp":
        return f"dense layers of {widths} on all pixels, the published family's widths."
    heads = {"moments": "means of each channel, plain and weighted by place", "full": "weights of its own for every place"}
    head = f'{heads[encoder["dense_head"]]} (`dense_head = "{encoder["dense_head"]}"`)'
    return f"convolutions 4 × 4 with stride 2 of {channels} channels and one of 3 × 3, then {head} into dense layers of {widths}."


def table(found: Found) -> str:
    """One line for each encoder and figure, a column for each seed."""
    seeds = sorted({seed for rows in found.values() for seed in rows})
    lines = [f"| encoder | figure | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |", "|---|---|" + "---|" * (len(seeds) + 1)]
    for name, rows in found.items():
        for figure in FIGURES:
            values = [row[figure] for row in rows.values()]
            each = " | ".join(f"{rows[seed][figure]:.4g}" if seed in rows else "" for seed in seeds)
            lines.append(f"| {name} | {figure} | {each} | {statistics.mean(values):.4g} |")
    return "\n".join(lines)
