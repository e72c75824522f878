"""Issue 5's planning rows with rates that were learned: `python -m benchmarks.transition_learned`.

Each case draws 20 000 transitions, learns rates from them, and plans by what was learned; episodes, starts, goals and random numbers are those of
`benchmarks.transition_planning`, paired between the agents. The planner that knows the true rates stands beside. Of the mixtures the greedy agent
goes for the peak of the learned rates, with the fixed dwell that is best on other episodes under the true ones. Needs the extra `training`.
Resumable: a case that has its JSON is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.transition_agents import Planner, peak_of
from benchmarks.transition_planning import CHOOSING, DRAWS, DWELLS, EPISODES_OF_DRAW, HOPS, MEASURED, RESULTS, figures_of, spent_by
from services.transition.chain import Chain
from services.transition.table import SHELLS, tabulate
from training.data.dune.episodes import Agent, Episodes
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at
from training.data.dune.rates import BeyondCarbon, GaussianMixture, HumanPrior, RateModel, Simple
from training.data.dune.simulator import REFERENCE_CONTEXT, run_episodes
from training.data.dune.transitions import draw_transitions
from training.transition.measure import rates_of
from training.transition.networks import RateNetwork
from training.transition.pipeline import Fit, fit_transition

TRANSITIONS, EPISODES, SEEDS = 20_000, 10_000, (20, 21, 22)
FAMILIES: dict[str, RateModel] = {"prior": HumanPrior(), "simple": Simple(), "beyond": BeyondCarbon()}
_TITLES = {"prior": "Human prior", "simple": "Simple rates", "beyond": "Rates that peak beyond the carbon, at 1.9 Å"}


class Learned:
    """A network in the place of true rates: their mean over the members."""

    def __init__(self, network: RateNetwork) -> None:
        self._network = network

    def members(self, beam: Any, neighbours: Any, context: Any) -> Any:
        """(n, M, 3) 1/s."""
        return rates_of(self._network, beam, neighbours, context)

    def rates(self, beam: Any, neighbours: Any, context: Any) -> Any:
        """As RateModel says."""
        return self.members(beam, neighbours, context).mean(axis=1)

    @property
    def agent(self) -> Agent:
        """The planner by these rates."""
        table = tabulate(Chain(self.members, SHELLS), REFERENCE_CONTEXT, shells=SHELLS)
        return Planner(table, 0.0).agent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=[*FAMILIES, "mixtures"], default=[*FAMILIES, "mixtures"])
    parser.add_argument("--quick", action="store_true", help="2 000 transitions, 200 episodes, one seed, one draw; nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for case in arguments.case:
        keys = range(DRAWS) if case == "mixtures" else SEEDS
        for key in list(keys)[: 1 if arguments.quick else None]:
            path = arguments.out / f"learned-{case}-{key}.json"
            if not arguments.quick and path.exists():
                continue
            print(f"{case}, {key} ...", file=sys.stderr, flush=True)
            began = time.process_time()
            found = mixture(key, quick=arguments.quick) if case == "mixtures" else family(case, key, quick=arguments.quick)
            found = {"case": case, "key": key, **found, "cpu_s": round(time.process_time() - began, 1)}
            if arguments.quick:
                print(json.dumps(found))
            else:
                path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not arguments.quick:
        page = page_of(arguments.out)
        (arguments.out / "learned.md").write_text(page, encoding="utf-8")
        print(page)
    return 0


def learned(rates: RateModel, seed: int, *, quick: bool) -> Learned:
    """From transitions of this seed."""
    drawn = draw_transitions(TRANSITIONS // 10 if quick else TRANSITIONS, rates=rates, seed=seed).arrays
    return Learned(fit_transition(Fit(), drawn, seed=seed, show=False).network)


def family(name: str, seed: int, *, quick: bool) -> dict[str, Any]:
    """One family of rates: the planner by learned rates beside the one that knows them, and greedy."""
    rates, episodes = FAMILIES[name], Episodes.drawn(200 if quick else EPISODES, MEASURED)
    agents = {
        "planner, true rates": Planner.knowing(rates, SHELLS).agent,
        "greedy at the human prior's peak, 4 s": greedy_at(PRIOR_PEAK_POSITION, 4.0),
        "planner, learned rates": learned(rates, seed, quick=quick).agent,
    }
    outcomes = {each: run_episodes(agent, rates, episodes, HOPS) for each, agent in agents.items()}
    reference = outcomes["planner, true rates"]
    return {"episodes": len(episodes), "figures": {each: figures_of(found, reference) for each, found in outcomes.items()}}


def mixture(draw: int, *, quick: bool) -> dict[str, Any]:
    """One random mixture: greedy at the learned peak, the planner by learned rates, and the one that knows them."""
    rates = GaussianMixture.drawn(draw)
    choosing, measured = (Episodes.drawn(EPISODES_OF_DRAW * (3 if seed == CHOOSING else 1), seed) for seed in (CHOOSING, MEASURED))
    known = learned(rates, draw, quick=quick)
    peak = peak_of(known)
    spent = {each: spent_by(run_episodes(greedy_at(peak, each), rates, choosing, HOPS + 1)) for each in DWELLS}
    dwell = min(spent, key=lambda each: spent[each])
    agents = {
        "greedy at the learned peak": greedy_at(peak, dwell),
        "planner, learned rates": known.agent,
        "planner, true rates": Planner.knowing(rates, SHELLS).agent,
    }
    outcomes = {each: run_episodes(agent, rates, measured, HOPS) for each, agent in agents.items()}
    reference = outcomes["greedy at the learned peak"]
    figures = {each: {**figures_of(found, reference), "spent": spent_by(found)} for each, found in outcomes.items()}
    return {"episodes": len(measured), "peak": peak, "dwell": dwell, "figures": figures}


def page_of(out: Path) -> str:
    """All cases that stand in the folder."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("learned-*.json"))]
    lines = [
        "# Planning with rates that were learned",
        "",
        f"Written by `python -m benchmarks.transition_learned`: rates from {TRANSITIONS} transitions each, at the end of the dwell; plans over",
        f"{SHELLS} shells. Paired episodes. *Longer*: mean seconds over the planner's that knows the true rates, over episodes that both finish.",
        "",
    ]
    for name, title in _TITLES.items():
        own = [row for row in rows if row["case"] == name]
        if own:
            lines += [f"## {title}", "", "| seed | agent | success | seconds | longer |", "|---|---|---|---|---|"]
        for row in own:
            for agent, figures in row["figures"].items():
                longer = f"{-100 * figures['less']:+.1f} %" if "less" in figures else ""
                seconds = f"{figures['seconds']:.1f} ± {figures['standard_error']:.1f}"
                lines.append(f"| {row['key']} | {agent} | {figures['success']:.4f} | {seconds} | {longer} |")
        lines.append("")
    own = sorted((row for row in rows if row["case"] == "mixtures"), key=lambda row: row["key"])
    if own:
        lines += _mixtures(own)
    return "\n".join(lines)


def _mixtures(rows: list[dict[str, Any]]) -> list[str]:
    agents = list(rows[0]["figures"])
    lines = [
        "## Random mixtures",
        "",
        f"{len(rows)} of {DRAWS} draws of {rows[0]['episodes']} episodes; the greedy agent's dwell is the best fixed one on other episodes.",
        "",
        "| agent | success | draws with less success than greedy | mean seconds of successes | less | mean seconds, failures as 600 s | less |",
        "|---|---|---|---|---|---|---|",
    ]
    for agent in agents:
        own, greedy = ([row["figures"][each] for row in rows] for each in (agent, agents[0]))
        fewer = sum(mine["success"] < other["success"] for mine, other in zip(own, greedy, strict=True))
        told = []
        for key in ("seconds", "spent"):
            mean, other = (float(np.mean([figures[key] for figures in each])) for each in (own, greedy))
            told += [f"{mean:.1f}", f"{100 * (1 - mean / other):.1f} %"]
        lines.append(f"| {agent} | {np.mean([figures['success'] for figures in own]):.4f} | {fewer} | {' | '.join(told)} |")
    lines += ["", "| draw | " + " | ".join(f"{agent}: success, seconds" for agent in agents) + " |", "|---|" + "---|" * len(agents)]
    for row in rows:
        told = [f"{row['figures'][agent]['success']:.2f}, {row['figures'][agent]['seconds']:.1f}" for agent in agents]
        lines.append(f"| {row['key']} | {' | '.join(told)} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
