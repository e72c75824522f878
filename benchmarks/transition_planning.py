"""Issue 5's planning rows, with rates that are known: `python -m benchmarks.transition_planning`.

Episodes, starts and goals are the published ones, paired between agents. An agent's beam and dwell are chosen on other episodes than those it is
measured on: exactly, from the greedy agent's own Markov chain, or by running them. Nothing here is learned; agents of learned rates take the place
of the planner by the same interface. Resumable: a case that has its JSON is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.transition_agents import GreedyTime, Planner, occupancy_of, peak_of, room_left
from benchmarks.transition_page import page_of
from services.transition.arrays import Float64, Int64
from services.transition.chain import Chain
from services.transition.planning import plan
from services.transition.sites import Sites
from services.transition.table import SHELLS as SERVED
from services.transition.table import tabulate
from services.transition.values import Risk
from services.transition.wishes import Wish
from training.data.dune.episodes import Agent, Episodes, Outcomes
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at, greedy_on_neighbour, random_beam
from training.data.dune.lattice import CARBON, SILICON, Lattice
from training.data.dune.microscope import Microscope
from training.data.dune.rates import BeyondCarbon, GaussianMixture, HumanPrior, RateModel, Simple
from training.data.dune.simulator import REFERENCE_CONTEXT, TIMEOUT_SECONDS, run_episodes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "transition"
# Seeds: of the episodes that agents are chosen on, of those they are measured on, and of the hops.
CHOOSING, MEASURED, HOPS = 5101, 5102, 5103
DRAWS, EPISODES_OF_DRAW = 20, 100
SHELLS = (2, 4)
# Of a mixture's greedy agent: dwells tried on other episodes, s.
DWELLS = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0)
# Members that a served model answers for.
MEMBERS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="200 episodes for 10 000, 2 draws for 20, 3 plans for 60; nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for case in arguments.case:
        path = arguments.out / f"planning-{case}.json"
        if arguments.quick:
            print(case, json.dumps(CASES[case](True)))
        elif not path.exists():
            print(f"{case} ...", file=sys.stderr)
            began = time.monotonic()
            found = {"case": case, **CASES[case](False), "wall_s": round(time.monotonic() - began, 1)}
            path.write_text(lines(found), encoding="utf-8")
    if not arguments.quick:
        page = page_of(arguments.out)
        (arguments.out / "planning.md").write_text(page, encoding="utf-8")
        print(page)
    return 0


def prior(quick: bool) -> dict[str, Any]:
    """The human prior: the four published agents, and the planner."""
    rates = HumanPrior()
    dwell, _ = GreedyTime(rates, Episodes.drawn(_count(quick), CHOOSING)).best_dwell(*PRIOR_PEAK_POSITION)
    agents = {
        "random, 1.5 s": random_beam(1.5, HOPS),
        "greedy on the neighbour, 5 s": greedy_on_neighbour(5.0),
        "greedy at the true peak, 4 s": greedy_at(PRIOR_PEAK_POSITION, 4.0),
        f"greedy at the true peak, best dwell {dwell:.2f} s": greedy_at(PRIOR_PEAK_POSITION, dwell),
    }
    return _family(rates, agents, quick)


def simple(quick: bool) -> dict[str, Any]:
    """Simple rates: greedy with its best position and dwell."""
    rates = Simple()
    position, dwell, _ = GreedyTime(rates, Episodes.drawn(_count(quick), CHOOSING)).best()
    agents = {
        "greedy on the neighbour, 5 s": greedy_on_neighbour(5.0),
        "greedy on the neighbour, 1.5 s": greedy_on_neighbour(1.5),
        f"greedy, best position {position[0]:.2f} Å along and {position[1]:.2f} Å across, best dwell {dwell:.2f} s": greedy_at(position, dwell),
    }
    return _family(rates, agents, quick)


def beyond(quick: bool) -> dict[str, Any]:
    """Rates that peak beyond the carbon."""
    agents = {"greedy at the human prior's peak, 4 s": greedy_at(PRIOR_PEAK_POSITION, 4.0), "greedy on the neighbour, 5 s": greedy_on_neighbour(5.0)}
    return _family(BeyondCarbon(), agents, quick)


def mixtures(quick: bool) -> dict[str, Any]:
    """Random mixtures as `dune-mixture` draws them."""
    return _draws(GaussianMixture.drawn, quick)


def speed(quick: bool) -> dict[str, Any]:
    """Plan on some 600 atoms: finding the lattice, the policy, the path, the chance and the time; the table is there."""
    atoms_xy, pairs = scenes(3 if quick else 60)
    found: dict[str, Any] = {"atoms": len(atoms_xy), "plans": len(pairs), "figures": {}}
    factors = np.exp(0.1 * np.random.default_rng(1).standard_normal(MEMBERS))

    def by_members(rates: RateModel) -> Chain:
        return Chain(lambda beam, neighbours, context: rates.rates(beam, neighbours, context)[:, None] * factors[:, None], SERVED)

    # As a service does it: by members, which count one by one only for who is averse to risk.
    averse = Wish(risk=Risk(worst=True))
    cases: list[tuple[str, Any, int, Wish]] = [
        ("human prior", by_members(HumanPrior()), SERVED, Wish()),
        ("human prior, 2 shells, no members", occupancy_of(HumanPrior(), 2), 2, Wish()),
        ("simple", by_members(Simple()), SERVED, Wish()),
        ("a random mixture", by_members(GaussianMixture.drawn(18)), SERVED, Wish()),
        (f"human prior, worst of {MEMBERS} members", by_members(HumanPrior()), SERVED, averse),
    ]
    for name, occupancy, shells, wish in cases:
        began = time.perf_counter()
        table = tabulate(occupancy, REFERENCE_CONTEXT, shells=shells)
        made = time.perf_counter() - began
        wall, processor = [], []
        for numbers, goals_xy in pairs:
            clock, own = time.perf_counter(), time.thread_time()
            plan(atoms_xy, numbers, goals_xy, table, wish)
            wall.append(time.perf_counter() - clock)
            processor.append(time.thread_time() - own)
        found["figures"][name] = {
            "actions": len(table.actions),
            "evaluated": table.evaluated,
            "table_s": made,
            "median_ms": 1e3 * float(np.median(wall)),
            "processor_median_ms": 1e3 * float(np.median(processor)),
            "slowest_ms": 1e3 * max(wall),
        }
    found["load"] = os.getloadavg()[0]
    return found


def scenes(count: int) -> tuple[Float64, list[tuple[Int64, Float64]]]:
    """Some 600 atoms of one lattice, each 0.03 Å off its place, and a dopant and a goal among them, `count` times.

    Returns:
        (m, 2) float64, Å: the atoms. And of each time (m,) int64, their atomic numbers, and (1, 2) float64, Å, the goal.
    """
    lattice = Lattice.drawn(39.7, 3)
    atoms_xy = lattice.atoms_xy + 0.03 * np.random.default_rng(0).standard_normal(lattice.atoms_xy.shape)
    inside = np.flatnonzero(Sites.of(atoms_xy).regular)
    found = []
    for seed in range(count):
        start, goal = np.random.default_rng(seed).choice(inside, 2, replace=False)
        numbers = np.full(len(atoms_xy), CARBON)
        numbers[start] = SILICON
        found.append((numbers, atoms_xy[[goal]]))
    return atoms_xy, found


def microscope(quick: bool) -> dict[str, Any]:
    """Plan and simulator together: an instrument with noise and drift, a finite view, replanned from every image."""
    table = Planner.knowing(HumanPrior(), 2).table
    seconds, told, success = [], [], []
    for seed in range(2 if quick else 40):
        lattice = Lattice.drawn(28.0, seed)
        instrument = Microscope(HumanPrior(), lattice, seed)
        inside = np.flatnonzero(Sites.of(lattice.atoms_xy).regular)
        goal = int(np.random.default_rng(seed).choice(inside))
        promised = None
        seen = instrument.image()
        began = seen.time_s
        while True:
            left = TIMEOUT_SECONDS - (seen.time_s - began)
            if left <= 0:
                success.append(False)
                break
            step = plan(seen.atoms_xy_angstrom, seen.atomic_numbers, seen.atoms_xy_angstrom[[goal]], table, Wish(deadline_s=left))
            promised = step if promised is None else promised
            if step.arrived:
                success.append(True)
                seconds.append(seen.time_s - began)
                told.append(promised.expected_s)
                break
            instrument.dwell(np.clip(step.beam_xy, 0, seen.field_of_view_angstrom), step.dwell_s)
            seen = instrument.image()
    mean = float(np.mean(seconds))
    error = float(np.std(seconds) / np.sqrt(len(seconds)))
    return {"runs": len(success), "success": float(np.mean(success)), "seconds": mean, "standard_error": error, "told_s": float(np.mean(told))}


def _family(rates: RateModel, agents: dict[str, Agent], quick: bool) -> dict[str, Any]:
    episodes = Episodes.drawn(_count(quick), MEASURED)
    planners = {f"planner, {shells} shells": Planner.knowing(rates, shells) for shells in SHELLS}
    outcomes = {name: run_episodes(agent, rates, episodes, HOPS) for name, agent in agents.items()}
    outcomes |= {name: run_episodes(planner.agent, rates, episodes, HOPS) for name, planner in planners.items()}
    reference = outcomes[list(agents)[-1]]
    figures = {name: figures_of(found, reference) for name, found in outcomes.items()}
    for name, planner in planners.items():
        lattice = planner.table.open_lattice
        figures[name] |= {"actions": len(planner.table.actions), "expected": 2 + float(lattice.value_s(episodes.goal_steps).mean())}
    return {"episodes": len(episodes), "reference": list(agents)[-1], "figures": figures, "room_left": room_left(rates)}


def _draws(draw: Callable[[int], RateModel], quick: bool) -> dict[str, Any]:
    rows = []
    choosing, measured = (Episodes.drawn(EPISODES_OF_DRAW * (3 if seed == CHOOSING else 1), seed) for seed in (CHOOSING, MEASURED))
    for seed in range(2 if quick else DRAWS):
        rates = draw(seed)
        peak = peak_of(rates)
        spent = {each: spent_by(run_episodes(greedy_at(peak, each), rates, choosing, HOPS + 1)) for each in DWELLS}
        dwell = min(spent, key=lambda each: spent[each])
        outcomes = {"greedy": run_episodes(greedy_at(peak, dwell), rates, measured, HOPS)}
        outcomes |= {f"planner, {shells} shells": run_episodes(Planner.knowing(rates, shells).agent, rates, measured, HOPS) for shells in SHELLS}
        figures = {name: {**figures_of(found, outcomes["greedy"]), "spent": spent_by(found)} for name, found in outcomes.items()}
        rows.append({"draw": seed, "peak": peak, "dwell": dwell, "figures": figures, "room_left": room_left(rates, fine=False)})
    return {"draws": len(rows), "episodes": len(measured), "rows": rows}


def figures_of(found: Outcomes, reference: Outcomes) -> dict[str, float]:
    """Success, mean seconds of the successes, and the paired difference where both succeed."""
    mean, error = found.mean_seconds()
    both = found.success & reference.success
    difference = (found.seconds - reference.seconds)[both]
    paired = (
        {"less": -float(difference.mean() / reference.seconds[both].mean()), "less_error": float(difference.std() / len(difference) ** 0.5)}
        if both.any()
        else {}
    )
    return {"success": found.success_rate, "seconds": mean, "standard_error": error, **paired}


def spent_by(found: Outcomes) -> float:
    """Mean seconds of all episodes, those that failed with the whole time."""
    return float(np.where(found.success, found.seconds, TIMEOUT_SECONDS).mean())


def lines(found: dict[str, Any]) -> str:
    """JSON, a line for each row of a table."""
    told = {key: json.dumps(value) for key, value in found.items()}
    told |= {key: "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" for key, value in found.items() if isinstance(value, list)}
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {value}" for key, value in told.items()) + "\n}\n"


def _count(quick: bool) -> int:
    return 200 if quick else 10_000


CASES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "prior": prior,
    "simple": simple,
    "beyond": beyond,
    "mixtures": mixtures,
    "speed": speed,
    "microscope": microscope,
}


if __name__ == "__main__":
    sys.exit(main())
