"""Ends of the input range that no graph could use are refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import random_images, write_images, write_recipe
from training.errors import InputError
from training.latent.pipeline import Request, prepare
from training.latent.prepared import Prepared
from training.recipe import read_recipe


def prepared(recipe: Path, *data: Path, channel: str | None = None) -> Prepared:
    return prepare(Request(read_recipe(recipe), data, channel, recipe.parent / "out", "cpu", resume=False))


def reason(recipe: Path, *data: Path, channel: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        prepared(recipe, *data, channel=channel)
    return caught.value.reason


def ends(folder: Path, low: str, high: str, more: str = "") -> Path:
    return write_recipe(folder, extra=f"[normalisation]\ninput_low = {low}\ninput_high = {high}\n{more}")


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        ("[0.0]", "[nan]", "RECIPE_INVALID"),
        ("[-inf]", "[1.0]", "RECIPE_INVALID"),
        ("[0.0]", "[1e39]", "INVALID_NORMALISATION"),
        ("[-1e39]", "[1e39]", "INVALID_NORMALISATION"),
        ("[1e39]", "[2e39]", "INVALID_NORMALISATION"),
        ("[-3e38]", "[3e38]", "INVALID_NORMALISATION"),
        ("[1.0]", "[1.00000000001]", "INVALID_NORMALISATION"),
        ("[2.0]", "[1.0]", "INVALID_NORMALISATION"),
        ("[0.0]", "[1.0, 2.0]", "INVALID_NORMALISATION"),
        ("[]", "[]", "INVALID_NORMALISATION"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_range_that_is_none_in_float32_is_refused(tmp_path: Path, low: str, high: str, told: str, dtype: type) -> None:
    images = (255 * random_images()).astype(dtype)
    assert reason(ends(tmp_path, low, high), write_images(tmp_path / "a.npz", images)) == told


@pytest.mark.parametrize(("channels", "low", "high"), [(1, "[0.0, 0.0]", "[1.0, 2.0]"), (3, "[0.0, 0.0]", "[1.0, 2.0]"), (2, "[0.0]", "[1.0]")])
def test_integer_images_need_one_pair_of_ends_for_each_channel(tmp_path: Path, channels: int, low: str, high: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, channels)).astype(np.uint8)
    assert reason(ends(tmp_path, low, high), write_images(tmp_path / "a.npz", images)) == "INVALID_NORMALISATION"


def test_a_mask_fills_the_whole_range(tmp_path: Path) -> None:
    mask = random_images() > 0.5
    made = prepared(ends(tmp_path, "[2.0]", "[4.0]"), write_images(tmp_path / "a.npz", mask))
    assert set(np.unique(made.train)) == {2.0, 4.0}


def test_a_channel_is_chosen_by_name_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, height=random_images(), amplitude=5 + random_images())
    recipe = write_recipe(tmp_path)
    assert reason(recipe, path) == "CHANNEL_REQUIRED"
    assert reason(recipe, path, channel="phase") == "UNKNOWN_CHANNEL"
    assert prepared(recipe, path, channel="amplitude").train.min() >= 5
