from __future__ import annotations

import copy

import numpy as np
import pytest

from tests.training.transition.states import brief_fit, drawn
from training.data.dune.rates import ContextScaling, HumanPrior
from training.transition.figures import Served, held_out_figures, hop_calibration
from training.transition.states import Transitions


@pytest.fixture(scope="module")
def served() -> Served:
    return Served(copy.deepcopy(brief_fit().network).double(), brief_fit(), "end_of_dwell")


def test_figures_of_drawn_transitions_agree_with_each_other(served: Served) -> None:
    data = Transitions.read(drawn(1500, stream="test"))
    metrics, calibration = held_out_figures(served, data, HumanPrior(scaling=ContextScaling()), "fresh")
    found = {metric.name: metric.value for metric in metrics}
    assert 0 < found["nll_above_oracle"] < 0.02 < found["constant_above_oracle"]
    # Of the same states, an outcome's surprise is the oracle's, what is above it, and chance.
    assert found["nll"] == pytest.approx(found["nll_oracle"] + found["nll_above_oracle"], abs=0.03)
    assert found["nll"] < found["nll_constant"]
    assert found["rotation_error"] < 1e-12
    assert found["reflection_error"] < 1e-12
    assert 0.01 < found["spread"] < 1
    assert 0 < found["rate_map_error"] < 0.6
    assert 0.2 < found["rate_inside_2sd"] <= 1
    assert calibration.hop_calibration is not None
    assert calibration.hop_calibration.expected_calibration_error == pytest.approx(found["ece_hop"], abs=1e-12)
    assert found["ece_hop_true"] < 0.05


def test_of_measured_transitions_nobody_knows_the_truth(served: Served) -> None:
    metrics, _ = held_out_figures(served, Transitions.read(drawn(100, stream="test")), None, "groups")
    assert {metric.name for metric in metrics} == {"nll", "nll_constant", "ece_hop", "rotation_error", "reflection_error", "spread"}
    assert {metric.split for metric in metrics} == {"groups"}


def test_bins_hold_what_was_told_and_what_happened() -> None:
    told = np.array([0.0, 0.01, 0.5, 0.52, 1.0])
    found = hop_calibration(told, np.array([False, True, True, False, True]), "five")
    assert [(each.count, each.observed) for each in found.bins] == [(2, 0.5), (2, 0.5), (1, 1.0)]
    assert [each.predicted for each in found.bins] == pytest.approx([0.005, 0.51, 1.0])
    assert found.expected_calibration_error == pytest.approx((2 * 0.495 + 2 * 0.01) / 5)
