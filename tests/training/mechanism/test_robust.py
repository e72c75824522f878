from __future__ import annotations

import numpy as np
import pytest

from training.errors import InputError
from training.mechanism import robust
from training.mechanism.figures import coverage, rmse
from training.mechanism.fit import fit
from training.mechanism.structure import Mechanism, additive

PLACE = (Mechanism("place", 0, 1),)


def outlying(count: int, share: float, seed: int, spread: float = 20.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 1))
    f = np.sin(2 * z[:, 0])
    wrong = rng.random(count) < share
    return z, f, f + np.where(wrong, spread * rng.normal(size=count), 0.1 * rng.normal(size=count)), wrong


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_quarter_of_outliers_moves_the_robust_fit_little_and_the_gaussian_one_much(seed: int) -> None:
    z, _, y, wrong = outlying(200, 0.25, seed)
    new, truth, observed, bad = outlying(400, 0.25, 10 + seed)
    validation = np.arange(200) % 6 == 0
    plain, firm = (fit(PLACE, additive("place"), z, y, seed=0, validation=validation, starts=1, outliers=asked) for asked in (False, True))
    errors = [rmse(found.posterior.predict(new).total_mean, truth) for found in (plain, firm)]
    assert errors[1] < 0.1
    assert errors[0] > 5 * errors[1]
    assert plain.outliers is None
    assert firm.outliers is not None
    assert firm.outliers.share == pytest.approx(wrong.mean(), abs=0.07)
    assert np.sqrt(firm.outliers.variance) == pytest.approx(20, rel=0.4)
    assert np.sqrt(firm.noise_variance) == pytest.approx(0.1, rel=0.4)
    weight = firm.posterior.noise_variance / firm.noise_variance
    assert np.median(weight[wrong]) > 100 * np.median(weight[~wrong])
    told, good = firm.posterior.predict(new), ~bad
    assert 0.8 < coverage(told.total_mean[good], told.total_variance[good] + firm.noise_variance, observed[good], 0.9) < 0.98


@pytest.mark.parametrize(("spread", "seed"), [(20.0, 1), (3.0, 0), (3.0, 3), (1.0, 2)])
def test_both_noises_and_the_share_are_found_with_a_quarter_of_outliers(spread: float, seed: int) -> None:
    z, _, y, wrong = outlying(300, 0.25, seed, spread)
    new, _, observed, bad = outlying(1000, 0.25, 50 + seed, spread)
    found = fit(PLACE, additive("place"), z, y, seed=0, validation=np.arange(300) % 6 == 0, starts=1, outliers=True)
    assert found.outliers is not None
    # With s² moved by hand between fits, the outliers' residuals entered σ²: up to 2.4 times too large, and clean points covered by 99 %.
    assert np.sqrt(found.noise_variance) == pytest.approx(0.1, rel=0.15)
    assert np.sqrt(found.outliers.variance) == pytest.approx(spread, rel=0.25)
    assert found.outliers.share == pytest.approx(wrong.mean(), abs=0.04)
    told = found.posterior.predict(new[~bad])
    assert 0.85 <= coverage(told.total_mean, told.total_variance + found.noise_variance, observed[~bad], 0.9) <= 0.95


def test_without_outliers_the_robust_fit_is_nearly_the_gaussian_one() -> None:
    z, _, y, _ = outlying(120, 0.0, 0)
    new, truth, _, _ = outlying(400, 0.0, 1)
    validation = np.arange(120) % 6 == 0
    fits = [fit(PLACE, additive("place"), z, y, seed=0, validation=validation, starts=1, outliers=asked) for asked in (False, True)]
    errors = [rmse(found.posterior.predict(new).total_mean, truth) for found in fits]
    assert errors[1] < 1.3 * errors[0]


def test_weight_of_a_point_grows_with_its_distance_from_what_is_known() -> None:
    outliers = robust.Outliers(0.25, 400.0)
    good = outliers.good(np.array([0.0, 2.0, 30.0]), np.full(3, 0.5), 1.0)
    assert good[0] > 0.95
    assert good[0] > good[1] > good[2]
    weight = outliers.noise_weight(good, 1.0)
    assert weight[0] < 1.05
    assert weight[2] == pytest.approx(400, rel=1e-3)


def test_density_of_new_points_is_a_density() -> None:
    outliers, y = robust.Outliers(0.2, 9.0), np.linspace(-60, 60, 200_001)
    density = np.exp(outliers.log_density(np.full(len(y), 0.3), np.full(len(y), 0.5), y, 1.0))
    assert np.trapezoid(density, y) == pytest.approx(1, abs=1e-6)


def test_middle_and_spread_are_a_gaussians_and_outliers_do_not_move_them() -> None:
    y = 5 + 2 * np.random.default_rng(0).normal(size=50_000)
    y[::10] = 1e9
    middle, spread = robust.middle_and_spread(y)
    assert middle == pytest.approx(5, abs=0.5)
    assert spread == pytest.approx(2, abs=0.5)


def test_a_lonely_point_far_off_is_told_by_what_the_others_say_and_not_by_itself() -> None:
    z, _, y, _ = outlying(120, 0.0, 3)
    z = np.concatenate((z, [[4.5], [-4.5]]))  # nothing near them
    y = np.concatenate((y, [40.0, -40.0]))
    found = fit(PLACE, additive("place"), z, y, seed=0, validation=np.arange(122) % 6 == 3, starts=1, outliers=True)
    weight = found.posterior.noise_variance / found.noise_variance
    assert weight[-2:].min() > 10 * np.median(weight)


def test_y_without_any_spread_is_refused() -> None:
    for asked in (False, True):
        with pytest.raises(InputError, match="same value") as caught:
            fit(PLACE, additive("place"), np.ones((20, 1)), np.full(20, 3.0), seed=0, validation=np.zeros(20, bool), outliers=asked)
        assert caught.value.reason == "CONSTANT_TARGET"


def test_residuals_alone_tell_both_noises_and_the_share() -> None:
    rng = np.random.default_rng(0)
    bad, variance = rng.random(20_000) < 0.25, rng.uniform(0.01, 0.3, size=20_000)
    residual = np.sqrt(variance) * rng.normal(size=20_000) + np.where(bad, 5.0, 0.4) * rng.normal(size=20_000)
    noise, found = robust.of_residuals(residual, variance)
    assert np.sqrt(noise) == pytest.approx(0.4, rel=0.05)
    assert np.sqrt(found.variance) == pytest.approx(5.0, rel=0.05)
    assert found.share == pytest.approx(0.25, abs=0.02)
