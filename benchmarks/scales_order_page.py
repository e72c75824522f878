"""The page of `benchmarks.scales_order`."""

from __future__ import annotations

from typing import Any

import numpy as np

ORDERS = ("progressive", "single", "cold", "joint", "reverse")
_LEAST_SEEDS = 3
_HEAD = """# Orders of training over window lengths

Written by `python -m benchmarks.scales_order`. All orders take as many optimiser steps in total, of the same batches' size; the learning rate starts
anew at each length. *progressive*: from the shortest window to the longest, each from the weights of the one before; *single*: the longest alone,
from first weights, for all the steps; *cold*: each length from first weights, for its share of the steps; *joint*: one model of all lengths;
*reverse*: from the longest. Held-out −ELBO, nats per descriptor; mean and standard deviation over seeds, which draw the held-out blocks, the weights
and drawn data anew; differences are of the same seed.

## The longest window

*Not worse*: the mean difference from *single*, a cold start at equal total compute, is less than two of its standard errors above 0.

| recipe | window | seeds | progressive | single | progressive − single | standard error | not worse | cold | joint | reverse |
|---|---|---|---|---|---|---|---|---|---|---|"""


def page_of(rows: list[dict[str, Any]]) -> str:
    """The page of these results."""
    lines = [_HEAD]
    names = list(dict.fromkeys(row["recipe"] for row in rows))
    lines += [_longest(name, [row for row in rows if row["recipe"] == name]) for name in names]
    lines += ["", "## Every window", "", "| recipe | order | steps | " + "held-out −ELBO by window, mean (standard deviation) | active units |"]
    lines.append("|---|---|---|---|---|")
    for name in names:
        lines += [_every(name, order, own) for order in ORDERS if (own := [row for row in rows if (row["recipe"], row["order"]) == (name, order)])]
    return "\n".join(lines) + "\n"


def _longest(name: str, rows: list[dict[str, Any]]) -> str:
    last = {order: {row["seed"]: row["negative_elbo"][-1] for row in rows if row["order"] == order} for order in ORDERS}
    paired = np.array([last["progressive"][seed] - last["single"][seed] for seed in last["progressive"].keys() & last["single"].keys()])
    error = float(paired.std(ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else float("nan")
    met = f"{len(paired)} of {_LEAST_SEEDS} seeds"
    if len(paired) >= _LEAST_SEEDS:
        met = "yes" if paired.mean() <= 2 * error else "no"
    difference = f"{paired.mean():+.2f}" if len(paired) else ""
    first, second, *others = (_spread(list(last[order].values())) for order in ORDERS)
    return f"| {name} | {rows[0]['windows'][-1]} | {len(paired)} | {first} | {second} | {difference} | {error:.2f} | {met} | {' | '.join(others)} |"


def _every(name: str, order: str, rows: list[dict[str, Any]]) -> str:
    told = [f"{window}: {_spread([row['negative_elbo'][index] for row in rows])}" for index, window in enumerate(rows[0]["windows"])]
    active = [f"{np.mean([row['active'][index] for row in rows]):.1f}" for index in range(len(told))]
    return f"| {name} | {order} | {rows[0]['steps']} | {'; '.join(told)} | {', '.join(active)} |"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{np.mean(values):.2f}" + (f" ({np.std(values, ddof=1):.2f})" if len(values) > 1 else "")
