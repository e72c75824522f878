"""The page of `benchmarks.transition_planning`, from the JSON of its cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = {"prior": "Human prior", "simple": "Simple rates", "beyond": "Rates that peak beyond the carbon, at 1.9 Å"}
DRAWN = {"mixtures": "Random mixtures, as the published simulator draws them"}
_HEAD = """# Planning with rates that are known

Written by `python -m benchmarks.transition_planning`. Agents are paired: the same starts, goals and random numbers. Dwells and positions of greedy
agents are chosen on other episodes. *Shells*: hops from the dopant within which the outcome of a dwell is told; a service plans by four. *Less time*:
than the agent above the planner, mean over the episodes that both finish. *Bound*: the least mean time that any agent could take, by value iteration
(see `benchmarks.transition_agents.room_left`): its beams lie on a grid of 0.1 Å, but for mixtures also on one of
0.02 Å around those the planner uses, its dwells in steps of 0.25 s up to 10 s. Elsewhere
counts as the best it may be, so that the bound says little where a dwell often carries the atom farther than four hops.
"""


def page_of(out: Path) -> str:
    """All cases that stand in the folder."""
    cases = {name: json.loads(path.read_text(encoding="utf-8")) for name in _names() if (path := out / f"planning-{name}.json").exists()}
    parts = [_HEAD]
    for name, case in cases.items():
        if name in TITLES:
            parts.append(_family(TITLES[name], case))
        elif name in DRAWN:
            parts.append(_draws(DRAWN[name], case))
    if "speed" in cases:
        parts.append(_speed(cases["speed"]))
    if "microscope" in cases:
        run = cases["microscope"]
        parts.append(
            "## On a simulated instrument\n\n"
            f"Human prior, {run['runs']} runs on patches of 28 Å with noise (0.05 Å) and drift, replanned from every image: success "
            f"{run['success']:.3f}, {run['seconds']:.1f} ± {run['standard_error']:.1f} s; the first plans had told {run['told_s']:.1f} s.\n"
        )
    return "\n".join(parts)


def _names() -> list[str]:
    return [*TITLES, *DRAWN, "speed", "microscope"]


def _family(title: str, case: dict[str, Any]) -> str:
    lines = [f"## {title}", "", f"{case['episodes']} episodes.", "", "| agent | success | seconds | less time |", "|---|---|---|---|"]
    for name, row in case["figures"].items():
        less = "" if name == case["reference"] or "less" not in row else f"{100 * row['less']:.1f} % (± {row['less_error']:.2f} s)"
        lines.append(f"| {name} | {row['success']:.4f} | {_seconds(row)} | {less} |")
    best = max(name for name in case["figures"] if name.startswith("planner"))
    bound = case["figures"][best]["expected"] / (1 + case["room_left"])
    told = case["figures"][best]["expected"]
    lines += ["", f"The {best.replace(', ', ' with ')} expects {told:.2f} s; bound: {bound:.2f} s.", ""]
    return "\n".join(lines)


def _seconds(row: dict[str, Any]) -> str:
    return f"{row['seconds']:.1f} ± {row['standard_error']:.1f}"


def _draws(title: str, case: dict[str, Any]) -> str:
    names = list(case["rows"][0]["figures"])
    head = " | ".join(f"{name}: success, seconds" for name in names)
    lines = [f"## {title}", "", f"{case['draws']} draws of {case['episodes']} episodes each; greedy at the true peak with its best fixed dwell."]
    lines += ["", f"| draw | {head} | room below the planner |", "|---|" + "---|" * (len(names) + 1)]
    for row in case["rows"]:
        told = " | ".join(f"{row['figures'][name]['success']:.2f}, {row['figures'][name]['seconds']:.1f}" for name in names)
        lines.append(f"| {row['draw']} | {told} | {100 * row['room_left'] / (1 + row['room_left']):.1f} % |")
    lines += [
        "",
        "| | success | mean seconds of successes | less than greedy | mean seconds, failures as 600 s | less than greedy |",
        "|---|---|---|---|---|---|",
    ]
    of_greedy = _means(case, names[0])
    for name in names:
        success, seconds, spent = _means(case, name)
        less, saved = (f"{100 * (1 - own / other):.1f} %" for own, other in ((seconds, of_greedy[1]), (spent, of_greedy[2])))
        lines.append(f"| {name} | {success:.4f} | {seconds:.1f} | {less} | {spent:.1f} | {saved} |")
    return "\n".join([*lines, ""])


def _means(case: dict[str, Any], name: str) -> tuple[float, float, float]:
    """Success, seconds and seconds spent: means over the draws."""
    rows = [row["figures"][name] for row in case["rows"]]
    return tuple(sum(row[key] for row in rows) / len(rows) for key in ("success", "seconds", "spent"))  # type: ignore[return-value]


def _speed(case: dict[str, Any]) -> str:
    lines = [
        f"## Plan on {case['atoms']} atoms",
        "",
        f"{case['plans']} plans of random starts and goals, one thread, load {case['load']:.1f} on this machine.",
    ]
    lines += ["", "| rates | actions kept of those asked for | table | median | median, processor time | slowest |", "|---|---|---|---|---|---|"]
    for name, row in case["figures"].items():
        told = f"{row['median_ms']:.1f} ms | {row['processor_median_ms']:.1f} ms | {row['slowest_ms']:.1f} ms"
        lines.append(f"| {name} | {row['actions']} of {row['evaluated']} | {row['table_s']:.2f} s | {told} |")
    return "\n".join([*lines, ""])
