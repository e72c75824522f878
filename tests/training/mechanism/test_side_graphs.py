"""The graphs beside the posterior's against structure.covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from scipy.stats import t as student

from tests.training.mechanism.structures import FORMS, points, posterior, structure
from training.mechanism.side_graphs import FEATURES, FeaturesGraph, RowsGraph, _spectral


def of_torch(graph: torch.nn.Module, *inputs: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        found = graph(*(torch.from_numpy(each) for each in inputs))
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_rows_are_prior_covariances_with_any_points(form: str) -> None:
    given, new, others = posterior(form), points(5, seed=5), points(9, seed=6)
    rows, factor, prior = of_torch(RowsGraph(given), new, others)
    scale, terms = given.factor_scales, given.structure.terms
    assert rows.shape == (5, len(terms), 9)
    for index, values in enumerate(terms):
        wanted = given.structure.covariance(values, new, others, bare=True) * scale[index]
        np.testing.assert_allclose(rows[:, index], wanted, atol=1e-12)
        np.testing.assert_allclose(factor[:, index], given.structure.factor(values.term, new) / scale[index], atol=1e-12)
        np.testing.assert_allclose(prior[:, index], given.structure.prior(values, new) * scale[index] ** 2, atol=1e-12)
    # And so the covariance of f itself.
    total = np.sum([given.structure.covariance(values, new, others) for values in terms], axis=0)
    np.testing.assert_allclose(np.einsum("nt,ntm->nm", factor, rows), total, atol=1e-12)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_products_of_features_are_prior_covariances(form: str) -> None:
    given, new = posterior(form), points(6, seed=5)
    found = np.mean([_products(of_torch(FeaturesGraph(given, seed=seed), new)[0]) for seed in range(12)], axis=0)
    scale = given.factor_scales
    for index, values in enumerate(given.structure.terms):
        bare = given.structure.factor(values.term, new)
        wanted = given.structure.covariance(values, new, new) / np.outer(bare, bare) * scale[index] ** 2
        largest = given.structure.prior(values, new).max() * scale[index] ** 2
        # Products of three √2 cos have a variance of 1.5³ at most; 12 seeds of 1024 features.
        assert np.abs(found[index] - wanted).max() < 6 * largest * 1.5**1.5 / np.sqrt(12 * FEATURES), (form, index)


def _products(features: np.ndarray) -> np.ndarray:
    return np.einsum("ntf,mtf->tnm", features, features)


def test_frequencies_have_the_kernels_spectral_density() -> None:
    rng, lengthscale = np.random.default_rng(0), np.array([0.5, 2.0])
    omega, phase = _spectral(structure("additive"), "patch", lengthscale, rng)
    assert omega.shape == (FEATURES, 2)
    for column in range(2):
        assert kstest(omega[:, column] * lengthscale[column], "norm").pvalue > 1e-3
    assert kstest(phase / (2 * np.pi), "uniform").pvalue > 1e-3
    # Of Matérn-5/2 in one dimension: Student's t with 5 degrees of freedom (Rasmussen and Williams, equation 4.15).
    heavy = np.concatenate([_spectral(structure("additive"), "age", np.array([0.8]), rng)[0][:, 0] * 0.8 for _ in range(8)])
    assert kstest(heavy, student(5).cdf).pvalue > 1e-3
    assert kstest(heavy, "norm").pvalue < 1e-3


def test_the_features_of_a_bundle_are_always_the_same() -> None:
    given, new = posterior("mixed"), points(3, seed=5)
    first, second = (of_torch(FeaturesGraph(given), new)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
