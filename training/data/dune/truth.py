"""What the outcomes' probabilities truly are: the Markov chain over the sites around, solved by uniformisation.

exp(QT) = Σ_k e^(−qT) (qT)^k / k! (I + Q/q)^k with q the fastest rate of leaving any site: only sums of what is not negative, so that nothing
cancels, and the terms that are left out are bounded by the tail of a Poisson distribution (here below 1e-13).
"""

from __future__ import annotations

import math

import numpy as np

from dichroic.honeycomb import Surroundings, surroundings
from training.data.dataset import Array
from training.data.dune.rates import RateModel, check_states
from training.errors import InputError

SHELLS = 6
# What uniformisation may leave out, as a probability, over a whole dwell.
LEFT_OUT = 1e-13
# e^(−qT) underflows at 745; a longer dwell is taken in parts.
_LONGEST = 200.0
_TILE = 512


def occupancy_probabilities(model: RateModel, beam: Array, neighbours: Array, dwell_s: Array, context: Array, *, shells: int = SHELLS) -> Array:
    """Where the atom is at the end of the dwell, the beam fixed in space.

    Args:
        model: gives the rates.
        beam: (n, 2) float64, Å relative to the atom.
        neighbours: (n, 3, 2) float64, Å; the lattice is continued from them.
        dwell_s: (n,) float64, s, >= 0.
        context: (n, 2) float64, nA and kV.
        shells: how many hops from the origin the sites reach. Who goes farther is elsewhere and does not come back.

    Returns:
        (n, S + 1) float64: the sites in the order of `dichroic.honeycomb.surroundings(shells)`, then elsewhere. Rows sum to 1 within 1e-12.

    Raises:
        InputError: INVALID_OPTION, UNSUPPORTED_SHAPE, NON_FINITE or WRONG_UNITS.
    """
    check_states(beam, neighbours, context)
    count = len(beam)
    if dwell_s.shape != (count,) or not ((dwell_s >= 0) & np.isfinite(dwell_s)).all():
        raise InputError("INVALID_OPTION", f"A dwell is 0 s or more and finite, one for each of {count} states.")
    sites = surroundings(shells)
    found = np.empty((count, len(sites) + 1))
    for start in range(0, count, _TILE):
        rows = slice(start, start + _TILE)
        rates = _site_rates(model, sites, beam[rows], neighbours[rows], context[rows])
        found[rows] = _uniformise(rates, sites, dwell_s[rows]).T
    return found


def outcome_probabilities(model: RateModel, beam: Array, neighbours: Array, dwell_s: Array, context: Array, *, shells: int = SHELLS) -> Array:
    """(n, 5) float64: at the end of the dwell at its place, at neighbour 1, 2, 3, or elsewhere. Arguments and errors as above."""
    occupancy = occupancy_probabilities(model, beam, neighbours, dwell_s, context, shells=shells)
    return np.concatenate([occupancy[:, :4], occupancy[:, 4:].sum(axis=1, keepdims=True)], axis=1)


def first_hop_probabilities(model: RateModel, beam: Array, neighbours: Array, dwell_s: Array, context: Array) -> Array:
    """(n, 4) float64: no hop in the dwell, e^(−λT), or the first along neighbour i, (1 − e^(−λT)) r_i/λ. Arguments as above."""
    rates = model.rates(beam, neighbours, context)
    total = rates.sum(axis=1)
    hop = -np.expm1(-total * dwell_s)
    share = np.divide(rates, total[:, None], out=np.zeros_like(rates), where=total[:, None] > 0)
    return np.concatenate([1 - hop[:, None], hop[:, None] * share], axis=1)


def _site_rates(model: RateModel, sites: Surroundings, beam: Array, neighbours: Array, context: Array) -> Array:
    """(S + 1, 3, n) rates of leaving each site; none from elsewhere."""
    count = len(beam)
    relative = beam[:, None] - sites.positions(neighbours)
    own = neighbours[:, None] * (1 - 2 * sites.sublattice)[:, None, None]
    rates = model.rates(relative.reshape(-1, 2), own.reshape(-1, 3, 2), np.repeat(context, len(sites), axis=0))
    padded = np.zeros((len(sites) + 1, 3, count))
    padded[:-1] = np.moveaxis(rates.reshape(count, len(sites), 3), 0, -1)
    return padded


def _uniformise(rates: Array, sites: Surroundings, dwell_s: Array) -> Array:
    """(S + 1, n) from the atom's certain presence at the origin."""
    leaving = rates.sum(axis=1)
    fastest = leaving.max(axis=0)
    parts = max(1, math.ceil(float((fastest * dwell_s).max()) / _LONGEST))
    mean = fastest * dwell_s / parts
    terms = _terms(float(mean.max()), LEFT_OUT / parts)
    scale = np.divide(1.0, fastest, out=np.zeros_like(fastest), where=fastest > 0)
    hop, stay = rates * scale, 1 - leaving * scale
    # Neighbour j of s has s as its own neighbour j; what crosses the last shell has nowhere to come back from.
    edge = sites.neighbour == len(sites)
    chances = np.zeros((len(sites) + 1, len(dwell_s)))
    chances[0] = 1
    for _ in range(parts):
        weight = np.exp(-mean)
        term, total = chances, weight * chances
        for k in range(1, terms + 1):
            following = stay * term
            for j in range(3):
                flow = term * hop[:, j]
                following[:-1] += flow[sites.neighbour[:, j]]
                following[-1] += flow[:-1][edge[:, j]].sum(axis=0)
            term, weight = following, weight * mean / k
            total += weight * term
        chances = total
    return chances


def _terms(mean: float, left_out: float) -> int:
    """The least K with P(more than K events of a Poisson distribution) < left_out: its tail is below its next term times 1/(1 − mean/(K + 2))."""
    k, log_term = 0, -mean
    while True:
        following = log_term + math.log(mean / (k + 1)) if mean > 0 else -math.inf
        if k + 2 > mean and following - math.log1p(-mean / (k + 2)) < math.log(left_out):
            return k
        k, log_term = k + 1, following
