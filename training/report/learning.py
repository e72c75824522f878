"""How few of its points a mechanism model would have needed, had they been chosen: learning curves of active learning, from the bundle alone.

The pool is the training points, the hyperparameters are the final model's, and the error is that of held-out points. So it shows what a choice of
points is worth once the hyperparameters are known; benchmarks/mechanism_active.py fits them anew as points come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.linalg import cho_factor, cho_solve

from training.data.dataset import Array
from training.mechanism.acquisition import Candidates, Strategy, picks
from training.report.canvas import COLOURS, figure, save, unit_label
from training.report.mechanism_graphs import MechanismGraphs

_MOST_POOL, _MOST_HELD_OUT = 600, 1000
_START, _SIZES, _ORDERS = 10, 16, 5
_SEED = 0


@dataclass(frozen=True)
class Pool:
    """Training points to choose from, and held-out ones to be right about.

    Attributes:
        latents: (N, D).
        kernel: (N, N) prior covariance of f.
        part: (N, N) of one part with f; None where every part has a factor.
        part_name: of that.
        residual: (N,) y − μ.
        noise_variance: (N,).
        cross: (n, N) prior covariance of the held-out points with the pool.
        truth: (n,) f − μ, or y − μ where f is not known.
        of_f: whether it is f.
    """

    latents: Array
    kernel: Array
    part: Array | None
    part_name: str
    residual: Array
    noise_variance: Array
    cross: Array
    truth: Array
    of_f: bool

    def error(self, chosen: Sequence[int]) -> float:
        """Root mean square error with some of the points, in the unit of y."""
        own = list(chosen)
        factor = cho_factor(self.kernel[np.ix_(own, own)] + np.diag(self.noise_variance[own]), lower=True)
        told = self.cross[:, own] @ cho_solve(factor, self.residual[own])
        return float(np.sqrt(np.mean((told - self.truth) ** 2)))


def pool_of(graphs: MechanismGraphs) -> Pool | None:
    """None where the bundle holds no held-out points, or no training points."""
    held = graphs.held_out
    if not held or "residual" not in graphs.stored:
        return None
    rng = np.random.default_rng(_SEED)
    rows = np.sort(rng.permutation(len(graphs.stored["points"]))[:_MOST_POOL])
    points, residual, noise = (graphs.stored[name][rows] for name in ("points", "residual", "noise_variance"))
    kernel, parts = graphs.covariance(points, points)
    some = slice(0, _MOST_HELD_OUT)
    cross, _ = graphs.covariance(held["latents"][some], points)
    # The mean μ, which the arrays are told without: total = μ + k·α with all training points.
    everywhere, _ = graphs.covariance(held["latents"][:1], graphs.stored["points"])
    gram, _ = graphs.covariance(graphs.stored["points"], graphs.stored["points"])
    alpha = np.linalg.solve(gram + np.diag(graphs.stored["noise_variance"]), graphs.stored["residual"])
    mean = float(held["total_mean"][0] - everywhere[0] @ alpha)
    known = "truth_f" in held
    free = [index for index, part in enumerate(graphs.section.parts[1:]) if not part.factors]
    greatest = max(free, key=lambda index: float(np.trace(parts[index])), default=None)
    return Pool(
        latents=points,
        kernel=kernel,
        part=None if greatest is None else parts[greatest],
        part_name="" if greatest is None else graphs.section.parts[1 + greatest].name,
        residual=residual,
        noise_variance=noise,
        cross=cross,
        truth=(held["truth_f"] if known else held["y"])[some] - mean,
        of_f=known,
    )


def sizes_of(count: int) -> list[int]:
    """From a few to all of a pool of `count` points, evenly in the logarithm."""
    return sorted({round(size) for size in np.geomspace(min(_START, count), count, _SIZES)})


def learning_curve(pool: Pool, strategy: Strategy, sizes: Sequence[int], order: int = 0) -> Array:
    """Errors (len(sizes),); all strategies begin with the same points of an order."""
    count = len(pool.latents)
    begun = np.random.default_rng((_SEED, order)).permutation(count)[: sizes[0]].tolist()
    rng = np.random.default_rng((_SEED, order, 1))
    candidates = Candidates(pool.kernel, pool.noise_variance, pool.part if strategy == "part_sd" else None)
    chosen = begun + picks(strategy, candidates, pool.latents, begun, sizes[-1] - sizes[0], rng)
    return np.array([pool.error(chosen[:size]) for size in sizes])


def draw_learning(graphs: MechanismGraphs, folder: Path) -> list[Path]:
    """learning.png; nothing without held-out points or training points."""
    pool = pool_of(graphs)
    if pool is None or len(pool.latents) <= 2 * _START:
        return []
    sizes = sizes_of(len(pool.latents))
    title = f"{graphs.name}: points chosen among {len(pool.latents)} training points,\nhyperparameters of the final model"
    made = figure(6.4, 4.2, title)
    axes = made.add_subplot()
    random = np.stack([learning_curve(pool, "random", sizes, order) for order in range(_ORDERS)])
    axes.fill_between(sizes, random.min(axis=0), random.max(axis=0), color="0.85", linewidth=0)
    axes.plot(sizes, random.mean(axis=0), color="0.4", label=f"random, mean and range of {_ORDERS} orders")
    ways: list[tuple[Strategy, str, str, str]] = [
        ("space_filling", "space-filling", COLOURS[4], "s"),
        ("total_sd", "greatest sd of f", COLOURS[0], "o"),
        ("mean_variance", "least mean variance of f to come (ALC)", COLOURS[1], "^"),
    ]
    if pool.part is not None:
        ways.insert(2, ("part_sd", f"greatest sd of the part {pool.part_name}", COLOURS[2], "D"))
    for strategy, label, colour, marker in ways:
        axes.plot(sizes, learning_curve(pool, strategy, sizes), color=colour, marker=marker, markersize=3, linewidth=1.2, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(_ticks(sizes), [str(tick) for tick in _ticks(sizes)])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    steps = [value for power in range(-12, 13) for value in np.array([1, 1.5, 2, 3, 5, 7]) * 10.0**power if low <= value <= high]
    if len(steps) < 3:  # less than an octave: evenly spaced numbers tell more
        steps = [value for value in MaxNLocator(6).tick_values(low, high).tolist() if low <= value <= high]
    axes.set_yticks(steps, [f"{value:.6g}" for value in steps])
    axes.set_xlabel("measured points")
    what = "f" if pool.of_f else "y, noise included,"
    axes.set_ylabel(unit_label(graphs.section.quantity.unit, f"RMSE of {what} at held-out points"))
    axes.legend(fontsize=8)
    return [save(made, folder / "learning.png")]


def _ticks(sizes: Sequence[int]) -> list[int]:
    return [value for value in (10, 20, 50, 100, 200, 500) if sizes[0] <= value <= sizes[-1]]
