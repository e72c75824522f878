from __future__ import annotations

import torch

from tests.training.transition.states import irregular, tensors, untrained
from training.transition.chain import occupancy
from training.transition.predict import Predict, Rates

OUTPUTS = ("rates_mean", "rates_sd", "first_hop_mean", "first_hop_sd", "occupancy_mean", "occupancy_sd")


def asked(count: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    data = irregular(count, seed)
    return *tensors(data)[:2], torch.from_numpy(data.dwell), *(torch.from_numpy(column.copy()) for column in data.context.T)


def test_means_and_spreads_are_those_of_the_members_own_chains() -> None:
    network, (beam, neighbours, dwell, current, voltage) = untrained(members=3), asked(6)
    told = dict(zip(OUTPUTS, Predict(network, 2)(beam, neighbours, dwell, current, voltage), strict=True))
    context = torch.stack((current, voltage), dim=1)
    (rates,) = Rates(network)(beam, neighbours, current, voltage)
    assert torch.equal(rates, network(beam, neighbours, context))
    at_sites = network.rates_at_sites(beam, neighbours, context, 2)
    each = torch.stack([occupancy(at_sites[:, m], dwell, 2) for m in range(3)])
    assert (told["occupancy_mean"] - each.mean(dim=0)).abs().max() < 1e-14
    assert (told["occupancy_sd"] - each.std(dim=0, correction=0)).abs().max() < 1e-14
    assert (told["rates_mean"] - rates.mean(dim=1)).abs().max() < 1e-14
    stay = torch.exp(-rates.sum(dim=2) * dwell[:, None])
    assert (told["first_hop_mean"][:, 0] - stay.mean(dim=1)).abs().max() < 1e-14
    assert (told["first_hop_sd"][:, 0] - stay.std(dim=1, correction=0)).abs().max() < 1e-14
    assert torch.allclose(told["first_hop_mean"].sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert float(told["rates_sd"].min()) > 0


def test_one_row_does_not_change_what_another_is_told() -> None:
    module, rows = Predict(untrained("canonical"), 2), asked(5)
    for whole, one in zip(module(*rows), module(*(each[2:3] for each in rows)), strict=True):
        assert (whole[2:3] - one).abs().max() < 1e-14
