from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from tests.training.mechanism.structures import posterior
from training.mechanism.export_graph import posterior_onnx
from training.mechanism.graph import posterior_arrays
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Mechanism, Structure, TermValues, additive
from training.mechanism.truncate import low_rank

MECHANISMS = (Mechanism("kind", 0, 2), Mechanism("position", 2, 2), Mechanism("age", 4, 1))


def smooth(count: int = 300) -> Posterior:
    """Kinds at four places, a field and an age: few directions for many points."""
    rng = np.random.default_rng(0)
    terms = tuple(
        TermValues(term, 0.5 + index, {mechanism.name: np.full(mechanism.size, 1.5)})
        for index, (term, mechanism) in enumerate(zip(additive(*(m.name for m in MECHANISMS)), MECHANISMS, strict=True))
    )
    latents = np.column_stack((rng.integers(2, size=(count, 2)).astype(float), rng.normal(size=(count, 3))))
    return Posterior(Structure(MECHANISMS, terms, 0.3), latents, rng.normal(size=count), np.full(count, 0.05), np.full(count, 1 / count))


@pytest.mark.parametrize("spread", [pytest.param(0.1, marks=pytest.mark.slow), 1.0, pytest.param(5.0, marks=pytest.mark.slow)])
def test_no_variance_or_covariance_changes_by_more_than_the_bound_anywhere(spread: float) -> None:
    given, new = smooth(), spread * np.random.default_rng(7).normal(size=(400, 5))
    found = low_rank(given)
    assert found is not None
    assert found.rank < 120
    assert found.bound <= 1e-6
    session = onnxruntime.InferenceSession(posterior_onnx(given, truncated=True), providers=["CPUExecutionProvider"])
    mean, covariance, _, _, total_mean, total_variance = session.run(None, {"latents": new, **posterior_arrays(given, found)})
    told = given.predict(new)
    sizes = np.sqrt([values.variance for values in given.structure.terms])
    assert (np.abs(covariance - told.covariance)[:, 1:, 1:] <= found.bound * np.outer(sizes, sizes)).all()
    assert np.abs(covariance - told.covariance)[:, 0].max() <= found.bound * (sizes**2).sum()
    assert np.abs(total_variance - told.total_variance).max() <= found.bound * (sizes**2).sum()
    assert np.abs(mean - told.mean).max() < 1e-10  # means are exact
    assert np.abs(total_mean - told.total_mean).max() < 1e-10


def test_fewer_vectors_than_the_bound_asks_for_break_it() -> None:
    given, new = smooth(), np.random.default_rng(7).normal(size=(400, 5))
    found = low_rank(given, tolerance=1e-2)
    assert found is not None
    session = onnxruntime.InferenceSession(posterior_onnx(given, truncated=True), providers=["CPUExecutionProvider"])
    variance = session.run(["total_variance"], {"latents": new, **posterior_arrays(given, found)})[0]
    assert np.abs(variance - given.predict(new).total_variance).max() > 1e-6


def test_rank_falls_with_the_tolerance_and_many_rough_directions_stay_exact() -> None:
    given = smooth()
    ranks = [found.rank for tolerance in (1e-2, 1e-4, 1e-6) if (found := low_rank(given, tolerance=tolerance)) is not None]
    assert len(ranks) == 3
    assert ranks[0] < ranks[1] < ranks[2]
    assert low_rank(posterior("additive")) is None


def test_where_rounding_is_more_than_the_tolerance_it_is_refused() -> None:
    given = smooth(100)
    quiet = Posterior(given.structure, given.latents, given.y, np.full(100, 1e-7), given.reference)
    assert low_rank(quiet) is None


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("scaled", marks=pytest.mark.slow),
        pytest.param("offset_scaled", marks=pytest.mark.slow),
        pytest.param("mixed", marks=pytest.mark.slow),
    ],
)
def test_factors_and_orthogonal_kernels_have_the_same_bound(form: str) -> None:
    rough = posterior(form, 300)
    # Smoother: the interaction of three mechanisms has few directions then too.
    terms = tuple(replace(values, lengthscales={name: 4 * each for name, each in values.lengthscales.items()}) for values in rough.structure.terms)
    given = Posterior(replace(rough.structure, terms=terms), rough.latents, rough.y, rough.noise_variance, rough.reference)
    found = low_rank(given, tolerance=0.2)
    assert found is not None
    session = onnxruntime.InferenceSession(posterior_onnx(given, truncated=True), providers=["CPUExecutionProvider"])
    new = np.random.default_rng(3).normal(size=(200, 5))
    covariance = session.run(["part_covariance"], {"latents": new, **posterior_arrays(given, found)})[0]
    sizes = np.sqrt([values.variance for values in given.structure.terms]) * np.abs(given.factor_scales)
    difference = np.abs(covariance - given.predict(new).covariance)[:, 1:, 1:]
    assert (difference <= found.bound * np.outer(sizes, sizes)).all()
    assert difference.max() > 1e-9
