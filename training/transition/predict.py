"""What is served, as modules from raw inputs: what each member says, and what they say together with their spread. float64 in and out.

These are the reference; graphs are exported in a form with fewer operations (training/export/transition_graphs.py) and compared with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.transition.chain import occupancy
from training.transition.networks import RateNetwork


class Rates(nn.Module):
    """Signature `rates`."""

    def __init__(self, network: RateNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, beam: Tensor, neighbours: Tensor, current: Tensor, voltage: Tensor) -> tuple[Tensor]:
        """What each member says of a state.

        Args:
            beam: (n, 2) Å, relative to the atom.
            neighbours: (n, 3, 2) Å, relative to the atom.
            current: (n,) nA.
            voltage: (n,) kV.

        Returns:
            member_rates (n, M, 3) 1/s, in the order of the neighbours.
        """
        return (self.network(beam, neighbours, torch.stack((current, voltage), dim=1)),)


class Predict(nn.Module):
    """Signature `predict`: means and standard deviations over the members, each of which runs its own chain."""

    def __init__(self, network: RateNetwork, shells: int) -> None:
        super().__init__()
        self.network, self.shells = network, shells

    def forward(self, beam: Tensor, neighbours: Tensor, dwell: Tensor, current: Tensor, voltage: Tensor) -> tuple[Tensor, ...]:
        """What the members say together.

        Args:
            beam: as in `Rates`, and the others.
            neighbours: (n, 3, 2) Å.
            dwell: (n,) s.
            current: (n,) nA.
            voltage: (n,) kV.

        Returns:
            rates_mean, rates_sd (n, 3) 1/s; first_hop_mean, first_hop_sd (n, 4), no hop in the dwell or the first along neighbour 1, 2, 3;
            occupancy_mean, occupancy_sd (n, S + 1): the sites of `surroundings(shells)` at the end of the dwell, then elsewhere.
        """
        at_sites = self.network.rates_at_sites(beam, neighbours, torch.stack((current, voltage), dim=1), self.shells)
        _, members, sites, _ = at_sites.shape
        each = dwell[:, None].expand(-1, members).reshape(-1)
        occupied = occupancy(at_sites.reshape(-1, sites, 3), each, self.shells).reshape(-1, members, sites + 1)
        rates = at_sites[:, :, 0]
        total = rates.sum(dim=2, keepdim=True)
        hop = -torch.expm1(-total * dwell[:, None, None])
        first = torch.cat((1 - hop, hop * rates / total), dim=2)
        told: list[Tensor] = []
        for values in (rates, first, occupied):
            told += _mean_and_sd(values)
        return tuple(told)


def _mean_and_sd(values: Tensor) -> tuple[Tensor, Tensor]:
    """Over the members, (n, M, k) → (n, k) each; the sd is that of the members themselves, 0 of one alone."""
    mean = values.mean(dim=1, keepdim=True)
    return mean[:, 0], torch.sqrt(torch.square(values - mean).mean(dim=1))
