"""A session's posterior: the bundle's, conditioned on what was observed since, one point after the other. Arithmetic alone, float64.

With the root A of Σ⁻¹, a new point * with covariances k = cov(f(*), f(Z)), l = A k and noise variance s: d² = var f(*) − l·l + s, the root gains
the row a = [−lᵀA/d, 1/d], the innovation is e = (y − μ − k·α)/d, and α grows by aᵀ e. Nothing that was there before changes, so that a row of
zeros in all arrays is a place for a point to come.
"""

from __future__ import annotations

import numpy as np

from dichroic.bundle.arrays import Arrays
from dichroic.bundle.mechanism_section import POSTERIOR_INPUTS
from services.mechanism.answers import Bool, Float64
from services.mechanism.noise import noise_variance_for
from services.mechanism.state import FIRST_ROOM, Block, Measured, Start, View, room_for, shapes

# Latents as near as this are the same point's.
SAME = 1e-9


class SessionPosterior:
    """One session's arrays, with room for points to come. Not for two threads at once.

    Args:
        start: the bundle's.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.added = 0
        self._first = len(start.arrays["points"])
        self._first_rank = len(start.arrays["inverse"])
        self._arrays: Arrays = {}
        self._added_noise = np.zeros(0)
        self._fixed: Arrays | None = None
        self._allocate(FIRST_ROOM)

    @property
    def count(self) -> int:
        """Points, N."""
        return self._first + self.added

    @property
    def rank(self) -> int:
        """Rows of the root that the graphs use, r."""
        return self._first_rank + self.added

    @property
    def memory_bytes(self) -> int:
        """Of its own arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def fixed(self) -> Arrays:
        """The fixed inputs of `predict`: the padded arrays themselves, not to be used while a block is applied. One object for each revision."""
        if self._fixed is None:
            self._fixed = {name: self._arrays[name] for name in POSTERIOR_INPUTS}
        return self._fixed

    def view(self) -> View:
        """As it is now."""
        arrays, n, r = self._arrays, self.count, self.rank
        return View(
            arrays["points"][:n],
            arrays["inverse"][:r, :n],
            arrays["alpha"][:n],
            arrays["reference"][:n],
            arrays["gauge_half"][:r],
            arrays["gauge_variance"],
            self.start.arrays["noise_root"],
            self._added_noise,
            self.start.centred,
            self.start.mean,
        )

    def points(self) -> Float64:
        """(N, D) latents of all of its points."""
        points: Float64 = self._arrays["points"][: self.count]
        return points

    def plan(self, measured: Measured) -> Block:
        """Works out what new points add, each given those before it. Changes nothing."""
        start, n, count = self.start, self.count, len(measured.y)
        total = np.einsum("kt,ktn->kn", measured.factor, measured.rows)  # cov of f, (k, N + k)
        before = np.ascontiguousarray(total[:, : self._first])
        own_rows = self._arrays["inverse"][self._first_rank : self.rank, :n]
        of_first, of_added = before @ start.root.T, total[:, :n] @ own_rows.T  # l of the points that are there, exact
        carried = of_added @ own_rows  # lᵀ A, (k, N)
        carried[:, : self._first] += of_first @ start.root
        prior = np.sum(measured.factor**2 * measured.prior, axis=1)

        gauge_rows = measured.rows[:, :, : self._first] @ start.arrays["reference"] * start.centred  # (k, T)
        all_gauge_rows = np.concatenate((self._arrays["gauge_rows"][:, :n], gauge_rows.T), axis=1)
        alpha = np.concatenate((self._arrays["alpha"][:n], np.zeros(count)))
        first, last = len(start.root), len(start.root) + self.added  # what is added to the root, in l
        rows, loads = np.zeros((count, n + count)), np.zeros((count, last + count))
        noise, scale, innovation = np.empty(count), np.empty(count), np.empty(count)
        for j in range(count):
            size = n + j
            across = rows[:j, :size] @ total[j, :size]  # l of the points before it in the block
            variance = max(prior[j] - of_first[j] @ of_first[j] - of_added[j] @ of_added[j] - across @ across, 0.0)
            residual = float(measured.y[j] - start.mean - total[j, :size] @ alpha[:size])
            # Of the parts with factors, which the gauge leaves as they are.
            of_factors = float(measured.factor_variance[j] @ (measured.rows[j, :, :size] @ alpha[:size]) ** 2)
            noise[j] = noise_variance_for(start.noise, residual, variance + of_factors)
            scale[j] = np.sqrt(variance + noise[j])
            innovation[j] = residual / scale[j]
            rows[j, :n] = -carried[j]
            rows[j, :size] -= across @ rows[:j, :size]
            rows[j, :size] /= scale[j]
            rows[j, size] = 1 / scale[j]
            alpha[: size + 1] += rows[j, : size + 1] * innovation[j]
            loads[j, :first], loads[j, first:last], loads[j, last : last + j] = of_first[j], of_added[j], across
        gauge_half = rows @ all_gauge_rows.T
        weight = start.noise.variance / noise
        duplicate = self._duplicates(measured.latents)
        return Block(measured.latents, measured.y, noise, weight, duplicate, rows, loads, scale, innovation, gauge_half, gauge_rows)

    def first_not_finite(self, block: Block) -> int | None:
        """The first point of a planned block that holds, or leaves in α and the gauge's means, a number that is not finite; None: none does."""
        count = len(block)
        alpha = np.concatenate((self._arrays["alpha"][: self.count], np.zeros(count)))
        with np.errstate(over="ignore", invalid="ignore"):
            alphas = alpha + np.cumsum(block.root_rows * block.innovation[:, None], axis=0)
            gauge_means = self._arrays["gauge_mean"] + np.cumsum(block.gauge_half * block.innovation[:, None], axis=0)
        finite = np.ones(count, bool)
        for array in (*block.arrays().values(), alphas, gauge_means):
            finite &= np.isfinite(array).reshape(count, -1).all(axis=1)
        return None if finite.all() else int(np.argmin(finite))

    def apply(self, block: Block) -> None:
        """Takes a block in that was planned for this very state.

        Raises:
            ValueError: it was planned for another number of points.
        """
        n, r, count = self.count, self.rank, len(block)
        if block.root_rows.shape != (count, n + count) or block.loads.shape != (count, len(self.start.root) + self.added + count):
            raise ValueError(f"the block is for {block.root_rows.shape[1] - count} points, the session has {n}")
        if room_for(self.added + count) > self._room:
            self._allocate(room_for(self.added + count))
        arrays = self._arrays
        arrays["points"][n : n + count] = block.latents
        arrays["inverse"][r : r + count, : n + count] = block.root_rows
        arrays["gauge_half"][r : r + count] = block.gauge_half
        arrays["gauge_rows"][:, n : n + count] = block.gauge_rows.T
        for j in range(count):
            arrays["alpha"][: n + j + 1] += block.root_rows[j, : n + j + 1] * block.innovation[j]
            arrays["gauge_mean"] += block.gauge_half[j] * block.innovation[j]
        self._added_noise = np.concatenate((self._added_noise, block.noise_variance))
        self.added += count
        self._fixed = None

    def _duplicates(self, latents: Float64) -> Bool:
        there = self.points() if self.start.measured else self.points()[self._first :]
        found = np.zeros(len(latents), bool)
        for j, point in enumerate(latents):
            others = np.concatenate((there, latents[:j])) if j else there
            found[j] = bool(len(others)) and bool(np.any(np.max(np.abs(others - point), axis=1) <= SAME))
        return found

    @property
    def _room(self) -> int:
        return len(self._arrays["points"]) - self._first

    def _allocate(self, room: int) -> None:
        """Arrays with room for so many points more than the bundle's; what is there already is copied."""
        before = self._arrays or self.start.arrays
        n, r = (self.count, self.rank) if self._arrays else (self._first, self._first_rank)
        made = {name: np.zeros(shape) for name, shape in shapes(self.start, room).items()}
        for name, used in (("points", n), ("alpha", n), ("reference", n), ("gauge_half", r)):
            made[name][:used] = before[name][:used]
        made["inverse"][:r, :n] = before["inverse"][:r, :n]
        made["gauge_rows"][:, :n] = before["gauge_rows"][:, :n]
        for name in ("gauge_mean", "gauge_variance"):
            made[name][:] = before[name]
        self._arrays, self._fixed = made, None
