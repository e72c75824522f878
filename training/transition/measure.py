"""How good learned rates are: against known truth, exactly, and against drawn outcomes."""

from __future__ import annotations

import copy
import math
from typing import Literal

import numpy as np
import torch

from dichroic.honeycomb import surroundings
from training.data.drawing import random_stream
from training.transition.chain import occupancy_rows, outcomes
from training.transition.ensemble import member_probabilities
from training.transition.likelihood import Likelihood, first_hop_probabilities
from training.transition.networks import RateNetwork
from training.transition.states import Array, Transitions

Mean = Literal["outcomes", "rates"]

_BINS = 15
_STREAM = 20


def predicted(network: RateNetwork, data: Transitions, likelihood: Likelihood, shells: int, mean: Mean = "outcomes") -> Array:
    """The ensemble's probabilities of each outcome.

    Args:
        network: the ensemble.
        data: states and dwells; its outcomes are not looked at.
        likelihood: what outcomes are.
        shells: of the chain.
        mean: over the members of their outcomes' probabilities, as served, or of their rates before the chain.

    Returns:
        (n, 5) float64, stay, neighbours 1, 2, 3, elsewhere; of first hops (n, 4).
    """
    return member_probabilities(network, data, likelihood, shells, mean_of_rates=mean == "rates").mean(dim=0).numpy()


def constant_probabilities(rate: float, data: Transitions, likelihood: Likelihood, shells: int) -> Array:
    """The same where every neighbour of every site has the rate (1/s), whatever the beam does."""
    dwell = torch.from_numpy(data.dwell)
    if likelihood == "first_hop":
        return first_hop_probabilities(torch.full((1, len(data), 3), math.log(rate)), dwell)[0].numpy()
    rates = torch.full((len(surroundings(shells)), 3, len(data)), rate, dtype=torch.float64)
    return outcomes(occupancy_rows(rates, dwell, shells)).T.numpy()


def nll(told: Array, outcome: Array) -> float:
    """Mean of −ln p of what happened, nats per transition: (n, 5) or (n, 4), and outcomes −1 to 3."""
    column = np.where(outcome < 0, told.shape[1] - 1, outcome)
    return float(-np.log(np.maximum(told[np.arange(len(told)), column], 1e-12)).mean())


def excess_nll(truth: Array, told: Array) -> float:
    """Mean KL(truth || told), nats: by how much the expected NLL is above the oracle's. (n, k) each."""
    ratio = np.log(np.maximum(truth, 1e-300)) - np.log(np.maximum(told, 1e-300))
    return float(np.where(truth > 0, truth * ratio, 0.0).sum(axis=1).mean())


def entropy(truth: Array) -> float:
    """Mean entropy, nats: the oracle's own NLL. (n, k)."""
    return -excess_nll(truth, np.ones_like(truth))


def calibration_error(told: Array, hopped: Array, bins: int = _BINS) -> float:
    """Expected calibration error: Σ over bins of told probabilities of (share of transitions) · |mean told − mean of what happened|.

    Args:
        told: (n,) probability of having hopped.
        hopped: (n,) what happened, 0 or 1, or its true probability.
        bins: of equal width over [0, 1].
    """
    which = np.minimum((told * bins).astype(np.int64), bins - 1)
    gap = np.bincount(which, weights=told - hopped, minlength=bins)
    return float(np.abs(gap).sum() / len(told))


def equivariance_error(network: RateNetwork, data: Transitions, seed: int) -> dict[str, float]:
    """The largest change of a rate, 1/s, when a state is turned by any angle, reflected, or told with its neighbours in another order.

    float64, whatever the network's weights are.
    """
    drawing = random_stream(seed, _STREAM)
    angle = 2 * math.pi * drawing.random(len(data))
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    order = np.argsort(drawing.random((len(data), 3)), axis=1)
    turned = np.einsum("nij,nj->ni", turn, data.beam), np.einsum("nij,nkj->nki", turn, data.neighbours)
    mirror = np.array([1.0, -1.0])
    shuffled = np.take_along_axis(data.neighbours, order[..., None], axis=1)
    plain = rates_of(network, data.beam, data.neighbours, data.context)
    of_shuffled = rates_of(network, data.beam, shuffled, data.context)
    return {
        "rotation": float(np.abs(rates_of(network, *turned, data.context) - plain).max()),
        "reflection": float(np.abs(rates_of(network, data.beam * mirror, data.neighbours * mirror, data.context) - plain).max()),
        "order": float(np.abs(of_shuffled - np.take_along_axis(plain, order[:, None], axis=2)).max()),
    }


def rates_of(network: RateNetwork, beam: Array, neighbours: Array, context: Array) -> Array:
    """(n, M, 3) 1/s, in float64 throughout, as an exported graph has it."""
    with torch.no_grad():
        found: Array = copy.deepcopy(network).double()(*(torch.from_numpy(each) for each in (beam, neighbours, context))).numpy()
    return found


def rate_map_error(told: Array, truth: Array) -> dict[str, float]:
    """Of rates (n, 3) 1/s at beams spread evenly: root mean square error, 1/s, and the mean absolute error over the mean rate."""
    difference = told - truth
    return {"rmse_per_s": float(np.sqrt(np.mean(difference**2))), "relative": float(np.abs(difference).mean() / truth.mean())}
