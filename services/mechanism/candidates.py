"""Places where one might measure next, told once and kept up to date by one column of the posterior's root for each observation.

With half_t = A cov(f(Z), v_t(c)) of part t at candidate c, a new point * adds to the root a row whose product with the candidate's covariances is

    (cov(v_t(c), f(*)) − half_t(c)·l) / d,    l = A cov(f(Z), f(*)),

the *column* of that point: means grow by column · e, variances fall by the column's square. Nothing is ever made anew.
"""

from __future__ import annotations

import numpy as np

from dichroic.bundle.arrays import Arrays
from services.mechanism.answers import Float64, Int64
from services.mechanism.paths import POOL, Paths
from services.mechanism.state import FLOAT64_BYTES, Block, View, room_for


class Candidates:
    """C candidates under one posterior. C is the last axis of everything large: columns are written, and products taken, along it.

    Args:
        latents: (C, D).
        factor_variance: (C, T) of the parts' factors.
        view: the posterior that `fill` tells them by.
        paths: functions drawn from the prior, for Thompson sampling; None where the bundle knows none.

    Attributes:
        latents: (C, D).
        mean: (T, C) of each part, without its factor and without the gauge.
        factor: (T, C).
        factor_variance: (T, C).
        with_gauge: (T, C) prior covariance of each part with the gauge's mean of it; 0 where it takes none.
        paths: see above.
    """

    def __init__(self, latents: Float64, factor_variance: Float64, view: View, paths: Paths | None = None) -> None:
        count, terms = len(latents), len(view.centred)
        self.latents = latents
        self.factor_variance: Float64 = np.ascontiguousarray(factor_variance.T)
        self.mean, self.factor, self.with_gauge = (np.zeros((terms, count)) for _ in range(3))
        self.variance_left = np.zeros(count)  # of f given its factors
        self.part_variance_left = np.zeros((terms, count))  # of each part in the gauge
        self.half = np.zeros((len(view.root), terms, count))
        self.added = 0
        self.paths = paths
        self._columns = np.zeros((0, terms, count))
        self._centred = view.centred[:, None]
        self._constant = view.mean

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def columns(self) -> Float64:
        """(k, T, C) of the points observed since."""
        return self._columns[: self.added]

    @property
    def memory_bytes(self) -> int:
        """Of all arrays."""
        own = sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))
        return own + (0 if self.paths is None else self.paths.memory_bytes)

    def fill(self, start: int, told: Arrays, view: View) -> None:
        """Tells the candidates from `start` on by what the graph `rows` says of them and the view's points: `rows`, `factor`, `prior`."""
        rows, factor = told["rows"], told["factor"]
        here = slice(start, start + len(rows))
        count, terms, points = rows.shape
        half = (rows.reshape(-1, points) @ view.root.T).reshape(count, terms, -1)  # (m, T, r)
        with_gauge = rows @ view.reference * view.centred
        of_total = np.einsum("mt,mtr->mr", factor, half)
        in_gauge = half - (view.gauge_half * view.centred).T
        self.mean[:, here], self.factor[:, here], self.with_gauge[:, here] = (rows @ view.alpha).T, factor.T, with_gauge.T
        self.variance_left[here] = np.sum(factor**2 * told["prior"], axis=1) - np.sum(of_total**2, axis=1)
        prior = told["prior"] + view.centred * view.gauge_variance - 2 * with_gauge
        self.part_variance_left[:, here] = (prior - np.sum(in_gauge**2, axis=2)).T
        self.half[:, :, here] = half.transpose(2, 1, 0)

    def advance(self, block: Block, rows: Float64) -> None:
        """Conditions on k points, as Block.for_candidates gives them; `rows` (C, T, k): the graph `rows` of the candidates and their latents."""
        count, known = len(block), len(self.half)
        self._grow(count)
        flat, columns = self.half.reshape(known, -1), self._columns.reshape(len(self._columns), -1)
        # The whole block against what was there before, in one product; its points against each other after.
        loaded = block.loads[:, :known] @ flat
        if self.added:
            loaded += block.loads[:, known : known + self.added] @ columns[: self.added]
        for j in range(count):
            place = self.added + j
            column = rows[:, :, j].T - loaded[j].reshape(self.mean.shape)
            if j:
                across = block.loads[j, known + self.added : known + place]
                column -= (across @ columns[self.added : place]).reshape(self.mean.shape)
            column /= block.scale[j]
            self._columns[place] = column
            self.mean += column * block.innovation[j]
            self.variance_left -= np.sum(self.factor * column, axis=0) ** 2
            self.part_variance_left -= (column - self._centred * block.gauge_half[j][:, None]) ** 2
        self.added += count

    def total_mean(self) -> Float64:
        """(C,) of f."""
        total: Float64 = self._constant + np.sum(self.factor * self.mean, axis=0)
        return total

    def of_factors(self) -> Float64:
        """(C,) the variance that the factors' own uncertainty adds to f, to first order."""
        added: Float64 = np.sum(self.factor_variance * self.mean**2, axis=0)
        return added

    def across(self, index: int) -> Float64:
        """(T, C) half_t(c)·l of f at candidate `index`: what the observations explain of its covariance with each part of each candidate."""
        shape = self.mean.shape
        of_half = self.half[:, :, index] @ self.factor[:, index]
        found = (of_half @ self.half.reshape(len(self.half), -1)).reshape(shape)
        if self.added:
            of_columns = self.columns[:, :, index] @ self.factor[:, index]
            found += (of_columns @ self.columns.reshape(self.added, -1)).reshape(shape)
        return found

    def explained(self, loads: Float64) -> Float64:
        """(p, C) of f at the candidates: Σ_t factor_t half_t(c) · each of p vectors in the root, (p, r + k)."""
        known = len(self.half)
        found = loads[:, :known] @ self.half.reshape(known, -1)
        if self.added:
            found += loads[:, known : known + self.added] @ self.columns.reshape(self.added, -1)
        total: Float64 = np.einsum("ptc,tc->pc", found.reshape(len(loads), *self.mean.shape), self.factor)
        return total

    def load_of(self, index: int) -> Float64:
        """(r + k,) l of f at candidate `index`."""
        together = np.concatenate((self.half[:, :, index], self.columns[:, :, index]))
        load: Float64 = together @ self.factor[:, index]
        return load

    def loads_of(self, which: slice | Int64) -> Float64:
        """(p, r + k) l of f at p candidates: their products are what the observations explain of the covariances of f between them."""
        factor = self.factor[:, which]
        return np.concatenate([np.einsum("rtc,tc->cr", told[:, :, which], factor) for told in (self.half, self.columns)], axis=1)

    def _grow(self, count: int) -> None:
        room = room_for(self.added + count)
        if room > len(self._columns):
            grown = np.zeros((room, *self.mean.shape))
            grown[: self.added] = self.columns
            self._columns = grown


def candidate_bytes(count: int, terms: int, size: int, *, rank: int, added: int, features: int, kept: bool = True) -> int:
    """What C candidates take.

    Args:
        count: C.
        terms: T.
        size: D.
        rank: r, of the root before any observation.
        added: points observed since.
        features: F, of the paths; 0 where there are none.
        kept: whether they have room for columns; those of one call alone have none.
    """
    own = count * (size + 1 + terms * (rank + (room_for(added) if kept else 0) + 5))
    return FLOAT64_BYTES * (own + (POOL * (terms * features + count + rank + added) if features else 0))
