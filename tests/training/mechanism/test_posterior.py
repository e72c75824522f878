from __future__ import annotations

import gpytorch
import numpy as np
import pytest
import torch

from tests.training.mechanism.structures import COUNT, FORMS, MECHANISMS, points, posterior, structure
from training.mechanism.posterior import Posterior
from training.mechanism.structure import CONSTANT, correlation

EVERY_FORM = pytest.mark.parametrize("form", sorted(FORMS))


@EVERY_FORM
def test_parts_times_factors_sum_to_the_total_and_their_covariances_to_its_variance(form: str) -> None:
    told = posterior(form).predict(points(9, seed=5))
    assert told.names[0] == CONSTANT
    assert np.allclose(np.sum(told.factor * told.mean, axis=1), told.total_mean, atol=1e-12)
    quadratic = np.einsum("ns,nst,nt->n", told.factor, told.covariance, told.factor) + np.sum(told.factor_variance * told.mean**2, axis=1)
    assert np.allclose(quadratic, told.total_variance, atol=1e-12)
    assert np.allclose(told.covariance, told.covariance.transpose(0, 2, 1), atol=1e-12)
    assert np.linalg.eigvalsh(told.covariance).min() > -1e-10


@EVERY_FORM
def test_total_is_that_of_the_whole_kernel_without_any_parts(form: str) -> None:
    """mean = μ + K(*, Z) Σ⁻¹ (y − μ) and variance = K(*, *) − K(*, Z) Σ⁻¹ K(Z, *), by plain inversion."""
    given, new = posterior(form), points(9, seed=5)
    found = structure(form)
    whole = sum(found.covariance(values, given.latents, given.latents) for values in found.terms)
    inverse = np.linalg.inv(whole + np.diag(given.noise_variance))
    across = sum(found.covariance(values, new, given.latents) for values in found.terms)
    own = sum(found.covariance(values, new, new) for values in found.terms)
    told = given.predict(new)
    assert np.allclose(told.total_mean, found.mean + across @ inverse @ (given.y - found.mean), atol=1e-10)
    of_factors = np.sum(told.factor_variance * told.mean**2, axis=1)
    assert np.allclose(told.total_variance - of_factors, np.diag(own - across @ inverse @ across.T), atol=1e-10)
    assert (of_factors > 1e-6).any() == ("position" in told.names and bool(found.factors))


@EVERY_FORM
def test_a_centred_part_has_mean_zero_over_the_reference_points(form: str) -> None:
    given = posterior(form)
    told = given.predict(given.latents)
    for index, values in enumerate(given.structure.terms, start=1):
        if values.term.centred:
            assert abs(given.reference @ told.mean[:, index]) < 1e-10
            assert abs(told.mean[:, index]).max() > 0.1


def test_a_factor_has_mean_square_one_and_a_positive_mean_over_the_reference_points() -> None:
    given = posterior("scaled")
    told = given.predict(given.latents)
    b = told.factor[:, told.names.index("position")]
    assert given.reference @ b**2 == pytest.approx(1, abs=1e-12)
    assert given.reference @ b > 0


def test_additive_parts_are_what_gpytorch_says_of_the_sum_by_cholesky() -> None:
    given, new = posterior("additive"), points(9, seed=5)
    kernel = None
    for mechanism, values in zip(MECHANISMS, given.structure.terms, strict=True):
        active = tuple(range(mechanism.start, mechanism.start + mechanism.size))
        base = (
            gpytorch.kernels.RBFKernel(ard_num_dims=mechanism.size, active_dims=active)
            if mechanism.family == "rbf"
            else gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=mechanism.size, active_dims=active)
        )
        scaled = gpytorch.kernels.ScaleKernel(base).double()
        base.lengthscale = torch.from_numpy(values.lengthscales[mechanism.name])
        scaled.outputscale = values.variance
        kernel = scaled if kernel is None else kernel + scaled

    class Peer(gpytorch.models.ExactGP):
        def forward(self, z: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
            return gpytorch.distributions.MultivariateNormal(torch.full(z.shape[:-1], given.structure.mean, dtype=z.dtype), kernel(z))

    likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(torch.from_numpy(given.noise_variance))
    peer = Peer(torch.from_numpy(given.latents), torch.from_numpy(given.y), likelihood).double().eval()
    exact = gpytorch.settings.fast_computations(covar_root_decomposition=False, log_prob=False, solves=False)
    with torch.no_grad(), exact, gpytorch.settings.max_cholesky_size(10_000), gpytorch.settings.fast_pred_var(False):
        wanted = peer(torch.from_numpy(new))
        mean, variance = wanted.mean.numpy(), wanted.variance.numpy()
    told = given.predict(new)
    # GPyTorch's Matérn takes distances no smaller than 1e-15 under the root, 3e-8 of a lengthscale.
    assert np.abs(told.total_mean - mean).max() < 1e-7
    assert np.abs(told.total_variance - variance).max() < 1e-7


def test_far_outside_the_variance_is_the_priors_and_the_mean_the_constant() -> None:
    given = posterior("additive")
    told = given.predict(np.full((1, 5), 1e3))
    gauge = given.predict(given.latents[:1])
    prior = sum(values.variance for values in given.structure.terms)
    assert told.total_mean[0] == pytest.approx(given.structure.mean)
    assert told.total_variance[0] == pytest.approx(prior)
    assert told.mean[0, 0] == gauge.mean[0, 0]  # the constant does not depend on the point


def test_a_point_with_a_large_noise_variance_is_as_if_it_were_not_there() -> None:
    given, new = posterior("additive"), points(5, seed=6)
    noise, y = given.noise_variance.copy(), given.y.copy()
    y[-1], noise[-1] = 1e3, 1e12
    told = Posterior(given.structure, given.latents, y, noise, given.reference).predict(new)
    without = Posterior(given.structure, given.latents[:-1], y[:-1], noise[:-1], given.reference[:-1]).predict(new)
    assert given.reference[-1] == 0
    assert np.abs(told.mean - without.mean).max() < 1e-6
    assert np.abs(told.covariance - without.covariance).max() < 1e-6


@EVERY_FORM
def test_many_points_at_once_are_told_as_each_alone(form: str) -> None:
    given, new = posterior(form), points(600, seed=7)
    together = given.predict(new)
    for index in (0, 299, 599):
        alone = given.predict(new[index : index + 1])
        assert np.abs(alone.total_mean - together.total_mean[index]).max() < 1e-12
        assert np.abs(alone.covariance - together.covariance[index]).max() < 1e-12


@pytest.mark.parametrize("family", ["rbf", "matern52"])
def test_correlation_is_one_at_no_distance_and_the_formula_elsewhere(family: str) -> None:
    first, second, lengthscale = points(COUNT)[:, :2], points(COUNT, seed=2)[:, :2], np.array([0.7, 2.0])
    assert np.array_equal(np.diag(correlation(family, first, first, lengthscale)), np.ones(COUNT))
    r = np.sqrt((((first[3] - second[4]) / lengthscale) ** 2).sum())
    wanted = np.exp(-(r**2) / 2) if family == "rbf" else (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)
    assert correlation(family, first, second, lengthscale)[3, 4] == pytest.approx(wanted, rel=1e-12)
