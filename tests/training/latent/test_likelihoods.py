from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from training.latent.likelihoods import entropy_floor, log_probability, mean_image

ONE = torch.tensor(1.0, dtype=torch.float64)
LOGITS = [-8.0, -1.5, -0.099, -1e-3, 0.0, 0.05, 0.101, 2.0, 9.0]


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_density_integrates_to_one_and_has_the_stated_mean(logit: float) -> None:
    x, step = np.linspace(0, 1, 200_001, retstep=True)
    output = torch.full((len(x),), logit, dtype=torch.float64)
    density = torch.exp(log_probability("continuous_bernoulli", output, torch.from_numpy(x), ONE)).numpy()
    assert np.trapezoid(density, dx=step) == pytest.approx(1, abs=1e-6)
    mean = float(mean_image("continuous_bernoulli", output[:1])[0])
    assert np.trapezoid(x * density, dx=step) == pytest.approx(mean, abs=1e-6)


def test_continuous_bernoulli_is_finite_and_has_gradients_everywhere() -> None:
    output = torch.tensor([-200.0, -50.0, -0.1, 0.0, 0.1, 50.0, 200.0], requires_grad=True)
    value = (
        log_probability("continuous_bernoulli", output, torch.full((7,), 0.3), torch.tensor(1.0)).sum()
        + mean_image("continuous_bernoulli", output).sum()
    )
    value.backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_bernoulli_is_the_cross_entropy() -> None:
    output, x = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    p = 1 / (1 + np.exp(-0.4))
    assert float(log_probability("bernoulli", output, x, ONE)) == pytest.approx(0.7 * np.log(p) + 0.3 * np.log(1 - p))
    assert float(mean_image("bernoulli", output)) == pytest.approx(p)


def test_gaussian_is_scipys_normal() -> None:
    found = log_probability("gaussian", torch.tensor([0.2]), torch.tensor([0.5]), torch.tensor(0.3))
    assert float(found) == pytest.approx(stats.norm.logpdf(0.5, 0.2, 0.3), rel=1e-6)


def test_no_prediction_of_grey_values_undercuts_the_entropy_floor() -> None:
    x = torch.tensor([0.0, 0.1, 0.5, 0.93, 1.0], dtype=torch.float64)
    floor = entropy_floor(x)
    for logit in np.linspace(-12, 12, 97):
        cost = -log_probability("bernoulli", torch.full((5,), logit, dtype=torch.float64), x, ONE)
        assert (cost >= floor - 1e-5).all()
    exact = -log_probability("bernoulli", torch.logit(x[1:4]), x[1:4], ONE)
    np.testing.assert_allclose(exact, floor[1:4], atol=1e-9)


def test_continuous_bernoullis_mean_keeps_float32s_digits_through_the_series_and_past_it() -> None:
    output = torch.linspace(-3, 3, 60_001)
    exact = output.double()
    closed = 0.5 + 0.5 / torch.tanh(0.5 * exact) - 1 / exact
    expected = torch.where(exact.abs() < 1e-3, 0.5 + exact / 12, closed)  # float64 has digits to spare down to there
    apart = (mean_image("continuous_bernoulli", output).double() - expected).abs()
    assert float(apart.max()) < 3e-7
    near = torch.linspace(0.1, 0.499, 50, dtype=torch.float64)  # the series itself, in digits that show its last term
    torch.testing.assert_close(mean_image("continuous_bernoulli", near), 0.5 + 0.5 / torch.tanh(0.5 * near) - 1 / near, atol=1e-10, rtol=0)


def test_entropy_floor_of_black_and_white_is_nought_exactly() -> None:
    assert entropy_floor(torch.tensor([0.0, 1.0])).tolist() == [0.0, 0.0]
    grey = torch.tensor([1e-9, 0.3], dtype=torch.float64)
    np.testing.assert_allclose(entropy_floor(grey), stats.bernoulli.entropy(grey.numpy()), rtol=1e-6)
