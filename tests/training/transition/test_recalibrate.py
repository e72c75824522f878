from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.training.transition.states import brief_fit, drawn
from training.transition.measure import nll, predicted
from training.transition.recalibrate import recalibrate
from training.transition.states import Transitions

NOBODY_SAW = np.ones((3, 6000), bool)


def sharpened(by: float) -> torch.nn.Module:
    """A network whose log rates are too far apart, or too near to each other, by a factor."""
    network = copy.deepcopy(brief_fit().network)
    pivot = float(network.pivot)
    with torch.no_grad():
        weight, bias = network.layers.weights[-1], network.layers.biases[-1]
        weight *= by
        bias.copy_(pivot + by * (bias - pivot))
    return network


@pytest.mark.parametrize("by", [1.4, 0.7])
def test_rates_that_are_too_far_apart_are_drawn_together_and_the_other_way(by: float) -> None:
    network, data = sharpened(by), Transitions.read(drawn(6000, seed=9))
    fresh = Transitions.read(drawn(4000, seed=9, stream="test"))
    before = nll(predicted(network, fresh, "end_of_dwell", 2), fresh.outcome)
    found = recalibrate(network, data, NOBODY_SAW, "end_of_dwell", 2)
    assert found.kept
    assert (found.sharpness < 0.95) if by > 1 else (found.sharpness > 1.05)
    assert float(network.sharpness) == found.sharpness
    assert nll(predicted(network, fresh, "end_of_dwell", 2), fresh.outcome) < before - found.gain / 4


def test_what_is_calibrated_is_left_alone() -> None:
    network, data = copy.deepcopy(brief_fit().network), Transitions.read(drawn(6000, seed=9))
    found = recalibrate(network, data, NOBODY_SAW, "end_of_dwell", 2)
    assert float(network.sharpness) == (found.sharpness if found.kept else 1.0)
    assert abs(float(network.sharpness) - 1) < 0.1


def test_chance_alone_is_no_reason() -> None:
    """Outcomes drawn from the network's own probabilities: the scale that suits them best is kept in hardly any draw."""
    network, data = copy.deepcopy(brief_fit().network), Transitions.read(drawn(400, seed=9))
    told, rng, kept = predicted(network, data, "first_hop", 2), np.random.default_rng(0), 0
    for _ in range(12):
        outcome = (rng.random((400, 1)) > told.cumsum(axis=1)[:, :3]).sum(axis=1)
        found = recalibrate(network, Transitions(data.beam, data.neighbours, data.dwell, data.context, outcome), NOBODY_SAW[:, :400], "first_hop", 2)
        kept += found.kept
        network.sharpness.fill_(1.0)
    assert kept <= 2
