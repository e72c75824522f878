"""One scale of the logarithms of rates, learned on transitions that members have not seen: ln r' = c + s (ln r − c), c of the data's constant rate.

s < 1 draws rates together, where members are too sure; s > 1 parts them. It is kept only if it surely helps transitions that it was not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.transition.ensemble import left_out_probabilities, prepared_sites
from training.transition.likelihood import Likelihood, end_of_dwell_probabilities, first_hop_probabilities
from training.transition.networks import RateNetwork
from training.transition.states import Array, Transitions

# Where the surprise of every transition is asked for: between them it is taken for a parabola, and beyond them the scale does not go.
_SCALES = (0.85, 1.0, 1.15)
# The gain must be so many times its own standard error: one transition's luck is no reason to sharpen them all.
_SURE, _FEWEST, _MOST, _TILE = 2.0, 20, 20_000, 500
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
    network.sharpness.fill_(1.0)
    if len(rows) < _FEWEST:
        return Recalibration(1.0, kept=False, gain=0.0)
    told = _surprises(network, data.of(rows), left_out[:, rows], likelihood, shells)
    halves = np.arange(len(rows)) % 2
    gains = np.empty(len(rows))
    for half in (0, 1):
        scale = _best(told[:, halves != half])
        gains[halves == half] = told[1, halves == half] - _at(told[:, halves == half], scale)
    gain, error = float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
    kept, sharpness = gain > _SURE * error, _best(told)
    if kept:
        network.sharpness.fill_(sharpness)
    return Recalibration(sharpness, kept, gain)


def _surprises(network: RateNetwork, data: Transitions, left_out: Array, likelihood: Likelihood, shells: int) -> Array:
    """−ln p (3, n) of what happened by the members that have not seen it, at each of _SCALES; 0 where all have."""
    found, chained, pivot = [], likelihood == "end_of_dwell", float(network.pivot)
    with torch.no_grad():
        for start in range(0, len(data), _TILE):
            rows = np.arange(start, min(start + _TILE, len(data)))
            part = data.of(rows)
            dwell, outcome = torch.from_numpy(part.dwell), torch.from_numpy(part.outcome)
            log_rates = network.log_rates(prepared_sites(network, part, shells if chained else 0))
            own = []
            for scale in _SCALES:
                scaled = pivot + scale * (log_rates - pivot)
                each = end_of_dwell_probabilities(scaled, dwell, shells) if chained else first_hop_probabilities(scaled[:, :, 0], dwell)
                mean, known = left_out_probabilities(each, left_out[:, rows])
                own.append(-torch.log(torch.clamp(_of_outcome(mean, outcome), min=_LEAST)) * known)
            found.append(torch.stack(own))
    told: Array = torch.cat(found, dim=1).numpy()
    return told


def _best(told: Array) -> float:
    """Where the parabola through the mean surprises (3, n) is least, within _SCALES."""
    a, b, _ = np.polyfit(_SCALES, told.mean(axis=1), 2)
    low, _, high = _SCALES
    if a <= 0:
        return _SCALES[int(told.mean(axis=1).argmin())]
    return float(np.clip(-b / (2 * a), low, high))


def _at(told: Array, scale: float) -> Array:
    """Each transition's surprise (n,) at a scale, by its own parabola through (3, n)."""
    found: Array = np.array([scale**2, scale, 1.0]) @ np.polyfit(_SCALES, told, 2)
    return found


def _of_outcome(told: Tensor, outcome: Tensor) -> Tensor:
    """(n, 5) or (n, 4) and outcomes −1 to 3 → (n,)."""
    column = torch.where(outcome < 0, told.shape[-1] - 1, outcome)
    return torch.gather(told, -1, column[:, None])[:, 0]
