"""Issue 5's first rows: how near learned rates come to the oracle, from 20 000 and from 1 000 transitions. `python -m benchmarks.transition_rates`.

Every case draws its own transitions (beam uniform in a disc of 3 Å, dwell uniform to 5 s, outcome at the end of the dwell) and is scored on fresh
ones by the exact mean KL between the true and the learned distributions over stay, the three neighbours and elsewhere. What is tuned was tuned
on other seeds, of the mixtures as of the transitions: TUNED_ON. Needs the extra `training`. Resumable: what is done is read from the JSON.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows import read_rows, write_rows
from benchmarks.transition_rates_page import page_of
from training.data.dune.rates import BeyondCarbon, GaussianMixture, HumanPrior, RateModel, Simple
from training.data.dune.transitions import draw_transitions
from training.data.dune.truth import outcome_probabilities
from training.transition.distil import Lesson
from training.transition.measure import (
    Mean,
    calibration_error,
    constant_probabilities,
    entropy,
    equivariance_error,
    excess_nll,
    predicted,
    rate_map_error,
    rates_of,
)
from training.transition.networks import RateNetwork
from training.transition.pipeline import Fit, Fitted, Model, fit_transition
from training.transition.states import Array, Transitions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "transition"
COUNTS = (20_000, 1_000)
TEST = 100_000
# Few transitions differ much from draw to draw: more of them.
SEEDS, MORE_SEEDS, MIXTURES = (20, 21, 22), (23, 24, 25), range(60, 80)
TUNED_ON = "mixtures 1001 to 1005, transitions of seeds 0 to 2, 10 to 12, 100 to 102, 1000 and 2000 to 2008"
TURNED, MAPPED, COMPARED = 2_000, 2_000, 5_000
# Spreads are compared where a rate is above this, 1/s.
REACHABLE = 0.01
# Of the mixtures, so many draws have a student.
TAUGHT = 5


def cases() -> list[tuple[str, Model, RateModel, int, int]]:
    """(rates, model, the rates, transitions, seed)."""
    found: list[tuple[str, Model, RateModel, int, int]] = []
    for seed in SEEDS:
        found += [("human prior", "equivariant", HumanPrior(), count, seed) for count in COUNTS]
    for draw in MIXTURES:
        found += [(f"mixture {draw}", "equivariant", GaussianMixture.drawn(draw), count, draw) for count in COUNTS]
    for name, rates in (("simple", Simple()), ("beyond the carbon", BeyondCarbon())):
        found += [(name, "equivariant", rates, count, SEEDS[0]) for count in COUNTS]
    found += [("human prior", "equivariant", HumanPrior(), COUNTS[1], seed) for seed in MORE_SEEDS]
    found += [("human prior", "canonical", HumanPrior(), count, SEEDS[0]) for count in COUNTS]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="cases whose rates begin so")
    parser.add_argument("--count", type=int, nargs="+", help="cases of so many transitions alone")
    parser.add_argument("--quick", action="store_true", help="one human prior and one mixture from 1 000 transitions, 10 000 to score them on")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / ("rates_quick.json" if arguments.quick else "rates.json")
    rows = read_rows(path)
    for name, model, rates, count, seed in cases():
        if any((row["rates"], row["model"], row["transitions"], row["seed"]) == (name, model, count, seed) for row in rows):
            continue
        if (arguments.only and not name.startswith(arguments.only)) or (arguments.count and count not in arguments.count):
            continue
        if arguments.quick and (name, count) not in (("human prior", 1_000), ("mixture 60", 1_000)):
            continue
        print(f"{name}, {model}, {count} transitions, seed {seed} ...", file=sys.stderr, flush=True)
        row = {"rates": name, "model": model, "transitions": count, "seed": seed}
        taught = not name.startswith("mixture") or int(name.split()[1]) < MIXTURES[TAUGHT]
        rows.append(row | scored(rates, model, count, seed, TEST // 10 if arguments.quick else TEST, taught=taught))
        write_rows(path, rows)
    page = page_of(rows, test=TEST, tuned_on=TUNED_ON)
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def scored(rates: RateModel, model: Model, count: int, seed: int, test: int, *, taught: bool) -> dict[str, Any]:
    """One fit and its figures."""
    began = time.process_time()
    drawn = draw_transitions(count, rates=rates, seed=seed).arrays
    fitted = fit_transition(Fit(model=model, lesson=Lesson() if taught else None), drawn, seed=seed, show=False)
    fit_s = time.process_time() - began
    data, truth = _fresh(rates, seed, test)
    shells, network = fitted.training.shells, fitted.network
    told = predicted(network, data, "end_of_dwell", shells)
    part = data.of(np.arange(TURNED))
    found: dict[str, Any] = {
        "fit_cpu_s": round(fit_s, 1),
        "test": test,
        "steps": fitted.training.first_hop_steps + fitted.training.steps,
        "members": fitted.training.members,
        "oracle_nll": entropy(truth),
        "excess": excess_nll(truth, told),
        "excess_constant": excess_nll(truth, constant_probabilities(fitted.constant_rate, data, "end_of_dwell", shells)),
        "ece_hop": calibration_error(1 - told[:, 0], 1 - truth[:, 0]),
        "map": rate_map_error(*_maps(network, rates, data)),
        "turned": equivariance_error(network, part, seed),
        "largest_rate": float(rates.rates(part.beam, part.neighbours, part.context).max()),
    }
    return found | {"compared": _compared(fitted, data.of(np.arange(min(test, COMPARED))), truth[:COMPARED])}


@lru_cache(maxsize=1)
def _fresh(rates: RateModel, seed: int, test: int) -> tuple[Transitions, Array]:
    data = Transitions.read(draw_transitions(test, rates=rates, seed=seed, stream="test").arrays)
    return data, outcome_probabilities(rates, data.beam, data.neighbours, data.dwell, data.context)


def _compared(fitted: Fitted, data: Transitions, truth: Array) -> dict[str, Any]:
    """What the model is compared with."""
    network, shells = fitted.network, fitted.training.shells

    def excess(of: RateNetwork, mean: Mean = "outcomes") -> float:
        return excess_nll(truth, predicted(of, data, "end_of_dwell", shells, mean))

    plain = copy.deepcopy(network)
    plain.sharpness.fill_(1.0)
    assert fitted.recalibration is not None  # noqa: S101 (asked for)
    found: dict[str, Any] = {
        "excess": excess(network),
        "excess_mean_of_rates": excess(network, "rates"),
        "excess_not_recalibrated": excess(plain),
        "recalibration": vars(fitted.recalibration),
    }
    if fitted.student is not None:
        part = data.of(np.arange(MAPPED))
        told, of_student = (rates_of(each, part.beam, part.neighbours, part.context) for each in (network, fitted.student))
        reachable = told.mean(axis=1) > REACHABLE
        spread, own = (np.log(each).std(axis=1)[reachable] for each in (told, of_student))
        found |= {"excess_student": excess(fitted.student), "student_spread": float(np.median(own / spread)), "spread": float(np.median(spread))}
    return found


def _maps(network: RateNetwork, rates: RateModel, data: Transitions) -> tuple[Array, Array]:
    part = data.of(np.arange(MAPPED))
    told: Array = rates_of(network, part.beam, part.neighbours, part.context).mean(axis=1)
    return told, rates.rates(part.beam, part.neighbours, part.context)


if __name__ == "__main__":
    sys.exit(main())
