from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from tests.training.mechanism.structures import COUNT, FORMS, points, posterior, structure
from training.mechanism.export_graph import posterior_onnx
from training.mechanism.graph import POSTERIOR_INPUTS, posterior_arrays
from training.mechanism.inducing import JITTER, InducingPosterior, choose_points, condition, gauge_weights
from training.mechanism.posterior import Posterior, Prediction

EVERY_FORM = pytest.mark.parametrize("form", sorted(FORMS))
OUTPUTS = ("mean", "covariance", "factor", "factor_variance", "total_mean", "total_variance")


def inducing(form: str, count: int = COUNT, few: int = 12) -> tuple[InducingPosterior, Posterior]:
    """Of the same points, noise and y as `posterior`, by a few of them; and that."""
    exact = posterior(form, count)
    return conditioned(exact, few), exact


def conditioned(exact: Posterior, few: int, **options: float) -> InducingPosterior:
    """By the first of its points."""
    u, weights = exact.latents[:few], np.arange(1.0, few + 1)
    return condition(exact.structure, u, exact.latents, exact.y, exact.noise_variance, reference=weights / weights.sum(), **options)


def largest_difference(found: Prediction, wanted: Prediction) -> float:
    return max(float(np.abs(getattr(found, name) - getattr(wanted, name)).max()) for name in OUTPUTS)


@EVERY_FORM
def test_with_every_point_as_inducing_point_it_is_the_exact_posterior(form: str) -> None:
    given, new = posterior(form), points(9, seed=5)
    exact = Posterior(given.structure, given.latents, given.y, given.noise_variance, np.full(COUNT, 1 / COUNT))
    found = condition(
        exact.structure, exact.latents, exact.latents, exact.y, exact.noise_variance, reference=exact.reference, jitter=1e-12, tolerance=0
    )
    assert largest_difference(found.predict(new), exact.predict(new)) < 1e-8


@EVERY_FORM
def test_root_and_alpha_are_those_of_plain_inversion(form: str) -> None:
    """The optimal q(u) = N(m, S), S = K B⁻¹ K, m = K B⁻¹ k D⁻¹ (y − μ): k(x, U) K⁻¹ m is the mean, K⁻¹ − K⁻¹ S K⁻¹ what is taken from the prior."""
    found, exact = inducing(form)
    given, u = exact.structure, found.latents
    own, across = (sum(given.covariance(values, u, z) for values in given.terms) for z in (u, exact.latents))
    own += JITTER * np.trace(own) / len(own) * np.eye(len(own))
    inner = own + across / exact.noise_variance @ across.T
    mean, spread = own @ np.linalg.inv(inner) @ (across / exact.noise_variance) @ (exact.y - given.mean), own @ np.linalg.inv(inner) @ own
    inverse = np.linalg.inv(own)
    assert np.abs(found.inverse.T @ found.inverse - (inverse - inverse @ spread @ inverse)).max() < 1e-8 * np.abs(inverse).max()
    assert np.abs(found.alpha - inverse @ mean).max() < 1e-8 * np.abs(found.alpha).max()


@EVERY_FORM
def test_parts_and_total_agree_with_each_other(form: str) -> None:
    found, _ = inducing(form)
    new = points(9, seed=5)
    told = found.predict(new)
    assert np.allclose(np.sum(told.factor * told.mean, axis=1), told.total_mean, atol=1e-12)
    assert np.linalg.eigvalsh(told.covariance).min() > -1e-10
    mean, variance = found.total(new)
    assert np.abs(mean - told.total_mean).max() < 1e-10
    assert np.abs(variance - (told.total_variance - np.sum(told.factor_variance * told.mean**2, axis=1))).max() < 1e-10
    at = found.predict(found.latents)
    for index, values in enumerate(found.structure.terms, start=1):
        if values.term.centred:
            assert abs(found.reference @ at.mean[:, index]) < 1e-10


def test_variance_is_no_less_than_the_exact_one_and_no_more_than_the_priors() -> None:
    found, exact = inducing("additive", 200, 40)
    new = points(50, seed=5)
    variances = [given.predict(new).total_variance for given in (exact, found)]
    prior = sum(values.variance for values in exact.structure.terms)
    assert (variances[1] > variances[0] - 1e-9).all()
    assert (variances[1] < prior + 1e-9).all()


@pytest.mark.parametrize("form", [pytest.param("mixed", marks=pytest.mark.slow), "offset_scaled"])
def test_the_exported_graph_takes_its_arrays(form: str) -> None:
    found, _ = inducing(form)
    arrays, new = posterior_arrays(found), points(9, seed=5)
    assert tuple(arrays) == POSTERIOR_INPUTS
    session = onnxruntime.InferenceSession(posterior_onnx(found, truncated=True), providers=["CPUExecutionProvider"])
    told = session.run(None, {"latents": new, **arrays})
    wanted = found.predict(new)
    assert max(float(np.abs(array - getattr(wanted, name)).max()) for array, name in zip(told, OUTPUTS, strict=True)) < 1e-9


def test_pieces_of_a_pass_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = inducing("scaled")
    monkeypatch.setattr("training.mechanism.inducing._CHUNK", 7)
    again, _ = inducing("scaled")
    assert np.abs(again.alpha - found.alpha).max() < 1e-9 * np.abs(found.alpha).max()


def test_left_out_directions_change_no_covariance_by_more_than_the_bound() -> None:
    exact = posterior("additive", 300)
    quiet = Posterior(exact.structure, exact.latents, exact.y, 100 * exact.noise_variance, exact.reference)
    whole, part = (conditioned(quiet, 60, tolerance=tolerance) for tolerance in (0.0, 1.0))
    assert len(part.inverse) < len(whole.inverse)
    assert 0.1 < part.bound <= 1.0
    new = points(200, seed=5)
    sizes = np.sqrt([values.variance for values in exact.structure.terms])
    difference = np.abs(part.predict(new).covariance - whole.predict(new).covariance)[:, 1:, 1:]
    assert (difference <= part.bound * np.outer(sizes, sizes)).all()
    assert difference.max() > 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_chosen_leave_less_variance_than_as_many_of_the_list(seed: int) -> None:
    given, z = structure("additive"), points(400)
    chosen = choose_points(given, z, 90, seed=seed)
    assert len(set(chosen.tolist())) == 90
    y, noise = np.zeros(400), np.full(400, 1e-3)
    others, even = z[90 * seed : 90 * seed + 90], np.full(90, 1 / 90)
    left = [condition(given, u, z, y, noise, reference=even).predict(z).total_variance.mean() for u in (z[chosen], others)]
    assert left[0] < 0.9 * left[1]
    assert np.array_equal(chosen, choose_points(given, z, 90, seed=seed))


def test_where_nothing_is_left_to_tell_fewer_points_are_chosen() -> None:
    given = structure("additive")
    z = np.tile(points(5), (20, 1))
    assert sorted(map(tuple, z[choose_points(given, z, 60, seed=0)])) == sorted(map(tuple, points(5)))


@pytest.mark.parametrize("form", ["additive", "scaled"])
def test_means_over_the_gauges_weights_are_those_over_all_points(form: str) -> None:
    """Of every part, and of a factor's square, for functions as a posterior tells them. Even weights are farther off."""
    rough = posterior(form, 600)
    terms = tuple(replace(values, lengthscales={name: 3 * each for name, each in values.lengthscales.items()}) for values in rough.structure.terms)
    exact = Posterior(replace(rough.structure, terms=terms), rough.latents, rough.y, rough.noise_variance, rough.reference)
    chosen = exact.latents[choose_points(exact.structure, exact.latents, 100, seed=0)]
    weights = gauge_weights(exact.structure, chosen, exact.latents)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    told, few, even = exact.predict(exact.latents), exact.predict(chosen), []
    for index, values in enumerate(exact.structure.terms, start=1):
        whole, part = (each.mean[:, index] if values.term.centred else each.factor[:, index] ** 2 for each in (told, few))
        assert abs(weights @ part - whole.mean()) < 0.03 * whole.std()
        even.append(abs(part.mean() - whole.mean()) / whole.std())
    assert max(even) > 0.05


def test_kinds_with_a_small_factor_are_among_the_chosen_and_counted() -> None:
    """In the scaled form they tell nothing of h that others do not tell better."""
    given, rng = structure("scaled"), np.random.default_rng(0)
    kinds = np.array([[-3.0, -3.0], [0.0, 0.0], [3.0, 3.0]])[rng.choice(3, 500, p=[0.2, 0.5, 0.3])]
    z = np.column_stack((kinds, rng.normal(size=(500, 3))))
    centres = np.array([[-3.0, -3.0], [0.0, 0.0], [3.0, 3.0]])
    factor = replace(given.factors["patch"], centres=centres, whitening=np.eye(3), weights=np.array([-0.98, 0.0, 1.0]))
    given = replace(given, factors={"patch": factor})
    u = z[choose_points(given, z, 50, seed=0)]
    weights = gauge_weights(given, u, z)
    shares = [weights[(u[:, 0] == kind)].sum() for kind in (-3, 0, 3)]
    assert np.allclose(shares, [(z[:, 0] == kind).mean() for kind in (-3, 0, 3)], atol=0.01)


def test_a_point_with_a_large_noise_variance_is_as_if_it_were_not_there() -> None:
    exact = posterior("additive")
    y, noise = exact.y.copy(), exact.noise_variance.copy()
    y[-1], noise[-1] = 1e3, 1e12
    fewer = Posterior(exact.structure, exact.latents[:-1], y[:-1], noise[:-1], exact.reference[:-1])
    with_it = conditioned(Posterior(exact.structure, exact.latents, y, noise, exact.reference), 12)
    assert largest_difference(with_it.predict(points(5, seed=6)), conditioned(fewer, 12).predict(points(5, seed=6))) < 1e-6


@pytest.mark.slow
def test_five_thousand_points_are_told_as_by_the_exact_posterior() -> None:
    """RMSE of mean and standard deviation of f, over sd(y) and over the noise, with 300 inducing points."""
    given = structure("scaled")
    lengthscales = {"patch": np.full(2, 2.0), "position": np.full(2, 1.0), "age": np.full(1, 2.0)}
    terms = tuple(replace(values, lengthscales={name: lengthscales[name] for name in values.term.mechanisms}) for values in given.terms)
    given, z, rng = replace(given, terms=terms), points(5000), np.random.default_rng(1)
    y = 0.4 + np.sin(2 * z[:, 2]) * np.cos(z[:, 3]) * (1 + 0.3 * z[:, 0]) + z[:, 4] + 0.1 * rng.normal(size=5000)
    noise = np.full(5000, 0.01)
    u = z[choose_points(given, z, 300, seed=0)]
    found = condition(given, u, z, y, noise, reference=gauge_weights(given, u, z))
    exact, new = Posterior(given, z, y, noise, np.full(5000, 1 / 5000)), points(300, seed=5)
    wanted, told = exact.predict(new), found.predict(new)
    assert np.sqrt(np.mean((told.total_mean - wanted.total_mean) ** 2)) < 0.005 * y.std()
    without = [np.sqrt(each.total_variance - np.sum(each.factor_variance * each.mean**2, axis=1)) for each in (told, wanted)]
    assert np.sqrt(np.mean((without[0] - without[1]) ** 2)) < 0.02 * 0.1
