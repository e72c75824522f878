"""Baselines must be what a careful scientist would try: each test is of one thing a straw man would lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from training.mechanism import baselines, figures, robust
from training.mechanism.baselines import Told, deep_kernel, plain_gp, product_gp, random_forest
from training.mechanism.fit import Fitted, fit
from training.mechanism.structure import Mechanism

SIDE = 6


def drawn(count: int, seed: int, *, wrong: float = 0.0) -> dict[str, np.ndarray]:
    """Pictures whose mean matters, a place of two coordinates of which one matters, and y."""
    rng = np.random.default_rng(seed)
    level, place = rng.normal(size=count), rng.uniform(-1, 1, size=(count, 2))
    pictures = level[:, None, None] + 0.5 * rng.normal(size=(count, SIDE, SIDE))
    f = level + np.sin(3 * place[:, 0])
    bad = rng.random(count) < wrong
    y = f + np.where(bad, 10 * rng.normal(size=count), 0.3 * rng.normal(size=count))
    return {"pictures": pictures, "place": place, "flat": np.concatenate((pictures.reshape(count, -1), place), axis=1), "f": f, "y": y}


def aside(count: int) -> np.ndarray:
    return np.arange(count) % 6 == 0


def honest(told: Told, y: np.ndarray) -> None:
    assert told.mean.shape == told.variance.shape == y.shape
    assert 0.8 < told.coverage(y, 0.9) < 0.98
    assert told.nlpd(y) < figures.nlpd(np.full(len(y), y.mean()), np.full(len(y), y.var()), y)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each fit within a baseline was asked for, and what it found."""
    seen: list[dict[str, Any]] = []

    def watched(mechanisms: Any, terms: Any, latents: Any, y: Any, **options: Any) -> Fitted:
        found = fit(mechanisms, terms, latents, y, **options)
        seen.append({"mechanisms": mechanisms, "terms": terms, "found": found, **options})
        return found

    monkeypatch.setattr(baselines, "fit", watched)
    return seen


def test_pixels_share_one_lengthscale_and_scalars_have_their_own(fits: list[dict[str, Any]]) -> None:
    made, new = drawn(90, 0), drawn(300, 1)
    told = plain_gp(made["flat"], made["y"], new["flat"], seed=0, validation=aside(90), pixels=SIDE**2, starts=1)
    honest(told, new["y"])
    assert figures.rmse(told.mean, new["f"]) < 0.6
    (values,) = fits[0]["found"].posterior.structure.terms
    assert len(set(values.lengthscales["picture"].tolist())) == 1
    assert len(values.lengthscales["picture"]) == SIDE**2
    first, second = values.lengthscales["scalars"]
    assert second > 1.5 * first  # y does not depend on the second coordinate


def test_a_plain_gp_without_pictures_has_scalars_alone_and_constant_inputs_say_nothing(fits: list[dict[str, Any]]) -> None:
    made, new = drawn(60, 0), drawn(100, 1)
    inputs, at = (np.concatenate((each["place"], np.ones((len(each["y"]), 1))), axis=1) for each in (made, new))
    honest(plain_gp(inputs, made["y"], at, seed=0, validation=aside(60), starts=1), new["y"])
    assert [(mechanism.name, mechanism.size) for mechanism in fits[0]["mechanisms"]] == [("scalars", 2)]


def test_gaussian_processes_have_as_many_starts_as_ours_and_its_stopping(fits: list[dict[str, Any]]) -> None:
    made = drawn(40, 0)
    plain_gp(made["place"], made["y"], made["place"], seed=0, validation=aside(40))
    product_gp((Mechanism("place", 0, 2),), made["place"], made["y"], made["place"], seed=0, validation=aside(40))
    for asked in fits:
        assert asked["starts"] == fit.__kwdefaults__["starts"]
        assert np.array_equal(asked["validation"], aside(40))


def test_the_product_has_one_function_of_all_latents(fits: list[dict[str, Any]]) -> None:
    made, new = drawn(80, 0), drawn(300, 1)
    mechanisms = (Mechanism("level", 0, 1), Mechanism("place", 1, 2))
    latents, at = (np.concatenate((each["pictures"].mean(axis=(1, 2))[:, None], each["place"]), axis=1) for each in (made, new))
    honest(product_gp(mechanisms, latents, made["y"], at, seed=0, validation=aside(80), starts=1), new["y"])
    (term,) = fits[0]["terms"]
    assert term.mechanisms == ("level", "place")


def test_the_forest_tells_the_noise_of_points_left_out() -> None:
    made, new = drawn(300, 0), drawn(600, 1)
    told = random_forest(made["flat"], made["y"], new["flat"], seed=0)
    honest(told, new["y"])
    assert len(set(told.variance.tolist())) == 1
    assert told.variance[0] == pytest.approx(np.mean((new["y"] - told.mean) ** 2), rel=0.25)


def test_a_forest_whose_neighbours_tell_of_each_other_leaves_out_whole_groups() -> None:
    rng = np.random.default_rng(0)
    group, new_group = np.repeat(np.arange(40), 8), np.repeat(np.arange(40), 8)
    x, new = (rng.normal(size=(40, 4))[each] + 1e-3 * rng.normal(size=(320, 4)) for each in (group, new_group))
    y, new_y = (rng.normal(size=40)[each] + 0.1 * rng.normal(size=320) for each in (group, new_group))  # of the group, not of x
    alone, whole = (random_forest(x, y, new, seed=0, groups=asked) for asked in (None, group))
    assert alone.coverage(new_y, 0.9) < 0.5
    assert 0.8 < whole.coverage(new_y, 0.9) < 0.98


def test_the_deep_kernel_keeps_the_step_that_the_points_aside_liked_best() -> None:
    made = drawn(60, 0)
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    model = baselines._DeepKernel(SIDE, 2)
    inputs = torch.from_numpy(made["pictures"]), torch.from_numpy(made["place"])
    # y of the points aside is noise: the longer it learns, the worse it tells them.
    y = torch.from_numpy(rng.normal(size=60))
    aside_y = rng.normal(size=60)
    seen = baselines._stopped(model, inputs, y, inputs, aside_y)
    mean, variance = model.tell(inputs, y, inputs)
    kept = figures.nlpd(mean, variance + float(model.noise().detach()), aside_y)
    assert kept == pytest.approx(min(seen), abs=1e-9)
    assert seen[-1] > min(seen)
    assert len(seen) < baselines._DEEP_STEPS // baselines._LOOK  # and it gave up


def test_the_deep_kernel_is_honest_and_learns_from_both_inputs() -> None:
    made, new = drawn(150, 0), drawn(300, 1)
    told = deep_kernel(made["pictures"], made["place"], made["y"], new["pictures"], new["place"], seed=0, validation=aside(150))
    assert figures.r_squared(told.mean, new["f"]) > 0.7
    assert told.coverage(new["y"], 0.9) > 0.7  # deep kernels are too sure; that is the point of the comparison


def test_weight_decay_is_on_the_networks_weights_alone() -> None:
    model = baselines._DeepKernel(SIDE, 2)
    decayed, free = model.groups()
    assert decayed["weight_decay"] > 0
    assert free["weight_decay"] == 0
    names = {id(values): name for name, values in model.named_parameters()}
    pulled, left = ({names[id(values)] for values in group["params"]} for group in (decayed, free))
    assert pulled == {name for name in names.values() if name.endswith(".weight")}
    assert {"log_lengthscale", "log_variance", "log_noise", "mean"} <= left
    assert pulled | left == set(names.values())


@pytest.mark.slow
def test_every_baseline_can_have_the_mixture_of_noises() -> None:
    made, new = drawn(150, 0, wrong=0.2), drawn(400, 1, wrong=0.2)
    latents, at = (np.concatenate((each["pictures"].mean(axis=(1, 2))[:, None], each["place"]), axis=1) for each in (made, new))
    mechanisms, validation = (Mechanism("level", 0, 1), Mechanism("place", 1, 2)), aside(150)
    for outliers_told, plain in (
        (told(True), told(False))
        for told in (
            lambda asked: random_forest(made["flat"], made["y"], new["flat"], seed=0, outliers=asked),
            lambda asked: product_gp(mechanisms, latents, made["y"], at, seed=0, validation=validation, starts=1, outliers=asked),
            lambda asked: plain_gp(latents, made["y"], at, seed=0, validation=validation, starts=1, outliers=asked),
        )
    ):
        assert plain.outliers is None
        assert outliers_told.outliers is not None
        assert outliers_told.nlpd(new["y"]) < plain.nlpd(new["y"]) - 0.2
        assert 0.82 < outliers_told.coverage(new["y"], 0.9) < 0.97
    deep = deep_kernel(made["pictures"], made["place"], made["y"], new["pictures"], new["place"], seed=0, validation=validation, outliers=True)
    assert deep.outliers is not None


def test_a_told_mixture_has_its_density_coverage_and_variance() -> None:
    rng = np.random.default_rng(0)
    outliers, noise, of_f = robust.Outliers(0.25, 9.0), 0.2, 0.3
    bad = rng.random(200_000) < 0.25
    y = np.sqrt(of_f) * rng.normal(size=len(bad)) + np.where(bad, 3.0, np.sqrt(noise)) * rng.normal(size=len(bad))
    told = Told(np.zeros(len(y)), np.full(len(y), of_f + outliers.mean_variance(noise)), noise, outliers)
    assert told.variance[0] == pytest.approx(y.var(), rel=0.02)
    for probability in (0.5, 0.9, 0.95):
        assert told.coverage(y, probability) == pytest.approx(probability, abs=0.005)
    assert told.nlpd(y) < Told(told.mean, told.variance).nlpd(y) - 0.1
