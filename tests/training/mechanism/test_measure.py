from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, norm

from tests.toy_mechanism import NOISE_VARIANCE, toy_fitted
from training.mechanism import measure
from training.mechanism.measure import HeldOut, calibration_of, covered, held_out, held_out_arrays, metrics_of, parts_beside_truth
from training.mechanism.prepare import Points
from training.mechanism.structure import additive, scaled


def drawn(form: str = "additive", *, outliers: bool = False, count: int = 4000) -> tuple[HeldOut, np.ndarray]:
    """y drawn from what the model says itself, at places without data."""
    fitted, _ = toy_fitted(form, outliers=outliers)
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(count, 7))
    told = fitted.posterior.predict(latents)
    noise = np.full(count, NOISE_VARIANCE)
    if fitted.outliers is not None:
        noise = np.where(rng.random(count) < fitted.outliers.share, fitted.outliers.variance, noise)
    y = told.total_mean + np.sqrt(told.total_variance + noise) * rng.standard_normal(count)
    return held_out(fitted, latents, y), y


@pytest.mark.parametrize("outliers", [False, True])
def test_ranks_of_what_the_model_would_draw_are_uniform(outliers: bool) -> None:
    found, _ = drawn(outliers=outliers)
    assert kstest(found.rank, "uniform").pvalue > 1e-3
    for level in (0.5, 0.9):
        assert covered(found.rank, level) == pytest.approx(level, abs=0.03)
    coverage = calibration_of(found, "drawn").interval_coverage
    assert coverage is not None
    assert (coverage.count, coverage.split) == (4000, "drawn")
    assert [each.covered for each in coverage.levels] == [covered(found.rank, each.probability) for each in coverage.levels]


def test_the_density_of_noise_with_outliers_is_that_of_both_kinds() -> None:
    found, y = drawn(outliers=True, count=50)
    mean, variance = found.told.total_mean, found.told.total_variance
    good, bad = (norm.pdf(y, mean, np.sqrt(variance + noise)) for noise in (NOISE_VARIANCE, 1.0))
    np.testing.assert_allclose(np.exp(found.log_density), 0.9 * good + 0.1 * bad, rtol=1e-9)


def test_a_model_that_is_too_sure_of_itself_covers_less() -> None:
    found, y = drawn()
    sure = norm.cdf(y, found.told.total_mean, 0.2 * np.sqrt(found.told.total_variance + NOISE_VARIANCE))
    assert covered(sure, 0.9) < 0.4


def points(count: int, **arrays: np.ndarray) -> Points:
    rng = np.random.default_rng(count)
    own = {"patch": rng.random((count, 3, 3)).astype(np.float32), "position": rng.random((count, 2)), "phase": rng.integers(0, 3, count)}
    return Points({"y": rng.normal(size=count), **own, **arrays})


def test_truths_are_told_in_the_models_gauge() -> None:
    found, _ = drawn("additive", count=20)
    told, reference = np.arange(20.0), np.arange(30.0) ** 2
    pairs = parts_beside_truth(
        found.told, additive("patch", "position", "phase"), points(20, truth_position=told), points(30, truth_position=reference)
    )
    assert [name for name, _, _ in pairs] == ["position"]
    np.testing.assert_array_equal(pairs[0][1], found.told.mean[:, 2])
    np.testing.assert_allclose(pairs[0][2], told - reference.mean())


def test_a_factors_truth_has_mean_square_one_and_what_it_multiplies_takes_the_rest() -> None:
    found, _ = drawn("scaled", count=20)
    b, h, reference = np.linspace(-2, -1, 20), np.arange(20.0), np.linspace(-3, -1, 30)
    pairs = parts_beside_truth(
        found.told,
        scaled("patch", "position", "phase"),
        points(20, truth_patch=b, truth_position=h),
        points(30, truth_patch=reference, truth_position=np.ones(30)),
    )
    told = {name: (part, truth) for name, part, truth in pairs}
    root = -np.sqrt(np.mean(reference**2))  # E[b] > 0 in the gauge
    np.testing.assert_array_equal(told["patch"][0], found.told.factor[:, 1])
    np.testing.assert_allclose(told["patch"][1], b / root)
    np.testing.assert_allclose(told["position"][1], h * root)
    np.testing.assert_allclose(told["patch"][1] * told["position"][1], b * h)


def test_a_part_whose_factor_has_no_truth_is_compared_with_nothing() -> None:
    found, _ = drawn("scaled", count=20)
    terms = scaled("patch", "position", "phase")
    assert parts_beside_truth(found.told, terms, points(20, truth_position=np.ones(20)), points(30, truth_position=np.ones(30))) == []


def test_a_report_gets_inputs_truths_and_latents_of_as_many_points_as_it_draws() -> None:
    found, y = drawn(count=600)
    more = points(600, truth_position=np.ones(2100), truth_f=y)
    arrays = held_out_arrays(found, additive("patch", "position", "phase"), more, points(30, truth_position=np.ones(30)))
    assert set(arrays) == {
        *("y", "rank", "total_mean", "total_variance", "part_mean", "part_variance", "factor", "latents"),
        *("input_position", "input_phase", "truth_position", "truth_f"),
    }
    assert {len(values) for values in arrays.values()} == {500}
    assert arrays["latents"].shape == (500, 7)


def test_figures_are_those_of_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "leakage", lambda part, other, *, seed: float(other.shape[1]))
    found, y = drawn(count=60)
    fitted, _ = toy_fitted()
    made = points(60, truth_f=y, truth_position=found.told.mean[:, 2])
    reference = points(48, truth_position=np.zeros(48))
    metrics = {each.name: each for each in metrics_of(found, fitted, made, reference, split="drawn", unit="V", seed=0)}
    error = found.told.total_mean - y
    assert metrics["rmse_y"].value == pytest.approx(np.sqrt(np.mean(error**2)))
    assert metrics["rmse_y"].unit == "V"
    assert metrics["rmse_f"].value == pytest.approx(np.sqrt(np.mean(error**2)) / y.std())
    assert metrics["r2_position"].value == 1
    assert metrics["noise_sd"].value == pytest.approx(0.1)
    assert metrics["coverage_90"].value == covered(found.rank, 0.9)
    leaks = {name: metric.value for name, metric in metrics.items() if name.startswith("leakage_")}
    widths = {"patch": 2, "position": 2, "phase": 3}  # latents
    assert leaks == {f"leakage_{a}_to_{b}": width for a, width in widths.items() for b in widths if a != b}
    spoilt = replace(found, y=y + 1)
    assert metrics_of(spoilt, fitted, made, reference, split="drawn", unit="V", seed=0)[0].value > metrics["rmse_y"].value
