"""Small fits of data with known parts; the figures of issue 4 are those of benchmarks/mechanism_table.py."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.patches_field import FACTOR, field
from training.data.patches_field import LEVEL as OFFSET
from training.mechanism.figures import coverage, r_squared, rmse
from training.mechanism.fit import Fitted, fit
from training.mechanism.pipeline import terms_of
from training.mechanism.structure import Mechanism, additive, mixed, offset_scaled, scaled
from training.recipe_mechanism import Structured

MECHANISMS = (Mechanism("kind", 0, 3), Mechanism("place", 3, 1))
LEVEL = np.array([-1.0, 0.2, 1.3])
NOISE = 0.1


def drawn(count: int, form: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind, place = rng.integers(3, size=count), rng.normal(size=count)
    h, own = np.sin(2 * place), LEVEL[kind] if form == "additive" else (LEVEL + 1.5)[kind]
    f = 5 + (own + h if form == "additive" else own * h)
    return {"z": np.column_stack((2.0 * np.eye(3)[kind], place)), "own": own, "h": h, "f": f, "y": f + NOISE * rng.normal(size=count)}


def fitted(form: str, seed: int = 0, count: int = 120) -> tuple[Fitted, dict[str, np.ndarray]]:
    made = drawn(count, form, seed)
    terms = additive("kind", "place") if form == "additive" else scaled("kind", "place")
    validation = np.arange(count) % 6 == 0
    return fit(MECHANISMS, terms, made["z"], made["y"], seed=seed, validation=validation, starts=1), made


def test_parts_of_a_sum_are_found_and_their_uncertainty_is_honest() -> None:
    found, made = fitted("additive")
    new = drawn(400, "additive", 1)
    told = found.posterior.predict(new["z"])
    assert told.names == ("constant", "kind", "place")
    assert r_squared(told.mean[:, 1], new["own"] - made["own"].mean()) > 0.99
    assert r_squared(told.mean[:, 2], new["h"] - made["h"].mean()) > 0.97
    assert told.mean[0, 0] == pytest.approx(5 + made["own"].mean() + made["h"].mean(), abs=0.1)
    assert np.sqrt(found.noise_variance) == pytest.approx(NOISE, rel=0.25)
    assert 0.8 < coverage(told.total_mean, told.total_variance + found.noise_variance, new["y"], 0.9) < 0.97


def test_a_factor_and_what_it_scales_are_found_in_their_gauge() -> None:
    found, made = fitted("scaled")
    new = drawn(400, "scaled", 1)
    told = found.posterior.predict(new["z"])
    root = np.sqrt(np.mean(made["own"] ** 2))
    assert told.names == ("constant", "place")
    assert r_squared(told.factor[:, 1], new["own"] / root) > 0.98
    assert r_squared(told.mean[:, 1], new["h"] * root) > 0.97
    assert 0 < told.factor_variance[:, 1].max() < 0.05
    assert 0.8 < coverage(told.total_mean, told.total_variance + found.noise_variance, new["y"], 0.9) < 0.97


def test_the_unit_and_zero_of_y_change_nothing_else() -> None:
    made = drawn(60, "additive", 2)
    validation = np.arange(60) % 6 == 0
    first, second = (
        fit(MECHANISMS, additive("kind", "place"), made["z"], y, seed=0, validation=validation, starts=1) for y in (made["y"], 1e-6 * made["y"] + 3)
    )
    one, other = (found.posterior.predict(made["z"][:5]) for found in (first, second))
    assert np.allclose(other.total_mean, 1e-6 * one.total_mean + 3, rtol=0, atol=1e-9)
    assert np.allclose(other.total_variance, 1e-12 * one.total_variance, rtol=1e-3, atol=0)


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = fitted("additive", count=60)[0], fitted("additive", count=60)[0]
    assert np.array_equal(first.posterior.alpha, second.posterior.alpha)


def test_points_set_aside_join_the_posterior() -> None:
    found, made = fitted("additive", count=60)
    assert len(found.posterior.y) == 60
    assert found.posterior.reference.sum() == pytest.approx(1)
    assert np.array_equal(found.posterior.y, made["y"])


def standardised(kind: np.ndarray, place: np.ndarray, kinds: int) -> np.ndarray:
    """Latents of kinds, as many of each, and of places uniform on the unit interval or square."""
    of_kind = (np.eye(kinds)[kind] - 1 / kinds) / np.sqrt((kinds - 1) / kinds**2)
    return np.column_stack((of_kind, (place - 0.5) * np.sqrt(12)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_offset_factor_and_scaled_function_are_found_in_their_gauge(seed: int) -> None:
    """a_c + b_c h(s), with the levels and factors of the patches and their field, N = 600, noise 10 %: h has mean zero over its measure."""
    rng, mechanisms = np.random.default_rng(seed), (Mechanism("kind", 0, 4), Mechanism("place", 4, 2))
    kind, place = np.arange(2600) % 4, rng.random((2600, 2))
    z, level, b, h = standardised(kind, place, 4), np.array(OFFSET)[kind], np.array(FACTOR)[kind], field(place)
    f = level + b * h
    y = f + 0.1 * f.std() * rng.normal(size=len(f))
    train, new = slice(0, 600), slice(600, None)
    found = fit(mechanisms, offset_scaled("kind", "place"), z[train], y[train], seed=seed, validation=np.arange(600) % 7 == 0, starts=1)
    told = found.posterior.predict(z[new])
    measure, root = found.structure.measures["place"], np.sqrt(np.mean(b[train] ** 2))
    mean = measure.weights @ field(measure.points / np.sqrt(12) + 0.5)
    offset = level + b * mean
    assert told.names == ("constant", "kind", "place")
    assert r_squared(told.mean[:, 1], (offset - offset[train].mean())[new]) > 0.99
    assert r_squared(told.factor[:, 2], (b / root)[new]) > 0.98
    assert r_squared(told.mean[:, 2], ((h - mean) * root)[new]) > 0.98
    assert 0.84 < coverage(told.total_mean, told.total_variance + found.noise_variance, y[new], 0.9) < 0.96


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_what_a_scaled_form_leaves_is_told_as_the_residual_and_nothing_is_where_nothing_is_left(left: float) -> None:
    """b_c h(s) + left · d_c cos(3 π s), N = 300, noise 5 %: the second function is not the first one's multiple."""
    rng, mechanisms = np.random.default_rng(0), (Mechanism("kind", 0, 3), Mechanism("place", 3, 1))
    kind, place = np.arange(1300) % 3, rng.random(1300)
    z, b, h = standardised(kind, place[:, None], 3), np.array([0.5, 1.0, 1.5])[kind], np.sin(5 * place) + place**2
    rest = left * np.array([1.0, -1.0, 0.6])[kind] * np.cos(3 * np.pi * place)
    f = b * h + rest
    y = f + 0.05 * f.std() * rng.normal(size=len(f))
    train, new = slice(0, 300), slice(300, None)
    terms = terms_of(Structured(form="scaled", factor="kind", of="place", residual=True), ["kind", "place"])
    found = fit(mechanisms, terms, z[train], y[train], seed=0, validation=np.arange(300) % 7 == 0, starts=1)
    told = found.posterior.predict(z[new])
    assert told.names == ("constant", "place", "residual")
    assert rmse(told.total_mean, f[new]) < 0.08 * f.std()
    share = np.std(told.mean[:, 2]) / f.std()
    assert share > 0.2 if left else share < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_interaction_is_told_apart_from_what_each_mechanism_does_alone(seed: int) -> None:
    """a_c + h(s) + d_c cos(π s), N = 600, noise 10 %; d has mean zero over the kinds and the cosine over places."""
    rng, mechanisms = np.random.default_rng(seed), (Mechanism("kind", 0, 3), Mechanism("place", 3, 1))
    kind, place = np.arange(2600) % 3, rng.random(2600)
    z, level, h = standardised(kind, place[:, None], 3), LEVEL[kind], np.sin(5 * place) + place**2
    both = np.array([0.5, 0.1, -0.6])[kind] * np.cos(np.pi * place)
    f = level + h + both
    y = f + 0.1 * f.std() * rng.normal(size=len(f))
    train, new = slice(0, 600), slice(600, None)
    found = fit(mechanisms, mixed("kind", "place"), z[train], y[train], seed=seed, validation=np.arange(600) % 7 == 0, starts=1)
    told = found.posterior.predict(z[new])
    assert told.names == ("constant", "kind", "place", "interaction")
    for index, truth in enumerate((level, h, both), start=1):
        assert r_squared(told.mean[:, index], (truth - (truth[train].mean() if index < 3 else 0))[new]) > 0.98
    assert 0.84 < coverage(told.total_mean, told.total_variance + found.noise_variance, y[new], 0.9) < 0.96
