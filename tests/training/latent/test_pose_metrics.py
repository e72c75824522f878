from __future__ import annotations

import numpy as np
import pytest

from training.latent.pose_metrics import (
    PoseTruth,
    concentration,
    fisher_lee_correlation,
    median_angle_error_deg,
    pose_figures,
    scale_r2,
    shift_r2,
)

GENERATOR = np.random.default_rng(0)
ANGLES = GENERATOR.uniform(-np.pi, np.pi, 400)


def test_fisher_lee_is_the_double_sum_over_pairs() -> None:
    a, b = ANGLES[:40], ANGLES[:40] * 0.7 + GENERATOR.normal(0, 0.5, 40)
    i, j = np.triu_indices(40, 1)
    first, second = np.sin(a[i] - a[j]), np.sin(b[i] - b[j])
    expected = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
    assert fisher_lee_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def test_correlation_is_one_up_to_offset_and_turns_and_minus_one_for_a_reversed_sense() -> None:
    turned = ANGLES + 1.3 + 2 * np.pi * GENERATOR.integers(-2, 3, len(ANGLES))
    assert fisher_lee_correlation(turned, ANGLES) == pytest.approx(1)
    assert fisher_lee_correlation(-ANGLES, ANGLES) == pytest.approx(-1)


def test_constant_answer_has_no_correlation_but_high_concentration_at_sixty_degrees() -> None:
    truth = np.radians(np.linspace(-60, 60, 2001))
    assert fisher_lee_correlation(np.full_like(truth, 0.2), truth) == 0.0
    assert concentration(0.2 - truth) == pytest.approx(0.83, abs=0.005)


def test_median_error_ignores_one_offset_and_symmetry_and_few_flips() -> None:
    error = np.radians(np.where(np.arange(400) % 2 == 0, 2.0, -2.0))
    assert median_angle_error_deg(ANGLES + 0.9 + error, ANGLES) == pytest.approx(2.0, abs=0.01)
    halves = np.pi * GENERATOR.integers(0, 2, 400)
    assert median_angle_error_deg(ANGLES + error + halves, ANGLES, symmetry_order=2) == pytest.approx(2.0, abs=0.01)
    flips = np.where(np.arange(400) % 20 == 0, np.pi, 0.0)
    assert median_angle_error_deg(ANGLES + error + flips, ANGLES) == pytest.approx(2.0, abs=0.2)


def moved(angle: np.ndarray, scale: np.ndarray, offset: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Down and right of a point `offset` (right, up) of the object's frame, turned counter-clockwise and scaled."""
    right = scale * (np.cos(angle) * offset[0] - np.sin(angle) * offset[1])
    up = scale * (np.sin(angle) * offset[0] + np.cos(angle) * offset[1])
    return -up, right


def test_shift_r2_takes_out_a_constant_centre_in_the_objects_frame_and_nothing_else() -> None:
    down, right = GENERATOR.normal(0, 3, (2, 400))
    scale = GENERATOR.uniform(0.8, 1.2, 400)
    off = moved(ANGLES, scale, (2.0, -1.0))
    assert shift_r2((down + off[0], right + off[1]), (down, right), ANGLES, scale) == pytest.approx(1)
    constant_in_the_image = shift_r2((down + 2.0, right - 1.0), (down, right), ANGLES, scale)
    assert constant_in_the_image < 0.8
    assert shift_r2((0 * down, 0 * right), (down, right), ANGLES, scale) == pytest.approx(0, abs=0.02)


def test_scale_r2_allows_one_factor() -> None:
    truth = GENERATOR.uniform(0.7, 1.4, 300)
    assert scale_r2(1.7 * truth, truth) == pytest.approx(1)
    assert scale_r2(np.ones(300), truth) == pytest.approx(0, abs=1e-9)


def test_figures_are_per_class_with_its_own_offset_and_symmetry() -> None:
    labels = np.arange(400) % 2
    angle = np.where(labels == 0, ANGLES + 0.4, ANGLES - 1.1 + np.pi * GENERATOR.integers(0, 2, 400))
    down, right = GENERATOR.normal(0, 3, (2, 400))
    truth = PoseTruth(labels, ANGLES, np.ones(400), down, right, symmetry_order=(1, 2))
    first, second = pose_figures({"angle_rad": angle, "shift_down_px": down, "shift_right_px": right}, truth)
    for figures in (first, second):
        assert figures.angle_correlation == pytest.approx(1)
        assert figures.angle_error_deg == pytest.approx(0, abs=1e-6)
        assert figures.shift_r2 == pytest.approx(1)
        assert figures.scale_r2 is None
        assert figures.count == 200
