from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy as shannon

from tests.training.transition.states import brief_fit, drawn, irregular, untrained
from training.data.dune.rates import HumanPrior
from training.data.dune.truth import outcome_probabilities
from training.transition.measure import (
    calibration_error,
    constant_probabilities,
    entropy,
    equivariance_error,
    excess_nll,
    nll,
    predicted,
    rate_map_error,
)
from training.transition.states import Transitions

RNG = np.random.default_rng(0)
TRUTH, TOLD = RNG.dirichlet(np.ones(5), 300), RNG.dirichlet(np.ones(5), 300)


def test_the_excess_is_the_divergence_and_what_nll_has_above_the_oracle() -> None:
    assert excess_nll(TRUTH, TOLD) == pytest.approx(shannon(TRUTH, TOLD, axis=1).mean())
    assert entropy(TRUTH) == pytest.approx(shannon(TRUTH, axis=1).mean())
    many = np.repeat(np.arange(300), 400)
    outcome = (RNG.random((len(many), 1)) > TRUTH[many].cumsum(axis=1)[:, :4]).sum(axis=1)
    outcome[outcome == 4] = -1
    assert nll(TOLD[many], outcome) - nll(TRUTH[many], outcome) == pytest.approx(excess_nll(TRUTH, TOLD), abs=0.02)


def test_what_cannot_happen_costs_nothing() -> None:
    assert excess_nll(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])) == pytest.approx(np.log(2))
    assert excess_nll(TRUTH, TRUTH) == 0


def test_calibration_error_is_the_gap_between_told_and_happened() -> None:
    told = RNG.random(5000)
    assert calibration_error(told, told) == 0
    assert calibration_error(0.5 * told, told) == pytest.approx(np.mean(0.5 * told))
    happened = (RNG.random(5000) < told).astype(float)
    assert calibration_error(told, happened) < 0.03
    # Wrong in opposite directions in two bins is wrong in both.
    assert calibration_error(np.array([0.25, 0.75]), np.array([0.35, 0.65])) == pytest.approx(0.1)
    # Wrong in both directions within one bin is right.
    assert calibration_error(np.array([0.50, 0.51]), np.array([0.40, 0.61])) == pytest.approx(0, abs=1e-12)


def test_equivariance_is_exact_for_one_model_and_reported_for_the_other() -> None:
    data = irregular(100)
    exact, published = equivariance_error(untrained(), data, 0), equivariance_error(untrained("canonical"), data, 0)
    assert max(exact.values()) < 1e-12
    assert published["reflection"] > 1e-3
    assert max(published["rotation"], published["order"]) < 1e-12


def test_a_network_of_float32_weights_is_measured_in_float64_and_stays_as_it_was() -> None:
    network = brief_fit().network
    assert max(equivariance_error(network, irregular(50), 0).values()) < 1e-12
    assert str(network.dtype) == "torch.float32"
    assert str(network.pivot.dtype) == "torch.float64"


def test_a_constant_rate_is_the_chain_with_that_rate_everywhere() -> None:
    data = irregular(4)
    first = constant_probabilities(0.2, data, "first_hop", 2)
    assert first[:, 0] == pytest.approx(np.exp(-0.6 * data.dwell))
    end = constant_probabilities(0.2, data, "end_of_dwell", 2)
    assert end.sum(axis=1) == pytest.approx(np.ones(4))
    assert np.all(end[:, 0] > first[:, 0])
    assert end[:, 1] == pytest.approx(end[:, 3])


def test_predictions_are_near_the_truth_and_their_two_means_near_each_other() -> None:
    data = Transitions.read(drawn(1500, stream="test"))
    truth = outcome_probabilities(HumanPrior(), data.beam, data.neighbours, data.dwell, data.context)
    fitted = brief_fit()
    told = [predicted(fitted.network, data, "end_of_dwell", 2, mean) for mean in ("outcomes", "rates")]
    assert excess_nll(truth, told[0]) < 0.03
    assert 0 < np.abs(told[0] - told[1]).max() < 0.05
    assert excess_nll(truth, constant_probabilities(fitted.constant_rate, data, "end_of_dwell", 2)) > 0.1


def test_rate_maps_are_compared_rate_by_rate() -> None:
    truth = np.array([[0.1, 0.2, 0.3]])
    assert rate_map_error(truth + 0.1, truth) == pytest.approx({"rmse_per_s": 0.1, "relative": 0.5})
