from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from training.mechanism.figures import coverage, crps, nlpd, r_squared, rmse
from training.mechanism.leakage import leakage


def test_coverage_of_what_is_drawn_from_the_prediction_is_the_intervals_probability() -> None:
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=20_000), rng.uniform(0.1, 2, size=20_000)
    truth = mean + np.sqrt(variance) * rng.normal(size=20_000)
    for probability in (0.5, 0.9, 0.95):
        assert coverage(mean, variance, truth, probability) == pytest.approx(probability, abs=0.01)
        assert coverage(mean, variance / 4, truth, probability) < probability - 0.1


def test_nlpd_is_the_gaussians() -> None:
    assert nlpd(np.array([1.0]), np.array([4.0]), np.array([2.0])) == pytest.approx(-norm.logpdf(2.0, 1.0, 2.0))


def test_crps_is_the_integral_of_the_squared_difference_of_the_distributions() -> None:
    mean, sd, truth = 0.3, 1.7, 1.1
    wanted = quad(lambda x: (norm.cdf(x, mean, sd) - (x >= truth)) ** 2, -30, 30, points=[truth])[0]
    assert crps(np.array([mean]), np.array([sd**2]), np.array([truth])) == pytest.approx(wanted, rel=1e-6)


def test_r_squared_and_rmse_fit_nothing() -> None:
    truth = np.arange(5.0)
    assert r_squared(truth, truth) == 1
    assert r_squared(truth + 10, truth) < -10  # an offset is an error
    assert rmse(truth + 2, truth) == pytest.approx(2)


def test_leakage_is_what_the_other_input_tells_and_never_below_zero() -> None:
    rng = np.random.default_rng(0)
    other, part = rng.normal(size=(300, 2)), rng.normal(size=300)
    assert leakage(part, other, seed=0) == 0
    assert leakage(0.1 * part + other[:, 0], other, seed=0) > 0.7
