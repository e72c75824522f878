"""Issue 4's measured row: figures of PbTiO3 loops from their place and their neighbours. `python -m benchmarks.mechanism_loops`.

Needs the extra `training`, and DICHROIC_DATA: the folder with dtmicroscope/BEPS_PTO_50x50.h5. For each figure of the loop, with failed fits left out
and with them in, and for each seed of the split: spatial blocks are held out, farther from the training places than the patch's half-width. Within
the training places half of the tiles fit hyperparameters; the other half stop them and choose how the patch is described. Everybody has the same
points, the same stopping and the same distribution of noise (a share of outliers, `training/mechanism/robust.py`). Nothing is chosen by the blocks
held out. Resumable: what is done is read from its JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.loops import MeasuredLoops, loop_mechanisms, read_loops
from training.data.neighbours import split_places
from training.mechanism.baselines import Told, deep_kernel, plain_gp, product_gp, random_forest, told_by
from training.mechanism.figures import r_squared, rmse
from training.mechanism.fit import Fitted, fit
from training.mechanism.leakage import leakage
from training.mechanism.robust import of_residuals
from training.mechanism.structure import Mechanism, additive

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mechanism"
FILE = Path("dtmicroscope") / "BEPS_PTO_50x50.h5"
TARGETS = ("imprint", "log_loop_area", "loop_area", "coercive_voltage")
HALF_WIDTH, HELD_OUT, TILE = 2, 0.25, 10
COVERED = (0.85, 0.95)
_PIXELS = (2 * HALF_WIDTH + 1) ** 2 - 1
# A place's function may not vary faster than this, in standard deviations of the training places (about 0.6 µm, 15 pixels). A shorter one tells a
# training place what its training neighbours are, as the patch does, and a place in a block held out nothing.
_SHORTEST = 1.0
_POSITION = Mechanism("position", 0, 2, shortest=_SHORTEST)
# How the patch may be described: by mean and median near and farther off, or by all its pixels with one lengthscale.
DESCRIPTIONS = {
    "surroundings": (_POSITION, Mechanism("neighbours", 2, 4)),
    "pixels": (_POSITION, Mechanism("neighbours", 2, _PIXELS, shared=True)),
}
_PAGE = """# Measured PbTiO3 loops: a figure of the loop from its place and its neighbours

Written by `python -m benchmarks.mechanism_loops`. {source}; patches of {k} × {k} loops without the middle one; blocks held out; a seed for each
split: the figure wants three of each case, and a case or seed that is not here was not run so far. NLPD in nats per point, coverage of the 90 %
interval of observed y (wanted: {low} to {high}), R² of y. *no inputs* knows the distribution of y alone. Everybody has the same mixture of noises.
Leakage: R² out of sample of a part from the other mechanism's input; mechanisms are correlated on a map, and the figure bars nothing.

{table}
"""


@dataclass(frozen=True)
class Side:
    """Places of one side of the split: position (n, 2) µm, patch (n, k, k), its other pixels (n, k² − 1), the tile each lies in, y."""

    position: Any
    patch: Any
    pixels: Any
    tile: Any
    y: Any

    @property
    def flat(self) -> Any:
        """All inputs (n, k² + 1), pixels first."""
        return np.concatenate((self.pixels, self.position), axis=1)

    @property
    def surroundings(self) -> Any:
        """(n, 4): mean and median of the eight nearest neighbours, and of those beyond."""
        offset = np.delete(np.indices((2 * HALF_WIDTH + 1,) * 2).reshape(2, -1) - HALF_WIDTH, _PIXELS // 2, axis=1)
        near = np.abs(offset).max(axis=0) == 1
        return np.stack([of(self.pixels[:, ring], axis=1) for of in (np.mean, np.median) for ring in (near, ~near)], axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--failed", nargs="+", choices=("out", "in"), default=("out", "in"), help="failed fits left out, or in (default: both)")
    parser.add_argument("--starts", type=int, default=1, help="of every Gaussian process (default: 1)")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DICHROIC_DATA", ROOT.parent / "shared" / "data")))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    loops = read_loops(arguments.data / FILE)
    for failed in arguments.failed:
        for target in arguments.target:
            for seed in arguments.seeds:
                path = arguments.out / f"loops-{target}-{failed}-{seed}.json"
                if not path.exists():
                    print(f"{target}, failed fits {failed}, seed {seed} ...", file=sys.stderr)
                    path.write_text(json.dumps(one(loops, target, failed, seed, arguments.starts), indent=1) + "\n", encoding="utf-8")
    page = page_of(arguments.out)
    (arguments.out / "loops.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def one(loops: MeasuredLoops, target: str, failed: str, seed: int, starts: int) -> dict[str, Any]:
    """All figures of one target, one treatment of failed fits and one split."""
    began = time.monotonic()
    data = loop_mechanisms(loops, target, half_width=HALF_WIDTH, keep_failed=failed == "in")
    train, test = (_side(data.arrays, places) for places in split_places(loops.grid, HALF_WIDTH, HELD_OUT, seed))
    # Tiles, not places: a neighbour of a point that is fitted would flatter what follows single points.
    tiles = np.unique(train.tile)
    validation = np.isin(train.tile, np.random.default_rng(seed).permutation(tiles)[: len(tiles) // 2])
    options: dict[str, Any] = {"seed": seed, "validation": validation, "starts": starts, "outliers": True}
    found = {}
    for name, mechanisms in DESCRIPTIONS.items():
        made = _Standardised(name, train)
        found[name] = fit(mechanisms, additive("position", "neighbours"), made(train), train.y, **options)
    chosen = min(found, key=lambda name: found[name].validation_nlpd)
    ours, made = found[chosen], _Standardised(chosen, train)
    told = {
        "ours": told_by(ours, made(test)),
        "plain GP": plain_gp(train.flat, train.y, test.flat, pixels=_PIXELS, **options),
        "product GP, our latents": product_gp(DESCRIPTIONS[chosen], made(train), train.y, made(test), **options),
        "deep kernel": deep_kernel(train.patch, train.position, train.y, test.patch, test.position, seed=seed, validation=validation, outliers=True),
        "random forest": random_forest(train.flat, train.y, test.flat, seed=seed, groups=train.tile, outliers=True),
        "no inputs": _without_inputs(train, test),
    }
    return {
        "case": f"loops-{target}",
        "failed": failed,
        "seed": seed,
        "unit": data.unit,
        "source": loops.source,
        "points": len(train.y),
        "held_out": len(test.y),
        "starts": starts,
        "figures": {name: _figures(each, test.y) for name, each in told.items()},
        "leakage": _leakage(ours, made(test), test, seed),
        "description": chosen,
        "validation_nlpd": {name: each.validation_nlpd for name, each in found.items()},
        "fitted": _fitted(ours),
        "wall_s": round(time.monotonic() - began, 1),
    }


class _Standardised:
    """Latents (n, 2 + d) of one description, in standard deviations of the training points; all pixels together of unit length."""

    def __init__(self, description: str, train: Side) -> None:
        self.description = description
        raw = self._raw(train)
        self.mean, self.sd = raw.mean(axis=0), raw.std(axis=0)
        if description == "pixels":
            self.sd[2:] *= np.sqrt(_PIXELS)

    def __call__(self, side: Side) -> Any:
        return (self._raw(side) - self.mean) / self.sd

    def _raw(self, side: Side) -> Any:
        return np.concatenate((side.position, side.surroundings if self.description == "surroundings" else side.pixels), axis=1)


def _side(arrays: dict[str, Any], places: Any) -> Side:
    rows = np.flatnonzero(np.isin(arrays["place"], places))
    patch = arrays["neighbours"][rows].astype(np.float64)
    row, column = np.divmod(arrays["place"][rows], arrays["grid"][1])
    tile = (row // TILE) * (arrays["grid"][1] // TILE + 1) + column // TILE
    pixels = np.delete(patch.reshape(len(rows), -1), _PIXELS // 2, axis=1)
    return Side(arrays["position_um"][rows], patch, pixels, tile, arrays["y"][rows])


def _without_inputs(train: Side, test: Side) -> Told:
    middle = float(np.median(train.y))
    noise, outliers = of_residuals(train.y - middle, np.zeros(len(train.y)))
    return Told(np.full(len(test.y), middle), np.full(len(test.y), outliers.mean_variance(noise)), noise, outliers)


def _figures(told: Told, y: Any) -> dict[str, float]:
    covered = {f"coverage_{percent}_y": told.coverage(y, percent / 100) for percent in (50, 90, 95)}
    return {"nlpd": told.nlpd(y), "rmse": rmse(told.mean, y), "r2": r_squared(told.mean, y), **covered}


def _leakage(ours: Fitted, latents: Any, test: Side, seed: int) -> dict[str, float]:
    told = ours.posterior.predict(latents)
    parts = {name: told.mean[:, index] for index, name in enumerate(told.names)}
    found = {"neighbours_to_position": (parts["position"], test.pixels), "position_to_neighbours": (parts["neighbours"], test.position)}
    # A part that is nothing has nothing that could be told of it.
    return {name: leakage(part, other, seed=seed) if np.std(part) > 1e-6 * np.std(test.y) else 0.0 for name, (part, other) in found.items()}


def _fitted(ours: Fitted) -> dict[str, Any]:
    assert ours.outliers is not None  # noqa: S101 (asked for)
    terms = {}
    for values in ours.posterior.structure.terms:
        lengthscales = dict.fromkeys(round(float(each), 3) for each in values.lengthscales[values.term.name])
        terms[values.term.name] = {"sd": float(np.sqrt(values.variance)), "lengthscales": list(lengthscales)}
    noise = {"noise_sd": float(np.sqrt(ours.noise_variance)), "outlier_sd": float(np.sqrt(ours.outliers.variance))}
    return {**noise, "outlier_share": ours.outliers.share, **terms}


def page_of(out: Path) -> str:
    """The table of everything that stands in the folder."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("loops-*.json"))]
    lines = [
        "| figure of the loop | failed fits | who | NLPD, each seed | coverage 90 %, each seed | R², each seed | |",
        "|---|---|---|---|---|---|---|",
    ]
    for failed in ("out", "in"):
        for target in TARGETS:
            of_case = sorted((row for row in rows if (row["case"], row["failed"]) == (f"loops-{target}", failed)), key=lambda row: row["seed"])
            if of_case:
                lines += _lines(of_case)
    k = 2 * HALF_WIDTH + 1
    return _PAGE.format(source=rows[0]["source"] if rows else "", k=k, low=COVERED[0], high=COVERED[1], table="\n".join(lines))


def _lines(of_case: list[dict[str, Any]]) -> list[str]:
    ours = _column(of_case, "ours", "nlpd")
    lines = []
    for who in of_case[0]["figures"]:
        nlpd, covered, r2 = (_column(of_case, who, figure) for figure in ("nlpd", "coverage_90_y", "r2"))
        if who == "ours":
            said = "covered: " + ("yes" if all(COVERED[0] <= value <= COVERED[1] for value in covered) else "no")
        else:
            said = f"ours better in {sum(mine < theirs for mine, theirs in zip(ours, nlpd, strict=True))} of {len(ours)}"
        case = f"{of_case[0]['case'].removeprefix('loops-')} ({of_case[0]['unit']}) | {of_case[0]['failed']}"
        lines.append(f"| {case} | {who} | {_list(nlpd)} | {_list(covered)} | {_list(r2)} | {said} |")
    leaks = "; ".join(f"{name}: {_list([row['leakage'][name] for row in of_case])}" for name in of_case[0]["leakage"])
    return [*lines, f"| | | leakage | {leaks} | | | |"]


def _column(of_case: list[dict[str, Any]], who: str, figure: str) -> list[float]:
    return [row["figures"][who][figure] for row in of_case]


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
