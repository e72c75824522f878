"""One scale of the logarithms of rates, learned on transitions that members have not seen: ln r' = c + s (ln r − c), c of the data's constant rate.

s < 1 draws rates together, where members are too sure; s > 1 parts them. It is kept only if it helps transitions that it was not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from training.transition.ensemble import left_out_probabilities, prepared_sites
from training.transition.likelihood import Likelihood, end_of_dwell_probabilities, first_hop_probabilities
from training.transition.networks import RateNetwork
from training.transition.states import Array, Transitions

# What the scale may be, transitions that it is learned from at most, and how well it is found.
_RANGE, _MOST, _TOLERANCE = (0.6, 1.6), 2000, 5e-3
_LEAST = 1e-12


@dataclass(frozen=True)
class Recalibration:
    """What was found.

    Attributes:
        sharpness: s of all transitions; as it is in the network if kept.
        kept: whether it is in the network.
        gain: mean drop of the held-out NLL, nats per transition: each half scaled by what the other half asks for.
    """

    sharpness: float
    kept: bool
    gain: float


def recalibrate(network: RateNetwork, data: Transitions, left_out: Array, likelihood: Likelihood, shells: int) -> Recalibration:
    """Finds s and writes it into `network.sharpness` if it helps.

    Args:
        network: trained.
        data: what it was trained on.
        left_out: (M, n) bool, which transitions each member has not seen. The mean of those members' probabilities is what is scored.
        likelihood: what outcomes are.
        shells: of the chain.
    """
    rows = np.arange(min(len(data), _MOST))
    part, unseen = data.of(rows), left_out[:, rows]
    network.sharpness.fill_(1.0)
    with torch.no_grad():
        log_rates = network.log_rates(prepared_sites(network, part, shells if likelihood == "end_of_dwell" else 0))
    dwell, outcome, pivot = torch.from_numpy(part.dwell), torch.from_numpy(part.outcome), float(network.pivot)

    def surprise(sharpness: float) -> Array:
        scaled = pivot + sharpness * (log_rates - pivot)
        if likelihood == "end_of_dwell":
            told = end_of_dwell_probabilities(scaled, dwell, shells)
        else:
            told = first_hop_probabilities(scaled[:, :, 0], dwell)
        mean, known = left_out_probabilities(told, unseen)
        return (-torch.log(torch.clamp(_of_outcome(mean, outcome), min=_LEAST)) * known).numpy()

    def best(of: slice) -> float:
        found = minimize_scalar(lambda s: float(surprise(s)[of].mean()), bounds=_RANGE, method="bounded", options={"xatol": _TOLERANCE})
        return float(found.x)

    plain, halves = surprise(1.0), (slice(0, None, 2), slice(1, None, 2))
    if len(rows) < 2:
        return Recalibration(1.0, False, 0.0)
    gain = float(np.mean([(plain[other] - surprise(best(own))[other]).mean() for own, other in (halves, halves[::-1])]))
    kept, sharpness = gain > 0, best(slice(None))
    if kept:
        network.sharpness.fill_(sharpness)
    return Recalibration(sharpness, kept, gain)


def _of_outcome(told: Tensor, outcome: Tensor) -> Tensor:
    """(n, 5) or (n, 4) and outcomes −1 to 3 → (n,)."""
    column = torch.where(outcome < 0, told.shape[-1] - 1, outcome)
    return torch.gather(told, -1, column[:, None])[:, 0]
