from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.windows import WindowedImage, Windows, cut_descriptors, grid_axis, grid_centres, lengths_in_px, split_windows, whole_windows
from training.errors import InputError

RNG = np.random.default_rng(0)
# The same lengths on two images, the second twice as coarse.
IMAGES = [
    WindowedImage("fine.npz", RNG.random((128, 120, 1)), (6.4, 12.0, 24.0)),
    WindowedImage("coarse.npz", RNG.random((96, 100, 1)), (3.2, 6.0, 12.0)),
]
SPLITS = split_windows(IMAGES, 8, 40, 0.25, 3, validation=True)


def pixels_used(windows: Windows, number: int, size: int = 8) -> np.ndarray:
    """Which pixels of an image move a descriptor of this side, found by moving them."""
    image = IMAGES[number]
    own = windows.image == number
    only = Windows(np.zeros(own.sum(), np.int64), windows.centres_px[own], windows.windows_px[own])
    used = np.zeros(image.values.shape[:2], dtype=bool)
    # One row, or column, lit at a time tells which rows and columns each window uses.
    lit = []
    for axis in (0, 1):
        ramps = np.eye(image.values.shape[axis])
        stack = np.moveaxis(ramps[:, :, None] * np.ones((1, 1, image.values.shape[1 - axis])), 0, -1)
        stack = stack if axis == 0 else stack.swapaxes(0, 1)
        lit.append((cut_descriptors([WindowedImage("lit", stack, image.windows_px)], only, size) > 0).any(axis=(1, 2)))
    for rows, columns in zip(*lit, strict=True):
        used |= np.outer(rows, columns)
    return used


def test_every_length_has_as_many_windows_of_each_image_and_none_twice() -> None:
    for split in SPLITS:
        assert len(split.train) == 40
        assert np.bincount(split.train.image).tolist() == [20, 20]
        for part in (split.train, split.validation, split.held_out):
            assert len({(i, *centre) for i, centre in zip(part.image.tolist(), part.centres_px.tolist(), strict=True)}) == len(part)
    for part in ("validation", "held_out"):
        assert len({tuple(np.bincount(getattr(split, part).image)) for split in SPLITS}) == 1
        assert len(getattr(SPLITS[0], part)) == 13


@pytest.mark.parametrize("number", [0, 1])
def test_what_one_length_holds_out_no_length_trains_on(number: int) -> None:
    used = {part: np.any([pixels_used(getattr(split, part), number) for split in SPLITS], axis=0) for part in ("train", "validation", "held_out")}
    assert all(mask.any() for mask in used.values())
    assert not (used["train"] & used["held_out"]).any()
    assert not (used["train"] & used["validation"]).any()
    assert not (used["validation"] & used["held_out"]).any()


def test_training_windows_are_cut_wider_where_asked_and_still_share_no_pixel() -> None:
    wide = split_windows(IMAGES, 8, 30, 0.25, 3, validation=True, training_size=12)
    for number, image in enumerate(IMAGES):
        used = {
            part: np.any([pixels_used(getattr(split, part), number, 12 if part == "train" else 8) for split in wide], axis=0)
            for part in ("train", "validation", "held_out")
        }
        assert all(mask.any() for mask in used.values())
        assert not (used["train"] & (used["held_out"] | used["validation"])).any()
        for split, window in zip(wide, image.windows_px, strict=True):
            assert set(split.train.windows_px[split.train.image == number]) == {1.5 * window}
            assert set(split.held_out.windows_px[split.held_out.image == number]) == {window}
    # The middle of what is cut wider is what would be cut.
    train = wide[2].train
    plain = Windows(train.image, train.centres_px, train.windows_px / 1.5)
    assert np.abs(cut_descriptors(IMAGES, train, 12)[:, 2:10, 2:10] - cut_descriptors(IMAGES, plain, 8)).max() < 1e-6


def test_a_grid_begins_half_a_window_from_the_border_and_ends_inside() -> None:
    found = grid_centres((20, 16, 1), 8.0, 2.5)
    assert sorted(set(found[:, 0])) == [4.0, 6.5, 9.0, 11.5, 14.0]
    assert sorted(set(found[:, 1])) == [4.0, 6.5, 9.0, 11.5]
    assert grid_centres((8, 8, 1), 8.0 + 5e-7, 2.0).shape == (1, 2)  # a length that came as float32


def test_the_same_length_in_nm_is_each_images_own_number_of_pixels() -> None:
    assert lengths_in_px((100.0, 250.0), 3.125, "a") == (32.0, 80.0)
    widths = [set(split.train.windows_px[split.train.image == 1]) for split in SPLITS]
    assert widths == [{3.2}, {6.0}, {12.0}]


def test_the_seed_chooses_and_repeats() -> None:
    again, other = (split_windows(IMAGES, 8, 40, 0.25, seed, validation=True) for seed in (3, 4))
    np.testing.assert_array_equal(SPLITS[1].train.centres_px, again[1].train.centres_px)
    assert not np.array_equal(SPLITS[1].train.centres_px, other[1].train.centres_px)


def test_without_validation_there_is_none_and_training_has_its_blocks() -> None:
    split = split_windows(IMAGES, 8, 40, 0.25, 3, validation=False)[0]
    assert len(split.validation) == 0
    assert len(split.train) == 40


def test_an_image_with_little_room_gives_what_it_has_and_others_the_rest() -> None:
    small = WindowedImage("small", RNG.random((60, 60, 1)), (20.0, 24.0))
    large = WindowedImage("large", RNG.random((300, 300, 1)), (20.0, 24.0))
    counts = [np.bincount(split.train.image, minlength=2) for split in split_windows([small, large], 8, 100, 0.3, 0, validation=False)]
    assert counts[0].tolist() == counts[1].tolist()
    assert 0 < counts[0][0] < 50
    assert counts[0].sum() == 100


def test_images_never_trained_on_give_windows_anywhere() -> None:
    found = whole_windows(IMAGES, 30, 0)
    assert [np.bincount(each.image).tolist() for each in found] == [[15, 15]] * 3
    assert cut_descriptors(IMAGES, found[0], 8).shape == (30, 8, 8, 1)
    assert len(whole_windows([WindowedImage("one", RNG.random((24, 24, 1)), (24.0,))], 30, 0)[0]) == 1


def test_a_window_longer_than_the_image_is_told_with_both_sizes() -> None:
    with pytest.raises(InputError, match=r"130 px does not fit fine.npz, an image of 128 × 120 px") as caught:
        split_windows([WindowedImage("fine.npz", IMAGES[0].values, (8.0, 130.0))], 8, 10, 0.2, 0, validation=False)
    assert caught.value.reason == "WINDOW_TOO_LARGE"


def test_too_few_windows_say_how_many_there_are_and_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"give \d+ windows to train on at every length, and 5000 are needed.*24 px and 12 px.*patches_per_scale"
    ) as caught:
        split_windows(IMAGES, 8, 5000, 0.2, 0, validation=False)
    assert caught.value.reason == "TOO_FEW_WINDOWS"


@pytest.mark.parametrize(("size_nm", "reason"), [(None, "PIXEL_SIZE_REQUIRED"), (0.0, "INVALID_PIXEL_SIZE"), (float("nan"), "INVALID_PIXEL_SIZE")])
def test_lengths_in_nm_need_a_pixel_size(size_nm: float | None, reason: str) -> None:
    with pytest.raises(InputError, match=r"scan\.h5") as caught:
        lengths_in_px((100.0,), size_nm, "scan.h5")
    assert caught.value.reason == reason


def test_places_of_the_grid() -> None:
    np.testing.assert_allclose(grid_axis(64, 16, 8), 8 + 8 * np.arange(7))
    np.testing.assert_allclose(grid_axis(63, 16, 8), 8 + 8 * np.arange(6))
    np.testing.assert_allclose(grid_axis(16, 16, 8), [8])
    assert len(grid_axis(10, 10 / 3, 10 / 3)) == 3  # rounding takes no window away
    assert math.isclose(grid_axis(10, 10 / 3, 10 / 3)[-1] + 10 / 6, 10)
