"""The noise of a measurement, against scipy and the rule of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from dichroic.bundle.mechanism_section import Noise
from services.mechanism.noise import PROBABILITIES, noise_variance_for, normal_cdf, normal_density, quantiles, total_variance
from training.mechanism.robust import Outliers

ROBUST = Noise(variance=0.01, outlier_share=0.25, outlier_variance=2.0)
PLAIN = Noise(variance=0.01)


def test_the_normal_distribution_is_right_in_both_tails() -> None:
    x = np.array([[-37.0, -8.0, -1.0], [0.0, 2.0, 9.0]])
    assert np.allclose(normal_cdf(x), norm.cdf(x), rtol=1e-12, atol=0)
    assert np.allclose(normal_density(x), norm.pdf(x), rtol=1e-12, atol=0)


@given(residual=st.floats(-50, 50), variance=st.floats(0, 5))
def test_a_new_point_is_weighed_by_the_rule_the_training_points_were(residual: float, variance: float) -> None:
    rule = Outliers(0.25, 2.0)
    good = rule.good(np.array([residual]), np.array([variance]), 0.01)
    wanted = float(0.01 * rule.noise_weight(good, 0.01)[0])
    found = noise_variance_for(ROBUST, residual, variance)
    assert found == pytest.approx(wanted, rel=1e-9)
    assert 0.01 <= found <= 2.0 * (1 + 1e-12)


def test_without_outliers_every_point_counts_alike() -> None:
    assert noise_variance_for(PLAIN, 1e6, 0.0) == 0.01
    assert total_variance(PLAIN) == 0.01
    assert total_variance(ROBUST) == pytest.approx(0.75 * 0.01 + 0.25 * 2.0)


def test_an_outrageous_value_does_not_overflow() -> None:
    assert noise_variance_for(ROBUST, 1e150, 0.0) == pytest.approx(2.0)


def test_quantiles_of_f_are_the_gaussians() -> None:
    mean, variance = np.array([1.0, -2.0]), np.array([0.25, 4.0])
    assert np.allclose(quantiles(mean, variance, None), norm.ppf(PROBABILITIES, mean[:, None], np.sqrt(variance)[:, None]), atol=1e-12)
    assert np.allclose(quantiles(mean, variance, PLAIN), norm.ppf(PROBABILITIES, mean[:, None], np.sqrt(variance + 0.01)[:, None]), atol=1e-12)


def test_quantiles_of_y_with_outliers_are_the_mixtures() -> None:
    mean, variance = np.array([1.0, -2.0, 0.0]), np.array([0.25, 4.0, 1e-8])
    found = quantiles(mean, variance, ROBUST)
    for row, (m, v) in enumerate(zip(mean, variance, strict=True)):
        for column, probability in enumerate(PROBABILITIES):

            def cdf(y: float, m: float = m, v: float = v, p: float = probability) -> float:
                return float(0.75 * norm.cdf(y, m, np.sqrt(v + 0.01)) + 0.25 * norm.cdf(y, m, np.sqrt(v + 2.0)) - p)

            assert found[row, column] == pytest.approx(brentq(cdf, m - 50, m + 50, xtol=1e-14), abs=1e-9)
