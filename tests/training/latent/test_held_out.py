"""Nothing that is measured on may have been seen: by place, by group, by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import write_images, write_recipe
from training.errors import InputError
from training.latent.held_out import Split, split_frames, split_patches
from training.latent.pipeline import Request, prepare
from training.latent.prepared import Prepared
from training.recipe import read_recipe

SIDE = 48
# Each pixel's value names its place, so that sets of values are sets of places.
PLACES = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)


def prepared(folder: Path, path: Path, *, window: bool, restarts: int = 1) -> Prepared:
    recipe = read_recipe(write_recipe(folder, extra="window_px = 8\nstride_px = 4\n" if window else ""))
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"restarts": restarts})})
    return prepare(Request(recipe, (path,), None, folder / "out", "cpu", resume=False))


def values(*parts: np.ndarray) -> list[set[float]]:
    return [set(np.unique(part).tolist()) for part in parts]


@pytest.mark.parametrize("name", ["images", "frames"])
def test_a_place_held_out_in_one_image_of_a_file_is_held_out_in_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / "movie.npz"
    np.savez(path, **{name: np.stack([PLACES] * 6)})
    made = prepared(tmp_path, path, window=True, restarts=2)
    train, chosen, held_out = values(made.train, made.validation, made.held_out.images)
    assert train
    assert chosen
    assert held_out
    assert not train & held_out
    assert not train & chosen
    assert not chosen & held_out
    assert made.held_out.name == "held-out blocks of movie.npz"


def test_one_images_blocks_are_those_of_the_seed(tmp_path: Path) -> None:
    """The blocks of a single scan stay what they were: the committed bundles were made with them."""
    alone = split_patches(PLACES[None, :, :, None], 8, 4, 0.25, 3, validation=True)
    twice = split_patches(np.stack([PLACES] * 2)[..., None], 8, 4, 0.25, 3, validation=True)
    for part in ("train", "validation", "held_out"):
        one = getattr(alone, part)
        np.testing.assert_array_equal(getattr(twice, part), np.concatenate([one, one]))


def test_frames_without_a_window_hold_out_one_run_of_time(tmp_path: Path) -> None:
    path = tmp_path / "movie.npz"
    frames = np.arange(50, dtype=np.float32)[:, None, None] + np.random.default_rng(0).random((50, 12, 12), dtype=np.float32) / 2
    np.savez(path, frames=frames)
    made = prepared(tmp_path, path, window=False, restarts=2)
    times = [np.floor(part[:, 0, 0, 0]).tolist() for part in (made.train, made.validation, made.held_out.images)]
    assert times == [list(range(30)), list(range(30, 40)), list(range(40, 50))]
    assert made.held_out.name == "held-out frames of movie.npz"


def test_too_few_frames_are_told() -> None:
    with pytest.raises(InputError) as caught:
        split_frames(np.zeros((2, 8, 8, 1)), 0.5, validation=True)
    assert caught.value.reason == "TOO_FEW_IMAGES"


@pytest.mark.parametrize("window", [True, False])
def test_whole_groups_are_held_out_with_a_window_too(tmp_path: Path, window: bool) -> None:
    group = np.repeat(np.arange(5), 12)
    images = group[:, None, None].astype(np.float32) + np.random.default_rng(0).random((60, 24, 24), dtype=np.float32) / 2
    made = prepared(tmp_path, write_images(tmp_path / "a.npz", images, group=group), window=window, restarts=2)
    train, chosen, held_out = values(np.floor(made.train), np.floor(made.validation), np.floor(made.held_out.images))
    assert sorted(train | chosen | held_out) == list(range(5))
    assert len(train) + len(chosen) + len(held_out) == 5
    assert made.held_out.name == "held-out groups of a.npz"
    assert made.train.shape[1:3] == ((8, 8) if window else (24, 24))


def test_one_group_alone_says_nothing_and_blocks_are_held_out(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a.npz", np.stack([PLACES] * 3), group=np.zeros(3, np.int64))
    made = prepared(tmp_path, path, window=True)
    train, held_out = values(made.train, made.held_out.images)
    assert not train & held_out


def test_split_is_a_split() -> None:
    frames = np.arange(20.0)[:, None, None, None]
    split: Split = split_frames(frames, 0.2, validation=False)
    assert len(split.validation) == 0
    np.testing.assert_array_equal(np.concatenate([split.train, split.held_out]), frames)
