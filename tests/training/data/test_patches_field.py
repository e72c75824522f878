from __future__ import annotations

import numpy as np
import pytest

from training.data.cards import draw_poses
from training.data.dataset import Array
from training.data.patches_field import BUMP_CENTRE, CLASSES, FACTOR, FORMS, LEVEL, SIZE, ageing, draw_patches_field, field, population_sd
from training.errors import InputError


def draw(count: int = 400, **options: object) -> dict[str, Array]:
    return draw_patches_field(count, **{"seed": 0, "side": 8} | options).arrays  # type: ignore[arg-type]


def test_additive_y_is_the_sum_of_its_parts() -> None:
    made = draw(noise=0)
    np.testing.assert_allclose(made["y"], made["truth_patch"] + made["truth_position"] + made["truth_age"], rtol=1e-14)
    np.testing.assert_array_equal(made["y"], made["truth_f"])
    np.testing.assert_array_equal(made["truth_patch"], np.array(LEVEL)[made["labels"]])


def test_scaled_y_is_the_factor_times_the_field_and_the_ageing() -> None:
    made = draw(noise=0, form="scaled")
    np.testing.assert_allclose(made["y"], made["truth_patch"] * made["truth_position"] + made["truth_age"], rtol=1e-14)
    np.testing.assert_array_equal(made["truth_patch"], np.array(FACTOR)[made["labels"]])
    assert min(FACTOR) > 0


def test_parts_follow_from_the_inputs_by_the_published_formula() -> None:
    made = draw()
    s, t = made["position"], made["age"][:, 0]
    expected = np.sin(2 * np.pi * s[:, 0]) * np.cos(2 * np.pi * s[:, 1]) + 0.5 * np.exp(-((s - BUMP_CENTRE) ** 2).sum(axis=1) / 0.02)
    np.testing.assert_allclose(made["truth_position"], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(made["truth_age"], ageing(t))
    assert field(np.array([BUMP_CENTRE]))[0] == pytest.approx(0.5, abs=1e-12)
    for values in (s, t):
        assert 0 <= values.min() < 0.05
        assert 0.95 < values.max() <= 1


@pytest.mark.parametrize("form", FORMS)
def test_noise_is_a_share_of_the_populations_spread_whatever_the_sample(form: str) -> None:
    large = draw(40_000, form=form, noise=0.5)
    # 1 % is three standard errors of a standard deviation from 40 000 draws.
    assert population_sd(form) == pytest.approx(large["truth_f"].std(), rel=0.01)
    error = large["y"] - large["truth_f"]
    assert large["truth_noise_sd"] == pytest.approx(0.5 * population_sd(form), rel=1e-12)
    assert error.std() == pytest.approx(0.5 * population_sd(form), rel=0.012)
    assert abs(error.mean()) < 0.01
    assert draw(5, form=form, noise=0.5)["truth_noise_sd"] == large["truth_noise_sd"]


def test_more_noise_is_the_same_noise_enlarged_on_the_same_inputs() -> None:
    little, much, none = (draw(noise=noise) for noise in (0.05, 0.5, 0.0))
    for name in ("patch", "position", "age", "truth_f"):
        np.testing.assert_array_equal(little[name], much[name])
    np.testing.assert_allclose(10 * (little["y"] - none["y"]), much["y"] - none["y"], atol=1e-12)


def test_mechanisms_are_independent_and_classes_balanced() -> None:
    made = draw(4000)
    columns = np.stack([made["truth_patch"], *made["position"].T, made["age"][:, 0], made["y"] - made["truth_f"]])
    assert np.abs(np.corrcoef(columns) - np.eye(5)).max() < 0.06
    assert np.bincount(made["labels"]).tolist() == [1000] * 4


def test_a_patch_shows_its_class_turned_and_sheared_within_the_patch() -> None:
    made = draw(200, side=24, patch_noise=0)
    assert made["patch"].dtype == np.float32
    assert made["patch"][:, [0, -1]].max() == 0
    assert made["patch"][:, :, [0, -1]].max() == 0
    # Shearing keeps the area: each patch has that of its class.
    none = np.zeros(4)
    upright = draw_poses(np.arange(4), angle_rad=none, shear_rad=none, scale=none + SIZE, shift_down_px=none, shift_right_px=none, side=24)
    np.testing.assert_allclose(made["patch"].sum(axis=(1, 2)), upright.sum(axis=(1, 2))[made["labels"]], rtol=0.02)
    still = draw(8, side=24, patch_noise=0, angle_deg=0, shear_deg=0)["patch"]
    np.testing.assert_array_equal(still, upright[np.arange(8) % 4])
    noisy = draw(200, side=24, patch_noise=0.1)["patch"]
    assert (noisy - made["patch"]).std() == pytest.approx(0.1, rel=0.02)
    assert len(CLASSES) == 4


def test_the_same_seed_gives_the_same_data_a_longer_set_begins_with_the_shorter_and_streams_share_nothing() -> None:
    first, again, longer, test = draw(20), draw(20), draw(50), draw(20, stream="test")
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        if first[name].ndim:
            np.testing.assert_array_equal(first[name], longer[name][:20])
    for name in ("position", "age", "patch"):
        assert not np.isin(first[name], test[name]).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"form": "product"},
        {"noise": -0.1},
        {"noise": float("inf")},
        {"patch_noise": float("nan")},
        {"angle_deg": 181.0},
        {"shear_deg": 60.0},
        {"side": 7},
        {"stream": "labelled"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        draw_patches_field(**{"count": 2, "seed": 0} | wrong)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_OPTION"
