"""Issue 4's first rows: patches × field × ageing with known parts, over several seeds. `python -m benchmarks.mechanism_table`.

For each seed the patch's encoder (recipes/patches_joint.toml, no labels, patches of its own) is fitted with that seed, then a structured Gaussian
process of 600 points for each form and noise, and measured on 2 000 fresh points. Beside it the oracle: the same process told the true classes.
Needs the extra `training`. Resumable: what was done by the same recipe, settings and code is read from its JSON, all else is done anew; an encoder
that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.mechanism_baselines import baselines_of
from benchmarks.mechanism_case import CASES, FORMS, LEAKAGE_POINTS, MECHANISMS, POINTS, TEST_POINTS, one
from benchmarks.mechanism_page import page_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mechanism"
ENCODER = ROOT / "recipes" / "patches_joint.toml"
_ENCODER_SEED = 10_000
# Whose code decides the figures beside the encoder's, which is known by the digest of its bundle; and the baselines'.
_CODE = (
    "benchmarks.mechanism_case",
    *(f"training.data.{name}" for name in ("cards", "drawing", "patches_field", "suits")),
    *(f"training.mechanism.{name}" for name in ("figures", "fit", "gaussian_process", "leakage", "posterior", "structure")),
)
_BASELINES_CODE = (*_CODE, "benchmarks.mechanism_baselines", "training.mechanism.baselines")


def code_of(source: str) -> str:
    """A module's code without comments and docstrings, which decide nothing."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [part for part in body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


# Of the code that runs, which may be edited while it does.
_SOURCES = {name: code_of(Path(str(importlib.import_module(name).__file__)).read_text(encoding="utf-8")) for name in _BASELINES_CODE}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-baselines", action="store_true", help="leave out the plain GP, the deep kernel and the random forest")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.case:
        for seed in arguments.seeds:
            run(name, seed, arguments.out, baselines=not arguments.no_baselines)
    page = page_of(rows_of(arguments.out), points=POINTS, test_points=TEST_POINTS, leakage_points=LEAKAGE_POINTS)
    (arguments.out / "patches_field.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def run(name: str, seed: int, out: Path, *, baselines: bool) -> None:
    """One case and seed, unless its JSON says that this was done; likewise its baselines."""
    path = out / f"{name}-{seed}.json"
    row = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    bundle = encoder_folder(seed, out)
    if row.get("digest") != digest(name, seed) or (bundle.exists() and row["encoder"]["digest"] != _digest_of(bundle)):
        print(f"{name}, seed {seed} ...", file=sys.stderr)
        row |= {"digest": digest(name, seed)} | one(name, seed, fitted_encoder(seed, out))
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    if baselines and row.get("baselines_digest") != digest(name, seed, baselines=True):
        print(f"{name}, seed {seed}, baselines ...", file=sys.stderr)
        row |= {"baselines_digest": digest(name, seed, baselines=True), "baselines": baselines_of(name, seed, fitted_encoder(seed, out))}
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Every result in the folder that is of the recipe, the settings and the code as they are now, by case and seed; baselines likewise."""
    found = []
    for name in CASES:
        for path in out.glob(f"{name}-*.json"):
            row = json.loads(path.read_text(encoding="utf-8"))
            if row["digest"] != digest(name, row["seed"]):
                print(f"{path.name} is of another recipe, other settings or older code and is left out", file=sys.stderr)
                continue
            if row.get("baselines_digest") != digest(name, row["seed"], baselines=True):
                row.pop("baselines", None)
            found.append(row)
    return sorted(found, key=lambda row: (list(CASES).index(row["case"]), row["seed"]))


def digest(name: str, seed: int, *, baselines: bool = False) -> str:
    """SHA-256, hexadecimal, of all that a result depends on and that can be known without fitting anything; of ours, or of the baselines."""
    form, noise = CASES[name]
    facts: dict[str, Any] = {"case": [name, form, noise, seed, POINTS, TEST_POINTS]}
    facts["mechanisms"] = [asdict(mechanism) for mechanism in MECHANISMS]
    facts["encoder"] = encoder_recipe(seed).model_dump(mode="json")
    if not baselines:
        facts["terms"] = [asdict(term) for term in FORMS[form]]
    facts["code"] = {module: _SOURCES[module] for module in (_BASELINES_CODE if baselines else _CODE)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def encoder_recipe(seed: int) -> Any:
    """The encoder's recipe with this seed."""
    from training.recipe import read_recipe  # noqa: PLC0415

    recipe = read_recipe(ENCODER)
    # Another seed than the points': the two generators would draw the same pixels' noise from one.
    return recipe.model_copy(update={"seed": seed, "data": recipe.data.model_copy(update={"seed": _ENCODER_SEED + seed})})


def encoder_folder(seed: int, out: Path) -> Path:
    """Where the bundle of the recipe as it is now lies, or will: another recipe's lies elsewhere."""
    told = json.dumps(encoder_recipe(seed).model_dump(mode="json"), sort_keys=True)
    return out / f".encoder-{seed}-{hashlib.sha256(told.encode()).hexdigest()[:12]}" / "patches_joint"


def fitted_encoder(seed: int, out: Path) -> Path:
    """The encoder's bundle, fitted where it is not there yet."""
    from training.latent.pipeline import Request, fit_latent  # noqa: PLC0415

    bundle = encoder_folder(seed, out)
    if not bundle.exists():
        unfinished = any(bundle.parent.glob(".checkpoints/*/*.safetensors"))
        fit_latent(Request(encoder_recipe(seed), (), None, bundle.parent, "cpu", resume=unfinished))
    return bundle


def _digest_of(bundle: Path) -> str:
    from training.report.graphs import LatentGraphs  # noqa: PLC0415

    return str(LatentGraphs(bundle).manifest.digest)


if __name__ == "__main__":
    sys.exit(main())
