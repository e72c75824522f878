from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.mechanism.structures import FORMS, points
from tests.training.mechanism.test_gaussian_process import model
from training.mechanism.bound import negative_bound
from training.mechanism.inducing import JITTER

EVERY_FORM = pytest.mark.parametrize("form", sorted(FORMS))


def given(count: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(5)
    return [torch.from_numpy(array) for array in (points(count), rng.normal(size=count), rng.random(count))]


@EVERY_FORM
def test_with_every_point_as_inducing_point_it_is_the_exact_marginal_likelihood(form: str) -> None:
    made, (z, y, good) = model(form), given(15)
    with torch.no_grad():
        exact, found = made(z, y, good), negative_bound(made, z, z, y, good, jitter=1e-12)
    assert float(found) == pytest.approx(float(exact), abs=1e-7)


@EVERY_FORM
def test_it_is_titsias_formula_and_a_bound(form: str) -> None:
    made, (z, y, good) = model(form), given(15)
    u = z[:5]
    with torch.no_grad():
        found = float(negative_bound(made, u, z, y, good, chunk=4))
        noise, beside = made.noise_of(y, good)
        own, across = made.cross(u, u), made.cross(u, z)
        own = own + JITTER * torch.trace(own) / 5 * torch.eye(5)
        low = across.T @ torch.linalg.inv(own) @ across
        normal = torch.distributions.MultivariateNormal(made.mean * torch.ones_like(y), low + torch.diag(noise))
        left = ((torch.diagonal(made.cross(z, z)) - torch.diagonal(low)) / noise).sum()
        wanted = float((-normal.log_prob(y) + 0.5 * left + beside - made.log_prior()) / len(y))
        assert found == pytest.approx(wanted, abs=1e-9)
        assert found > float(made(z, y, good))


@EVERY_FORM
def test_its_gradients_are_finite_differences(form: str) -> None:
    made, (z, y, good) = model(form), given(15)
    negative_bound(made, z[:5], z, y, good, chunk=4).backward()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            flat, slope, losses = parameter.data.view(-1), parameter.grad.view(-1), []
            at = float(flat[0])
            for step in (1e-5, -1e-5):
                flat[0] = at + step
                losses.append(float(negative_bound(made, z[:5], z, y, good)))
            flat[0] = at
            assert float(slope[0]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-4, abs=1e-7), name
