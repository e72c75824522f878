"""How likely transitions are, given rates: of the first hop, and of where the atom is at the end of the dwell (science 4.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from training.transition.chain import occupancy_rows, outcomes

Likelihood = Literal["first_hop", "end_of_dwell"]

# Below this a probability is taken for it: a network that is sure of the wrong thing must still learn.
_LEAST = 1e-12
_SITES = 5


def first_hop(log_rates: Tensor, dwell: Tensor, outcome: Tensor) -> Tensor:
    """The ln p of the first hop within the dwell: −λT of none, else ln(1 − e^(−λT)) + ln(r_i/λ), λ = Σ r_i.

    Args:
        log_rates: (M, n, 3), ln(r s).
        dwell: (n,), s, > 0.
        outcome: (n,) int64, 0 none, 1 to 3 along which neighbour, −1 along one that is not known.

    Returns:
        (M, n), of the rates' dtype.
    """
    log_total = torch.logsumexp(log_rates, dim=-1)
    hops = torch.exp(log_total) * dwell.to(log_rates)
    hopped = torch.log(torch.clamp(-torch.expm1(-hops), min=_LEAST))
    along = torch.clamp(outcome - 1, 0, 2).expand(len(log_rates), -1)[..., None]
    share = torch.gather(log_rates, -1, along)[..., 0] - log_total
    return torch.where(outcome == 0, -hops, hopped + torch.where(outcome > 0, share, 0.0))


def end_of_dwell(log_rates: Tensor, dwell: Tensor, outcome: Tensor, shells: int) -> Tensor:
    """The ln p of where the atom is at the end of the dwell: the origin's row of exp(QT), Q of the rates at each site of the surroundings.

    Args:
        log_rates: (M, n, S, 3), ln(r s), in the sites' own frames.
        dwell: (n,), s, > 0.
        outcome: (n,) int64, 0 stay, 1 to 3 the neighbour, −1 elsewhere.
        shells: of the surroundings.

    Returns:
        (M, n) float64.
    """
    column = torch.where(outcome < 0, _SITES - 1, outcome)
    told = torch.gather(end_of_dwell_probabilities(log_rates, dwell, shells), -1, column.expand(len(log_rates), -1)[..., None])[..., 0]
    return torch.log(torch.clamp(told, min=_LEAST))


def end_of_dwell_probabilities(log_rates: Tensor, dwell: Tensor, shells: int) -> Tensor:
    """(M, n, S, 3) and (n,) → (M, n, 5) float64: stay, neighbours 1, 2, 3, elsewhere."""
    members, count, sites, _ = log_rates.shape
    rates = torch.exp(log_rates.to(torch.float64)).permute(2, 3, 0, 1).reshape(sites, 3, members * count)
    occupied = occupancy_rows(rates, dwell.to(torch.float64).repeat(members), shells)
    return outcomes(occupied).reshape(_SITES, members, count).permute(1, 2, 0)


def first_hop_probabilities(log_rates: Tensor, dwell: Tensor) -> Tensor:
    """(M, n, 3) and (n,) → (M, n, 4) float64: no hop, or the first along neighbour 1, 2, 3."""
    rates = torch.exp(log_rates.to(torch.float64))
    total = rates.sum(dim=-1, keepdim=True)
    hop = -torch.expm1(-total * dwell.to(torch.float64)[:, None])
    return torch.cat((1 - hop, hop * rates / total), dim=-1)
