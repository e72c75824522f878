"""The page of `benchmarks.scales_order`."""

from __future__ import annotations

from typing import Any

import numpy as np

ORDERS = ("progressive", "single", "cold", "joint", "reverse")
_LEAST_SEEDS = 3
_HEAD = """# Orders of training over window lengths

Written by `python -m benchmarks.scales_order`. Batches are of one size, and the learning rate starts anew at each length. *progressive*: from the
shortest window to the longest, each from the weights of the one before; *single*: the longest alone, from first weights, for all the steps of the
former; *cold*: each length from first weights, for its share of the steps; *joint*: one model of all lengths; *reverse*: from the longest. Where a
recipe teaches the pose first (`[training.equivariance]`, `[training.orientation]`), *cold* and *joint* do that at every length, on top of as many
steps as the others take.
Held-out −ELBO, nats per descriptor; mean and standard deviation over seeds, which draw the held-out blocks, the weights and drawn data anew;
differences are of the same seed. *Seeds*: how many a row has; what has fewer says so, and a single one has no standard deviation.

## The longest window

Two cold starts take as many steps in all: *cold* spreads them over the lengths as *progressive* does and gives a model for each; *single* spends all
of them on the longest window and gives one model. *Not worse*: the mean difference is less than two of its standard errors, which stand beside it,
above 0. Where *cold* is better than *single*, more steps on the longest window alone only fit its training descriptors better.

| recipe | window | seeds | progressive | cold | progressive − cold | not worse | single | progressive − single | not worse | joint | reverse |
|---|---|---|---|---|---|---|---|---|---|---|---|"""

_EVERY = """
## Every window

| recipe | order | seeds | steps | held-out −ELBO by window, mean (standard deviation) | active units, mean |
|---|---|---|---|---|---|"""


def page_of(rows: list[dict[str, Any]]) -> str:
    """The page of these results."""
    lines = [_HEAD]
    names = list(dict.fromkeys(row["recipe"] for row in rows))
    lines += [_longest(name, [row for row in rows if row["recipe"] == name]) for name in names]
    lines.append(_EVERY)
    for name in names:
        lines += [_every(name, order, own) for order in ORDERS if (own := [row for row in rows if (row["recipe"], row["order"]) == (name, order)])]
    return "\n".join(lines) + "\n"


def _longest(name: str, rows: list[dict[str, Any]]) -> str:
    last = {order: {row["seed"]: row["negative_elbo"][-1] for row in rows if row["order"] == order} for order in ORDERS}
    seeds = max(map(len, last.values()))
    mean = {order: _spread(list(last[order].values())) + _fewer(len(last[order]), seeds) for order in ORDERS}
    compared = [cell for order in ("cold", "single") for cell in (mean[order], *_gap(_paired(last["progressive"], last[order]), seeds))]
    told = (name, rows[0]["windows"][-1], seeds, mean["progressive"], *compared, mean["joint"], mean["reverse"])
    return "| " + " | ".join(map(str, told)) + " |"


def _gap(paired: Any, seeds: int) -> tuple[str, str]:
    """The mean difference with its standard error, and whether progressive training is not worse."""
    if len(paired) < _LEAST_SEEDS:
        return "", f"{len(paired)} of {_LEAST_SEEDS} seeds"
    return f"{paired.mean():+.2f} ({_error(paired):.2f}){_fewer(len(paired), seeds)}", "yes" if paired.mean() <= 2 * _error(paired) else "no"


def _fewer(found: int, seeds: int) -> str:
    """How many seeds a cell has, where the row has more; nothing of a cell without any, which is empty."""
    if found in (0, seeds):
        return ""
    return f", {found} seed" + ("s" if found > 1 else "")


def _paired(one: dict[int, float], other: dict[int, float]) -> Any:
    """Differences of the same seed."""
    return np.array([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])


def _error(differences: Any) -> float:
    """Of their mean."""
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))


def _every(name: str, order: str, rows: list[dict[str, Any]]) -> str:
    told = [f"{window}: {_spread([row['negative_elbo'][index] for row in rows])}" for index, window in enumerate(rows[0]["windows"])]
    active = [f"{np.mean([row['active'][index] for row in rows]):.1f}" for index in range(len(told))]
    return f"| {name} | {order} | {len(rows)} | {rows[0]['steps']} | {'; '.join(told)} | {', '.join(active)} |"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{np.mean(values):.2f}" + (f" ({np.std(values, ddof=1):.2f})" if len(values) > 1 else "")
