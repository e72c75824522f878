from __future__ import annotations

import math

import pytest
import torch

from training.transition.likelihood import end_of_dwell, end_of_dwell_probabilities, first_hop, first_hop_probabilities

RATES = torch.tensor([[[0.3, 0.1, 0.2], [0.05, 0.6, 0.01]]], dtype=torch.float64)
DWELL = torch.tensor([2.0, 1.5], dtype=torch.float64)


@pytest.mark.parametrize("outcome", [0, 1, 2, 3])
def test_first_hops_are_exponential_and_choose_by_their_rates(outcome: int) -> None:
    told = first_hop(torch.log(RATES), DWELL, torch.full((2,), outcome))[0].tolist()
    for value, rates, dwell in zip(told, RATES[0].tolist(), DWELL.tolist(), strict=True):
        stay = math.exp(-sum(rates) * dwell)
        wanted = stay if outcome == 0 else (1 - stay) * rates[outcome - 1] / sum(rates)
        assert value == pytest.approx(math.log(wanted), rel=1e-10)
    assert first_hop_probabilities(torch.log(RATES), DWELL)[0, :, outcome].log().tolist() == pytest.approx(told, rel=1e-10)


def test_a_hop_of_unknown_direction_is_one_along_any() -> None:
    told = first_hop(torch.log(RATES), DWELL, torch.tensor([-1, -1]))[0]
    assert torch.allclose(told, torch.log1p(-torch.exp(-RATES[0].sum(dim=1) * DWELL)))


def test_where_only_the_origin_can_be_left_end_of_dwell_is_first_hop() -> None:
    rates = torch.zeros((1, 2, 10, 3), dtype=torch.float64)
    rates[:, :, 0] = RATES
    for outcome in range(4):
        told = end_of_dwell(torch.log(rates), DWELL, torch.full((2,), outcome), 2)
        assert torch.allclose(told, first_hop(torch.log(RATES), DWELL, torch.full((2,), outcome)))


def test_an_atom_may_return_within_the_dwell() -> None:
    """Between two sites that exchange it at r: P(stay) = (1 + e^(−2rT))/2."""
    rates = torch.zeros((1, 1, 10, 3), dtype=torch.float64)
    rates[0, 0, 0, 1] = rates[0, 0, 2, 1] = 0.4
    told = end_of_dwell_probabilities(torch.log(rates), torch.tensor([3.0]), 2)[0, 0].tolist()
    assert told == pytest.approx([(1 + math.exp(-2.4)) / 2, 0, (1 - math.exp(-2.4)) / 2, 0, 0], abs=1e-12)
    assert float(end_of_dwell(torch.log(rates), torch.tensor([3.0]), torch.tensor([2]), 2)) == pytest.approx(math.log(told[2]))


def test_elsewhere_is_what_is_left() -> None:
    log_rates = torch.log(torch.rand((2, 3, 10, 3), dtype=torch.float64))
    dwell = torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(end_of_dwell_probabilities(log_rates, dwell, 2).sum(dim=2), torch.ones((2, 3), dtype=torch.float64))
    told = torch.exp(end_of_dwell(log_rates, dwell, torch.full((3,), -1), 2))
    assert torch.allclose(told, 1 - end_of_dwell_probabilities(log_rates, dwell, 2)[..., :4].sum(dim=2))
