from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.latent.recipes import CARDS, FILES, MODEL, write_images, write_recipe
from training.data.readers import read_data
from training.errors import InputError
from training.latent.checkpoint import CheckpointStore
from training.latent.coordinates import pixel_grid
from training.latent.evaluate import encode_images
from training.latent.figures import measure
from training.latent.normalisation import normalised
from training.latent.optimise import Fit
from training.latent.orientation import crop, stripe_direction, turn_and_crop, wide_px
from training.latent.pipeline import specify
from training.latent.pose_metrics import fisher_lee_correlation, median_angle_error_deg
from training.latent.prepare import prepare_files
from training.latent.prepared import Prepared
from training.recipe import FileData, Recipe, read_recipe

ORIENTED = MODEL.replace("content_size = 1", "content_size = 1\nangle_symmetry = 2") + "\n[training.orientation]\nepochs = 1\nweight = 10.0\n"
WINDOW = FILES + "window_px = 12\nstride_px = 4\n"


def stripes(angle_rad: np.ndarray, side: int, period_px: float = 7.0) -> np.ndarray:
    """(n, side, side, 1) sinusoidal stripes along `angle_rad`, counter-clockwise with row 0 at the top."""
    axis = np.arange(side) - (side - 1) / 2
    right, up = np.meshgrid(axis, -axis)
    across = up * np.cos(angle_rad)[:, None, None] - right * np.sin(angle_rad)[:, None, None]
    return (0.5 + 0.4 * np.sin(2 * np.pi * across / period_px + 1))[..., None].astype(np.float32)


def prepared_scan(folder: Path, recipe: Recipe) -> Prepared:
    scan = np.concatenate([stripes(np.array([angle]), 96)[0, :, :48] for angle in (0.6, -0.7)], axis=1)
    assert isinstance(recipe.data, FileData)
    return prepare_files(recipe, recipe.data, [read_data(write_images(folder / "scan.npz", scan[None, ..., 0]))], [])


def test_direction_is_along_the_stripes_counter_clockwise_whatever_their_phase() -> None:
    angles = np.linspace(-1.5, 1.5, 13)
    found = stripe_direction(stripes(angles, 24))
    assert np.abs(np.angle(np.exp(2j * (found.angle_rad - angles)))).max() / 2 < math.radians(2)
    assert found.coherence.min() > 0.9


def test_noise_has_no_clear_direction() -> None:
    noise = np.random.default_rng(0).random((50, 32, 32, 1), dtype=np.float32)
    assert np.median(stripe_direction(noise).coherence) < 0.3


def test_wide_images_turned_by_any_angle_show_no_invented_border() -> None:
    side = 20
    wide = np.ones((8, wide_px(side), wide_px(side), 1), dtype=np.float32)
    wide[:, :1], wide[:, -1:], wide[:, :, :1], wide[:, :, -1:] = (2.0, 2.0, 2.0, 2.0)  # what lies beyond would repeat this
    turned = turn_and_crop(torch.from_numpy(wide), pixel_grid(side, side), torch.linspace(-3.1, 3.1, 8), side)
    corners = turned.numpy()[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 2.0
    assert (wide_px(side) - side) % 2 == 0


def test_turning_counter_clockwise_adds_to_the_direction_and_no_turn_is_the_middle() -> None:
    side, angles, turns = 20, np.array([0.1, 0.1, 0.1]), np.array([0.0, 0.5, -1.2])
    wide = stripes(angles, wide_px(side))
    turned = turn_and_crop(torch.from_numpy(wide), pixel_grid(side, side), torch.from_numpy(turns.astype(np.float32)), side).numpy()
    assert np.abs(turned[0] - crop(wide, side)[0]).max() < 1e-5
    found = stripe_direction(turned).angle_rad
    assert np.abs(np.angle(np.exp(2j * (found - angles - turns)))).max() / 2 < math.radians(2)


def test_training_patches_are_wide_and_all_others_of_the_window(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, WINDOW, ORIENTED))
    found = prepared_scan(tmp_path, recipe)
    assert found.train.shape[1:] == (wide_px(12), wide_px(12), 1)
    assert found.held_out.images.shape[1:] == (12, 12, 1)
    assert (specify(recipe, found).height_px, specify(recipe, found).angle_symmetry) == (12, 2)


def test_taught_angle_follows_stripes_it_has_not_seen_and_figures_say_so(tmp_path: Path) -> None:
    # The weight must stand beside the bound's hundreds of nats, or the bound undoes what was taught.
    model = ORIENTED.replace("epochs = 1\nweight = 10.0", "epochs = 40\nlearning_rate = 5e-3\nweight = 500.0").replace(
        "batch_size = 32", "batch_size = 16"
    )
    model = model.replace('"mlp"', '"convolutional"\nencoder_channels = [8, 16]').replace("encoder_widths = [8]", "encoder_widths = [32]")
    recipe = read_recipe(write_recipe(tmp_path, WINDOW, model))
    found = prepared_scan(tmp_path, recipe)
    torch.set_num_threads(1)
    fit = Fit(
        specify(recipe, found),
        recipe.training,
        normalised(found.train, found.preprocessing),
        found.validation,
        seed=0,
        store=CheckpointStore(tmp_path / "c", "x"),
        device=torch.device("cpu"),
    )
    fitted = fit.run(resume=False)
    angles = np.linspace(-1.5, 1.5, 40)
    reported = encode_images(fitted.model, normalised(stripes(angles, 12), found.preprocessing))["angle_rad"]
    assert np.abs(reported).max() <= math.pi / 2 + 1e-6
    assert fisher_lee_correlation(2 * reported, 2 * angles) > 0.8
    assert median_angle_error_deg(reported, angles, 2) < 10
    figures = {metric.name: metric.value for metric in measure(fitted.model, found, 0)[0]}
    assert figures["orientation_error_deg"] < 10
    assert -1 <= figures["orientation_correlation"] <= 1
    assert figures["orientation_share"] > 0.5


def test_models_without_the_symmetry_have_no_orientation_figures_and_no_further_weights(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, WINDOW))
    found = prepared_scan(tmp_path, recipe)
    fit = Fit(
        specify(recipe, found),
        recipe.training,
        found.train,
        found.validation,
        seed=0,
        store=CheckpointStore(tmp_path, "x"),
        device=torch.device("cpu"),
    )
    assert not any("direction" in name for name in fit.model.state_dict())
    assert not any(metric.name.startswith("orientation") for metric in measure(fit.model.eval(), found, 0)[0])


@pytest.mark.parametrize(
    ("data", "model", "told"),
    [
        (WINDOW, ORIENTED.replace("angle_symmetry = 2", "angle_symmetry = 1"), "angle_symmetry = 2"),
        (FILES, ORIENTED, "window_px"),
        (CARDS, ORIENTED, "window_px"),
        (WINDOW, ORIENTED + "[training.equivariance]\nepochs = 1\n", "not by both"),
        (WINDOW, ORIENTED.replace('["rotation"]', '["translation"]'), "rotation"),
    ],
)
def test_recipes_that_cannot_be_taught_a_direction_are_refused(tmp_path: Path, data: str, model: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_recipe(write_recipe(tmp_path, data, model))
    assert caught.value.reason == "RECIPE_INVALID"
