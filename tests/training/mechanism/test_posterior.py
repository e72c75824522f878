from __future__ import annotations

from dataclasses import replace

import gpytorch
import numpy as np
import pytest
import torch

from tests.training.mechanism.structures import COUNT, FORMS, MECHANISMS, factor_values, points, posterior, structure
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
    prior = sum(values.variance for values in given.structure.terms)
    assert told.total_mean[0] == pytest.approx(given.structure.mean)
    assert told.total_variance[0] == pytest.approx(prior)


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


@EVERY_FORM
def test_parts_and_their_covariances_are_those_of_conditioning_everything_at_once(form: str) -> None:
    """Values v of every term at a point, their means r over the reference points, and y, as one Gaussian; then the gauge by plain arithmetic."""
    given, new = posterior(form), points(1, seed=8)
    found, scale = given.structure, given.factor_scales
    size, everything = len(found.terms), np.concatenate((new, given.latents))
    count = len(given.y)
    bare = []  # of c·g at the point and of the terms' values at the training points, jointly
    for index, values in enumerate(found.terms):
        block = found.covariance(values, everything, everything)
        own = found.factor(values.term, new)[0]
        block[0, :] *= scale[index] / own
        block[:, 0] *= scale[index] / own
        bare.append(block)
    joint = np.zeros((2 * size + count, 2 * size + count))
    for index, (block, values) in enumerate(zip(bare, found.terms, strict=True)):
        weights = np.concatenate(([0.0], given.reference * values.term.centred))
        pick = np.zeros((2 * size + count, count + 1))
        pick[index, 0], pick[size + index], pick[2 * size :, 1:] = 1, weights, np.eye(count)
        joint += pick @ block @ pick.T
    joint[2 * size :, 2 * size :] += np.diag(given.noise_variance)
    gain = joint[: 2 * size, 2 * size :] @ np.linalg.inv(joint[2 * size :, 2 * size :])
    mean, covariance = gain @ (given.y - found.mean), joint[: 2 * size, : 2 * size] - gain @ joint[2 * size :, : 2 * size]
    gauge = np.zeros((size + 1, 2 * size))
    gauge[0, size:] = 1
    gauge[1:, :size], gauge[1:, size:] = np.eye(size), -np.eye(size)
    told = given.predict(new)
    constant = np.concatenate(([found.mean], np.zeros(size)))
    assert np.allclose(told.mean[0], gauge @ mean + constant, atol=1e-9)
    assert np.allclose(told.covariance[0], gauge @ covariance @ gauge.T, atol=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_variance_of_a_factor_is_that_of_its_weights_through_the_normalisation(sign: float) -> None:
    """By finite differences of b/c; also where b is negative on the whole, and the factor is told with the other sign."""
    values = factor_values()
    values = replace(values, offset=sign, weights=sign * values.weights)
    base = replace(structure("scaled"), factors={"patch": values})
    reference, new = np.full(COUNT, 1 / COUNT), points(7, seed=9)

    def told(weights: np.ndarray) -> np.ndarray:
        changed = replace(base, factors={"patch": replace(values, weights=weights)})
        given = Posterior(changed, points(COUNT), np.zeros(COUNT), np.full(COUNT, 0.1), reference)
        return given.predict(new).factor[:, 1]

    step = 1e-6
    jacobian = np.stack([(told(values.weights + step * e) - told(values.weights - step * e)) / (2 * step) for e in np.eye(3)], axis=1)
    given = Posterior(base, points(COUNT), np.zeros(COUNT), np.full(COUNT, 0.1), reference)
    features = values.features(MECHANISMS[0].of(new))
    left_open = values.prior_sd**2 * (1 - (features**2).sum(axis=1)).clip(0) / given.factor_scales[0] ** 2
    wanted = np.einsum("nm,mk,nk->n", jacobian, values.covariance, jacobian) + left_open
    found = given.predict(new)
    assert np.allclose(found.factor_variance[:, 1], wanted, rtol=1e-6, atol=1e-12)
    assert reference @ given.predict(given.latents).factor[:, 1] > 0
    assert left_open.max() > 1e-3


def test_far_from_every_kind_that_was_seen_a_factor_is_as_uncertain_as_its_prior() -> None:
    given = posterior("scaled")
    far = np.concatenate((np.full((1, 2), 1e3), points(1)[:, 2:]), axis=1)
    told = given.predict(far)
    assert told.factor_variance[0, 1] >= 0.5**2 / given.factor_scales[0] ** 2
