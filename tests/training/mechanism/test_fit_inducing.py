from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.mechanism.test_fit import MECHANISMS, NOISE, drawn
from training.errors import InputError
from training.mechanism import fit_inducing as module
from training.mechanism.checkpoint import FitFile
from training.mechanism.figures import coverage, r_squared, rmse
from training.mechanism.fit import fit
from training.mechanism.fit_inducing import FittedInducing, fit_inducing
from training.mechanism.structure import additive, scaled

COUNT = 600
VALIDATION = np.arange(COUNT) % 7 == 0


@pytest.fixture(scope="module")
def additive_fit() -> tuple[FittedInducing, dict[str, np.ndarray]]:
    made = drawn(COUNT, "additive", 0)
    return fit_inducing(MECHANISMS, additive("kind", "place"), made["z"], made["y"], seed=0, validation=VALIDATION, inducing=40), made


def test_parts_are_found_in_the_gauge_of_the_inducing_points(additive_fit: tuple[FittedInducing, dict[str, np.ndarray]]) -> None:
    found, made = additive_fit
    new = drawn(400, "additive", 1)
    told = found.posterior.predict(new["z"])
    assert told.names == ("constant", "kind", "place")
    assert len(found.posterior.latents) <= 40
    where = [int(np.flatnonzero((made["z"] == u).all(axis=1))[0]) for u in found.posterior.latents]
    for index, name in enumerate(("own", "h"), start=1):
        assert r_squared(told.mean[:, index], new[name] - found.posterior.reference @ made[name][where]) > 0.99
    assert np.sqrt(found.noise_variance) == pytest.approx(NOISE, rel=0.1)
    assert 0.85 < coverage(told.total_mean, told.total_variance + found.noise_variance, new["y"], 0.9) < 0.95


def test_it_says_what_the_exact_fit_says(additive_fit: tuple[FittedInducing, dict[str, np.ndarray]]) -> None:
    found, made = additive_fit
    exact = fit(MECHANISMS, additive("kind", "place"), made["z"], made["y"], seed=0, validation=VALIDATION, starts=1)
    new = drawn(400, "additive", 1)["z"]
    one, other = found.posterior.predict(new), exact.posterior.predict(new)
    assert rmse(one.total_mean, other.total_mean) < 0.1 * NOISE
    assert rmse(np.sqrt(one.total_variance), np.sqrt(other.total_variance)) < 0.1 * NOISE


def test_factors_are_refined_on_all_points_and_more_of_them_leave_less_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OF_BOUND", 150)
    made, new = drawn(COUNT, "scaled", 0), drawn(400, "scaled", 1)
    fits = [
        fit_inducing(MECHANISMS, scaled("kind", "place"), made["z"][:n], made["y"][:n], seed=0, validation=VALIDATION[:n], inducing=40)
        for n in (150, COUNT)
    ]
    told = [found.posterior.predict(new["z"]) for found in fits]
    root = np.sqrt(np.mean(made["own"] ** 2))
    assert r_squared(told[1].factor[:, 1], new["own"] / root) > 0.98
    assert r_squared(told[1].mean[:, 1], new["h"] * root) > 0.97
    assert told[1].factor_variance[:, 1].mean() < 0.5 * told[0].factor_variance[:, 1].mean()
    assert 0.85 < coverage(told[1].total_mean, told[1].total_variance + fits[1].noise_variance, new["y"], 0.9) < 0.95


def test_outliers_move_it_little() -> None:
    made, new = drawn(COUNT, "additive", 0), drawn(400, "additive", 1)
    rng = np.random.default_rng(3)
    wrong = rng.random(COUNT) < 0.2
    y = np.where(wrong, made["y"] + 5 * rng.normal(size=COUNT), made["y"])
    found = fit_inducing(MECHANISMS, additive("kind", "place"), made["z"], y, seed=0, validation=VALIDATION, inducing=40, outliers=True)
    told = found.posterior.predict(new["z"])
    assert found.outliers is not None
    assert found.outliers.share == pytest.approx(0.2, abs=0.05)
    assert np.sqrt(found.outliers.variance) == pytest.approx(5, rel=0.3)
    assert np.sqrt(found.noise_variance) == pytest.approx(NOISE, rel=0.25)
    assert rmse(told.total_mean, new["f"]) < 0.5 * NOISE


def test_the_same_seed_gives_the_same_numbers() -> None:
    made = drawn(100, "additive", 0)
    first, second = (
        fit_inducing(MECHANISMS, additive("kind", "place"), made["z"], made["y"], seed=3, validation=VALIDATION[:100], inducing=15) for _ in range(2)
    )
    assert np.array_equal(first.posterior.alpha, second.posterior.alpha)


@pytest.mark.parametrize("outliers", [False, True])
def test_an_interrupted_fit_goes_on_to_the_same_numbers(outliers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, file = drawn(100, "additive", 0), FitFile(tmp_path / "state" / "fit.safetensors")
    monkeypatch.setattr("training.mechanism.descent._ROUNDS", 2)

    def once(where: FitFile | None) -> FittedInducing:
        options = {"seed": 3, "validation": VALIDATION[:100], "inducing": 15, "starts": 2, "outliers": outliers, "file": where}
        return fit_inducing(MECHANISMS, additive("kind", "place"), made["z"], made["y"], **options)

    whole, real, choices = once(None), module.one_choice, []

    def interrupted(*arguments: Any) -> Any:
        choices.append(arguments)
        if len(choices) == 5:  # the second of the second start
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "one_choice", interrupted)
    with pytest.raises(KeyboardInterrupt):
        once(file)
    assert file.path.exists()
    again = once(file)
    assert len(choices) == 5 + 2
    assert np.array_equal(again.posterior.alpha, whole.posterior.alpha)
    assert again.losses == whole.losses
    assert not file.path.exists()


def test_y_without_any_spread_is_refused() -> None:
    with pytest.raises(InputError, match="same value") as caught:
        fit_inducing(MECHANISMS, additive("kind", "place"), np.ones((20, 4)), np.full(20, 3.0), seed=0, validation=np.zeros(20, bool))
    assert caught.value.reason == "CONSTANT_TARGET"
