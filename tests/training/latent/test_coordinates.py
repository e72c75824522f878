from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.latent.drawn_object import moments, picture
from training.latent.coordinates import object_shift_px, pixel_grid, sampling_shift, transform, wrap_angle

angles = st.floats(-math.pi, math.pi)
shifts = st.floats(-0.4, 0.4)
scales = st.floats(0.6, 1.6)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def drawn(height: int, width: int, angle: float, shift: tuple[float, float], scale: float) -> np.ndarray:
    grid = pixel_grid(height, width).double()
    moved = transform(grid, one(angle), torch.tensor([shift], dtype=torch.float64), one(scale))
    return picture(moved)[0].reshape(height, width).numpy()


@given(angles, shifts, shifts, scales)
@settings(max_examples=50, deadline=None)
def test_coordinates_are_those_of_the_papers_matrix_form(angle: float, dx: float, dy: float, scale: float) -> None:
    grid = pixel_grid(7, 7).double().numpy()
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = scale * (grid @ rotation) + np.array([dx, dy])
    found = transform(torch.from_numpy(grid), one(angle), torch.tensor([[dx, dy]], dtype=torch.float64), one(scale))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_float32_coordinates_follow_the_float64_reference() -> None:
    grid = pixel_grid(48, 48)
    pose = torch.tensor([0.7]), torch.tensor([[0.1, -0.2]]), torch.tensor([1.1])
    wide = transform(grid.double(), *(part.double() for part in pose))
    np.testing.assert_allclose(transform(grid, *pose).double(), wide, atol=1e-6)


def test_square_grid_runs_from_minus_one_to_one_down_and_one_to_minus_one_right() -> None:
    grid = pixel_grid(5, 5).reshape(5, 5, 2)
    np.testing.assert_allclose(grid[:, 0, 0], np.linspace(-1, 1, 5))
    np.testing.assert_allclose(grid[0, :, 1], np.linspace(1, -1, 5))


@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20)])
def test_oblong_images_have_square_pixels_and_the_longer_side_spans_the_grid(height: int, width: int) -> None:
    grid = pixel_grid(height, width).reshape(height, width, 2)
    pitch = 2 / (max(height, width) - 1)
    np.testing.assert_allclose(grid[1:, 0, 0] - grid[:-1, 0, 0], pitch, rtol=1e-5)
    np.testing.assert_allclose(grid[0, :-1, 1] - grid[0, 1:, 1], pitch, rtol=1e-5)
    assert grid.abs().max() == pytest.approx(1)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (80, 120), (120, 80)])
@pytest.mark.parametrize("angle", [-2.5, -0.6, 0.0, 0.9, 3.0])
@pytest.mark.parametrize(("shift", "scale"), [((0.0, 0.0), 1.0), ((0.15, -0.1), 1.0), ((-0.1, 0.12), 1.25), ((0.1, 0.1), 0.8)])
def test_claimed_pose_is_the_drawn_objects_pose_measured_by_moments(
    height: int, width: int, angle: float, shift: tuple[float, float], scale: float
) -> None:
    _, _, angle_0, size_0 = moments(drawn(height, width, 0.0, (0.0, 0.0), 1.0))
    down, right, angle_1, size_1 = moments(drawn(height, width, angle, shift, scale))
    claimed = object_shift_px(one(angle), torch.tensor([shift], dtype=torch.float64), one(scale), max(height, width))
    assert down == pytest.approx(float(claimed[0]), abs=0.05)
    assert right == pytest.approx(float(claimed[1]), abs=0.05)
    assert math.remainder(angle_1 - angle_0 - angle, 2 * math.pi) == pytest.approx(0, abs=0.01)  # angle = φ, counter-clockwise
    assert size_1 / size_0 == pytest.approx(1 / scale, rel=0.01)


def test_a_drawn_object_turned_by_ninety_degrees_is_the_picture_turned_by_numpy() -> None:
    np.testing.assert_allclose(drawn(41, 41, math.pi / 2, (0.0, 0.0), 1.0), np.rot90(drawn(41, 41, 0.0, (0.0, 0.0), 1.0)), atol=1e-6)


@given(angles, st.floats(-10, 10), st.floats(-10, 10), scales)
@settings(max_examples=50, deadline=None)
def test_sampling_shift_undoes_object_shift(angle: float, down: float, right: float, scale: float) -> None:
    shift = sampling_shift(one(angle), one(scale), one(down), one(right), 48)
    found = object_shift_px(one(angle), shift, one(scale), 48)
    assert float(found[0]) == pytest.approx(down, abs=1e-9)
    assert float(found[1]) == pytest.approx(right, abs=1e-9)


@given(st.floats(-50, 50, width=32))
@settings(max_examples=200, deadline=None)
def test_wrapped_angles_lie_within_pi_and_point_the_same_way(angle: float) -> None:
    wrapped = float(wrap_angle(torch.tensor([angle], dtype=torch.float32)))
    assert -math.pi <= wrapped <= math.pi
    assert math.remainder(wrapped - angle, 2 * math.pi) == pytest.approx(0, abs=2e-5)
