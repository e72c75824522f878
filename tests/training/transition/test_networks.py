from __future__ import annotations

import numpy as np
import pytest
import torch

from dichroic.honeycomb import surroundings
from tests.training.transition.states import irregular, tensors, untrained


def turned(angle: float) -> torch.Tensor:
    return torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("model", ["equivariant", "canonical"])
@pytest.mark.parametrize("angle", [0.3, 2.0, 5.1])
def test_a_turned_state_has_the_same_rates(model: str, angle: float) -> None:
    network, (beam, neighbours, context) = untrained(model), tensors(irregular(40))
    plain = network(beam, neighbours, context)
    assert (network(beam @ turned(angle), neighbours @ turned(angle), context) - plain).abs().max() < 1e-12
    assert plain.std() > 0.01


@pytest.mark.parametrize("model", ["equivariant", "canonical"])
@pytest.mark.parametrize("order", [[1, 2, 0], [0, 2, 1], [2, 1, 0]])
def test_rates_follow_the_order_in_which_neighbours_are_told(model: str, order: list[int]) -> None:
    network, (beam, neighbours, context) = untrained(model), tensors(irregular(40))
    assert (network(beam, neighbours[:, order], context) - network(beam, neighbours, context)[..., order]).abs().max() < 1e-12


def test_only_the_equivariant_model_has_the_mirror_by_construction() -> None:
    mirror, (beam, neighbours, context) = torch.tensor([1.0, -1.0]), tensors(irregular(40))
    change = {
        model: float((network(beam * mirror, neighbours * mirror, context) - network(beam, neighbours, context)).abs().max())
        for model in ("equivariant", "canonical")
        if (network := untrained(model))
    }
    assert change["equivariant"] < 1e-12
    assert change["canonical"] > 1e-3


def test_the_equivariant_rate_is_smooth_where_the_beam_crosses_the_bond() -> None:
    network, (_, neighbours, context) = untrained(), tensors(irregular(1))
    unit = neighbours[0, 0] / neighbours[0, 0].norm()
    across = torch.stack([-unit[1], unit[0]])
    step = 1e-4
    low, middle, high = (float(network((unit + s * across)[None], neighbours, context)[0, 0, 0].detach()) for s in (-step, 0.0, step))
    assert low == pytest.approx(high, rel=1e-12)
    assert abs(high - middle) < 1e-6


@pytest.mark.parametrize("model", ["equivariant", "canonical"])
def test_each_site_sees_the_same_beam_from_where_it_is(model: str) -> None:
    network, (beam, neighbours, context) = untrained(model), tensors(irregular(5))
    sites, at_sites = surroundings(2), network.rates_at_sites(*tensors(irregular(5)), 2)
    assert at_sites.shape == (5, 2, 10, 3)
    for site in range(10):
        position = torch.from_numpy(sites.positions(neighbours.numpy()))[:, site]
        own = neighbours * float(1 - 2 * sites.sublattice[site])
        assert (at_sites[:, :, site] - network(beam - position, own, context)).abs().max() < 1e-12


@pytest.mark.parametrize("model", ["equivariant", "canonical"])
def test_context_that_did_not_vary_in_the_data_changes_nothing(model: str) -> None:
    network, (beam, neighbours, context) = untrained(model), tensors(irregular(20))
    varied = context * torch.tensor([3.0, 1.5])
    assert (network(beam, neighbours, varied) - network(beam, neighbours, context)).abs().max() > 1e-3
    network.inverse.zero_()
    assert torch.equal(network(beam, neighbours, varied), network(beam, neighbours, context))


def test_sharpness_scales_the_logarithms_of_rates_about_the_pivot() -> None:
    network, states = untrained(), tensors(irregular(20))
    plain = torch.log(network(*states))
    network.sharpness.fill_(0.8)
    assert (torch.log(network(*states)) - (network.pivot + 0.8 * (plain - network.pivot))).abs().max() < 1e-12


@pytest.mark.parametrize("model", ["equivariant", "canonical"])
def test_a_beam_kilometres_away_gets_finite_rates(model: str) -> None:
    network, (beam, neighbours, context) = untrained(model), tensors(irregular(3))
    assert torch.isfinite(network(beam * 1e13, neighbours, context)).all()
