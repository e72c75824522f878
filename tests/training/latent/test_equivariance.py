from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.training.latent.drawn_object import moments, picture
from tests.training.latent.test_model import small
from training.latent.coordinates import pixel_grid, transform
from training.latent.equivariance import Movement, draw_movement, equivariance_error, move_images
from training.latent.specification import Invariance


def movement(angle: float, shift: tuple[float, float], scale: float) -> Movement:
    return Movement(torch.tensor([angle]), torch.tensor([shift]), torch.tensor([scale]))


@pytest.mark.parametrize(("height", "width"), [(81, 81), (61, 81)])
def test_moving_an_image_is_drawing_it_at_the_moved_coordinates(height: int, width: int) -> None:
    grid = pixel_grid(height, width)
    move = movement(0.5, (0.1, -0.05), 1.1)
    image = picture(grid).reshape(1, height, width, 1)
    expected = picture(transform(grid, move.angle, move.shift, move.scale)).reshape(height, width)
    found = move_images(image, grid, move)[0, ..., 0]
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)  # bilinear


def test_a_moved_image_turns_counter_clockwise_by_the_movements_angle() -> None:
    grid = pixel_grid(81, 81)
    image = picture(grid).reshape(1, 81, 81, 1)
    before = moments(image[0, ..., 0].numpy())
    after = moments(move_images(image, grid, movement(0.8, (0.0, 0.0), 1.0))[0, ..., 0].numpy())
    assert math.remainder(after[2] - before[2], 2 * math.pi) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("invariances", [("rotation", "translation", "scale"), ("rotation",), ("translation",), ("scale",)], ids="+".join)
def test_error_vanishes_for_the_pose_that_the_movement_gives_and_only_there(invariances: tuple[Invariance, ...]) -> None:
    model = small(invariances, rotation_prior_sd_rad=1.0, shift_prior_sd=1.0, scale_prior_log_sd=1.0, content_size=1)
    generator = torch.Generator().manual_seed(3)
    move = draw_movement(
        6, 1.0 * ("rotation" in invariances), 0.2 * ("translation" in invariances), 1.2 if "scale" in invariances else 1.0, generator
    )
    latents = 0.5 * torch.randn(6, model.specification.latent_size, generator=generator)
    start = model.split(latents)
    # New sampling map = old map after the movement: s₀(s(xR(δ)) + dx)R(φ₀) + dx₀.
    rotated = transform(move.shift[:, None, :], start.angle, torch.zeros(6, 2), start.scale)[:, 0]
    parts = {
        "rotation": (start.angle + move.angle)[:, None],
        "translation": start.shift + rotated,
        "scale": torch.log(start.scale * move.scale)[:, None],
    }
    moved = torch.cat([parts[name] for name in invariances] + [latents[:, -1:]], dim=1)
    assert float(equivariance_error(model, latents, moved, move)) == pytest.approx(0, abs=1e-6)
    assert float(equivariance_error(model, latents, latents, move)) > 0.01


def test_movements_stay_within_their_bounds_and_vary() -> None:
    move = draw_movement(500, 0.3, 0.1, 1.5, torch.Generator().manual_seed(0))
    assert float(move.angle.abs().max()) <= 0.3
    assert float(move.shift.abs().max()) <= 0.1
    assert 1 / 1.5 <= float(move.scale.min()) < 0.8
    assert 1.2 < float(move.scale.max()) <= 1.5
    assert np.ptp(move.angle.numpy()) > 0.5
