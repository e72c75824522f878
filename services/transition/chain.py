"""Where a dopant is at the end of a dwell, from rates alone and over as many shells as a plan needs: the Markov chain, solved by uniformisation.

exp(QT) = Σ_k w_k (I + Q/q)^k, w_k = e^(−qT) (qT)^k / k!, q the fastest rate of leaving any site. The powers are the same for every dwell at one
beam, so that a model is asked for its rates once for each beam. training/data/dune/truth.py has the same equation for the simulator.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dichroic.honeycomb import surroundings
from services.transition.arrays import Float64, Int64

# What the series may leave out, as a probability.
_LEFT_OUT = 1e-12
# Where rates and dwell make for more hops, they are taken for so many, as in a model's own graphs: an atom that is anywhere by then.
_MOST_HOPS = 128.0


class Rates(Protocol):
    """A model's `rates` graph."""

    def __call__(self, beam: Float64, neighbours: Float64, context: Float64) -> Float64:
        """(n, 2) Å, (n, 3, 2) Å, (n, 2) nA and kV → (n, M, 3) 1/s by each member, or (n, 3)."""
        ...


class Chain:
    """An `Occupancy` (table.py) made of rates."""

    def __init__(self, rates: Rates, shells: int) -> None:
        """Takes rates.

        Args:
            rates: of the model.
            shells: hops from the dopant within which sites are told apart; who goes farther does not come back.
        """
        self._rates, self._sites = rates, surroundings(shells)

    def __call__(self, beam: Float64, neighbours: Float64, dwell_s: Float64, context: Float64) -> Float64:
        """(n, M, S + 1): see table.Occupancy."""
        states = np.concatenate([beam, neighbours.reshape(len(beam), 6), context], axis=1)
        unique, which = np.unique(states, axis=0, return_inverse=True)
        rates = self._at_sites(unique[:, :2], unique[:, 2:8].reshape(-1, 3, 2), unique[:, 8:])
        members = rates.shape[1]
        found = self._solve(
            rates.reshape(-1, *rates.shape[2:]), (which.reshape(-1, 1) * members + np.arange(members)).ravel(), np.repeat(dwell_s, members)
        )
        return found.reshape(len(beam), members, -1)

    def _at_sites(self, beam: Float64, neighbours: Float64, context: Float64) -> Float64:
        """(u, M, S, 3) 1/s of leaving each site along each of its bonds."""
        sites, count = self._sites, len(self._sites)
        relative = beam[:, None] - sites.positions(neighbours)
        own = neighbours[:, None] * (1 - 2 * sites.sublattice)[:, None, None]
        told = self._rates(relative.reshape(-1, 2), own.reshape(-1, 3, 2), np.repeat(context, count, axis=0))
        found: Float64 = np.moveaxis(told.reshape(len(beam), count, -1, 3), 1, 2)
        return found

    def _solve(self, rates: Float64, which: Int64, dwell_s: Float64) -> Float64:
        """Rates (u, S, 3), and for each of r rows which of them and how long → (r, S + 1)."""
        neighbour, count = self._sites.neighbour, len(self._sites)
        leaving = rates.sum(axis=2)
        fastest = np.maximum(leaving.max(axis=1), 1e-300)
        hop, stay = rates / fastest[:, None, None], 1 - leaving / fastest[:, None]
        mean = np.minimum(fastest[which] * dwell_s, _MOST_HOPS)
        term = np.zeros((len(rates), count + 1))
        term[:, 0] = 1
        log_weight = -mean
        total = np.exp(log_weight)[:, None] * term[which]
        log_mean = np.log(np.maximum(mean, 1e-300))
        for k in range(1, _terms(float(mean.max())) + 1):
            following = np.concatenate([stay * term[:, :-1], term[:, -1:]], axis=1)
            for bond in range(3):
                # Different sites lead to different ones along the same bond, but for those that lead elsewhere.
                inside = neighbour[:, bond] < count
                flow = term[:, :-1] * hop[:, :, bond]
                following[:, neighbour[inside, bond]] += flow[:, inside]
                following[:, -1] += flow[:, ~inside].sum(axis=1)
            term = following
            log_weight = log_weight + log_mean - np.log(k)
            total += np.exp(log_weight)[:, None] * term[which]
        found: Float64 = total
        return found


def _terms(mean: float) -> int:
    """The least K with P(more than K Poisson events) below _LEFT_OUT: the tail is below its first term times 1/(1 − mean/(K + 2))."""
    k, log_term = 0, -mean
    while True:
        following = log_term + np.log(mean / (k + 1)) if mean > 0 else -np.inf
        if k + 2 > mean and following - np.log1p(-mean / (k + 2)) < np.log(_LEFT_OUT):
            return k
        k, log_term = k + 1, following
