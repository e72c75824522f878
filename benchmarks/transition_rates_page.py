"""The page of `benchmarks.transition_rates`."""

from __future__ import annotations

from typing import Any

import numpy as np

# Nats above the oracle, by family and number of transitions: of the worst seed, and of mixtures of the median draw.
REACH = {("human prior", 20_000): 0.001, ("human prior", 1_000): 0.006, ("mixtures", 20_000): 0.003, ("mixtures", 1_000): 0.015}
LEAST_SEEDS, DRAWS = 3, 20
_ECE, _TURNED = 0.01, 1e-6
_HEAD = """# Learned rates beside the oracle

Written by `python -m benchmarks.transition_rates`. Outcomes at the end of the dwell, beam uniform in a disc of 3 Å, dwell uniform to 5 s;
{test} fresh transitions each. Excess: the expected NLL above the oracle's, which is the exact mean KL between the true and the learned
distribution over stay, three neighbours and elsewhere, nats; the learned one is the mean over the members of their outcomes' probabilities.
The oracle's own NLL is the true distribution's entropy; the constant is the best rate that does not look at the beam. ECE of P(hop), in 15
bins, is against the true probabilities. Nothing was tuned on these draws: it was on {tuned_on}.
CPU seconds are those of one core that others used too, recalibration and student (where there is one) included. Targets: issue 5.

| rates | transitions | cases | excess: worst, or median (worst) | reach | met | oracle's NLL | constant's excess | worst ECE of P(hop) | fit, CPU s |
|---|---|---|---|---|---|---|---|---|---|"""
_COMPARED = """
## Mean of outcomes or of rates, recalibration, student

Median over the cases, on the first 5 000 fresh transitions. Recalibration is kept where it surely helps transitions that it was not learned
from;
student: one network in place of the members, its spread of log rates over theirs where the rate is above 0.01/s.

| rates | transitions | excess | of mean rates | not recalibrated | kept | scales | students | excess there | student's | its spread | members' sd |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def page_of(rows: list[dict[str, Any]], *, test: int, tuned_on: str) -> str:
    """The page of these results."""
    lines = [_HEAD.format(test=test, tuned_on=tuned_on)]
    for family, count, own in _groups(rows):
        excess = [row["excess"] for row in own]
        mixtures = family == "mixtures"
        value = float(np.median(excess)) if mixtures else max(excess)
        shown = f"{value:.5f} ({max(excess):.5f})" if mixtures else f"{value:.5f}"
        reach = REACH.get((family, count))
        enough = len(own) >= (DRAWS if mixtures else LEAST_SEEDS)
        met = "" if reach is None else ("yes" if value <= reach else "no") if enough else f"{len(own)} of {DRAWS if mixtures else LEAST_SEEDS}"
        oracle, constant = (float(np.median([row[name] for row in own])) for name in ("oracle_nll", "excess_constant"))
        ece = max(row["ece_hop"] for row in own)
        told = f"{ece:.4f} ({'met' if ece <= _ECE else 'not met'})" if count == 20_000 else f"{ece:.4f}"
        seconds = float(np.median([row["fit_cpu_s"] for row in own]))
        lines.append(
            f"| {family} | {count} | {len(own)} | {shown} | {'' if reach is None else f'≤ {reach:g}'} | {met} "
            f"| {oracle:.4f} | {constant:.4f} | {told} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n" + _turned(rows) + _compared(rows) + _each(rows)


def _groups(rows: list[dict[str, Any]]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """(family, transitions, rows), canonical models by a name of their own."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        family = "mixtures" if row["rates"].startswith("mixture") else row["rates"]
        family += "" if row["model"] == "equivariant" else f", {row['model']} model"
        found.setdefault((family, row["transitions"]), []).append(row)
    return [(*key, own) for key, own in sorted(found.items(), key=lambda each: (each[0][0], -each[0][1]))]


def _turned(rows: list[dict[str, Any]]) -> str:
    lines = ["", "## Rotation, reflection, order of the neighbours", ""]
    lines += [f"The largest change of any member's rate, 1/s, over fresh states; worst case. Equivariant: at most {_TURNED:g}.", ""]
    lines += ["| model | rotation by any angle | reflection | another order | largest true rate |", "|---|---|---|---|---|"]
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        worst = " | ".join(f"{max(row['turned'][name] for row in own):.2g}" for name in ("rotation", "reflection", "order"))
        lines.append(f"| {model} | {worst} | {max(row['largest_rate'] for row in own):.2g} |")
    return "\n".join(lines) + "\n"


def _compared(rows: list[dict[str, Any]]) -> str:
    lines = [_COMPARED]
    for family, count, own in _groups(rows):
        told = [row["compared"] for row in own]
        first, second, third = (
            f"{np.median([each[name] for each in told]):.5f}" for name in ("excess", "excess_mean_of_rates", "excess_not_recalibrated")
        )
        taught = [each for each in told if "excess_student" in each]
        names = ("excess", "excess_student", "student_spread", "spread")
        of_student = [f"{np.median([each[name] for each in taught]):.5f}" if taught else "" for name in names]
        told_kept = f"{sum(each['recalibration']['kept'] for each in told)} of {len(told)}"
        kept = [each["recalibration"]["sharpness"] for each in told if each["recalibration"]["kept"]]
        scales = f"{min(kept):.3f} to {max(kept):.3f}" if kept else ""
        lines.append(f"| {family} | {count} | {first} | {second} | {third} | {told_kept} | {scales} | {len(taught)} | {' | '.join(of_student)} |")
    return "\n".join(lines) + "\n"


def _each(rows: list[dict[str, Any]]) -> str:
    lines = ["", "## Every case", "", "| rates | model | transitions | seed | excess | oracle | rate map RMSE, 1/s | relative | steps |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {row['rates']} | {row['model']} | {row['transitions']} | {row['seed']} | {row['excess']:.5f} | {row['oracle_nll']:.4f} "
        f"| {row['map']['rmse_per_s']:.4f} | {row['map']['relative']:.3f} | {row['steps']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
