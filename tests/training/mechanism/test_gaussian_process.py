from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.mechanism.structures import FORMS, MECHANISMS, factor_values, measure, points
from training.mechanism.gaussian_process import StructuredGP, Surprise
from training.mechanism.structure import Mechanism, additive, product

EVERY_FORM = pytest.mark.parametrize("form", sorted(FORMS))


def model(form: str) -> StructuredGP:
    """With a different number for every parameter."""
    terms = FORMS[form]
    centres = {name: factor_values().centres for term in terms for name in term.factors}
    made = StructuredGP(MECHANISMS, terms, centres, {mechanism.name: measure(mechanism) for mechanism in MECHANISMS}, outliers=True)
    rng = np.random.default_rng(2)
    for parameter in made.parameters():
        parameter.data += torch.from_numpy(np.asarray(0.3 * rng.normal(size=tuple(parameter.shape))))
    return made


@EVERY_FORM
def test_gpytorchs_covariance_is_the_structures(form: str) -> None:
    made, z = model(form), points(12)
    found = made.structure({name: np.zeros((3, 3)) for name in made.factors})
    wanted = sum(found.covariance(values, z, z) for values in found.terms)
    # GPyTorch's Matérn takes distances no smaller than 1e-15 under the root, 3e-8 of a lengthscale.
    assert np.abs(made.cross(torch.from_numpy(z), torch.from_numpy(z)).detach().numpy() - wanted).max() < 1e-7
    for kernel, values in zip(made.kernels, found.terms, strict=True):
        told = kernel(torch.from_numpy(z), diag=True).detach().numpy()
        assert np.abs(told - np.diag(found.covariance(values, z, z))).max() < 1e-7


@EVERY_FORM
def test_gradients_of_the_loss_are_its_finite_differences(form: str) -> None:
    made, rng = model(form), np.random.default_rng(5)
    given = [torch.from_numpy(array) for array in (points(15), rng.normal(size=15), rng.random(15))]
    made(*given).backward()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None, name
            flat, slope = parameter.data.view(-1), parameter.grad.view(-1)
            for index in range(len(flat)):
                at, losses = float(flat[index]), []
                for step in (1e-5, -1e-5):
                    flat[index] = at + step
                    losses.append(float(made(*given)))
                flat[index] = at
                assert float(slope[index]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5, abs=1e-8), name


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
    covariance = (model.cross(z, z) + torch.diag(noise)).detach()
    expected = -torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(y)
    all_good = -torch.distributions.MultivariateNormal(
        torch.zeros(6, dtype=torch.float64), (model.cross(z, z) + 0.2 * torch.eye(6, dtype=torch.float64)).detach()
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
