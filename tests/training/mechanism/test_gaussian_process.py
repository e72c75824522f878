from __future__ import annotations

import numpy as np
import pytest
import torch

from training.mechanism.gaussian_process import StructuredGP, Surprise
from training.mechanism.structure import Mechanism, additive, product


def test_the_surprise_is_a_gaussians_and_its_first_and_second_derivatives_are_its_own() -> None:
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.normal(size=(5, 5))).requires_grad_()
    residual = torch.from_numpy(rng.normal(size=5)).requires_grad_()

    def value(root: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = Surprise.apply(root @ root.T + torch.eye(5, dtype=torch.float64), residual)  # type: ignore[no-untyped-call]
        return found

    covariance = root @ root.T + torch.eye(5, dtype=torch.float64)
    expected = -torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(residual)
    assert float((value(root, residual) + 2.5 * np.log(2 * np.pi) - expected).detach()) == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(value, (root, residual))
    assert torch.autograd.gradgradcheck(value, (root, residual))


def test_certain_kinds_make_the_expected_likelihood_that_of_their_own_noises() -> None:
    rng = np.random.default_rng(1)
    z, y = torch.from_numpy(rng.normal(size=(6, 1))), torch.from_numpy(rng.normal(size=6))
    model = StructuredGP((Mechanism("place", 0, 1),), additive("place"), {}, outliers=True)
    model.noise, model.outlier_noise = 0.2, 5.0
    good = torch.tensor([1.0, 1, 0, 1, 0, 1], dtype=torch.float64)
    noise = 0.2 * good + 5.0 * (1 - good)
    covariance = (model.covariance(z) + torch.diag(noise)).detach()
    expected = -torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(y)
    all_good = -torch.distributions.MultivariateNormal(
        torch.zeros(6, dtype=torch.float64), (model.covariance(z) + 0.2 * torch.eye(6, dtype=torch.float64)).detach()
    ).log_prob(y)
    # The priors of the hyperparameters are the same in both.
    assert float((model(z, y, good) - model(z, y)).detach()) * 6 == pytest.approx(float(expected - all_good), abs=1e-9)


def test_a_shared_lengthscale_is_one_and_a_least_one_holds() -> None:
    mechanisms = (Mechanism("pixels", 0, 4, shared=True), Mechanism("place", 4, 2, shortest=1.5))
    model = StructuredGP(mechanisms, product("pixels", "place"), {})
    assert sorted(values.numel() for name, values in model.named_parameters() if name.endswith("raw_lengthscale")) == [1, 2]
    for values in model.parameters():
        values.data -= 10.0
    (term,) = model.structure({}).terms
    assert term.lengthscales["pixels"].shape == (4,)
    assert len(set(term.lengthscales["pixels"].tolist())) == 1
    assert term.lengthscales["place"].min() >= 1.5
