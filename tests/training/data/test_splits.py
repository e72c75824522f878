import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from training.data.patches import cut_patches
from training.data.splits import block_split
from training.errors import InputError


def covered(patches, rows, window, shape):
    mask = np.zeros(shape, dtype=bool)
    for row in rows:
        mask[patches.top_px[row] : patches.top_px[row] + window, patches.left_px[row] : patches.left_px[row] + window] = True
    return mask


@settings(deadline=None)  # the check, not the split, is slow
@given(
    height=st.integers(20, 120),
    width=st.integers(20, 120),
    window=st.integers(3, 24),
    stride=st.integers(1, 12),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
def test_no_held_out_pixel_is_in_any_training_patch(*, height, width, window, stride, fraction, seed):
    assume(window <= min(height, width))
    patches = cut_patches(np.zeros((height, width)), window, stride)
    try:
        train, held = block_split(patches.top_px, patches.left_px, window, (height, width), fraction, seed)
    except InputError:
        reject()  # too small for two blocks: its own test below
    assert train.size
    assert held.size
    assert not set(train.tolist()) & set(held.tolist())
    assert not (covered(patches, train, window, (height, width)) & covered(patches, held, window, (height, width))).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_scan_keeps_most_patches_and_the_asked_share_is_nearly_met(seed):
    patches = cut_patches(np.zeros((256, 256)), 24, 8)
    train, held = block_split(patches.top_px, patches.left_px, 24, (256, 256), 0.2, seed)
    assert 0.12 < held.size / (held.size + train.size) < 0.28
    assert held.size + train.size > 0.6 * len(patches.top_px)


def test_the_seed_chooses_the_blocks_and_repeats():
    patches = cut_patches(np.zeros((256, 256)), 24, 8)
    splits = [block_split(patches.top_px, patches.left_px, 24, (256, 256), 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_an_image_of_one_window_cannot_be_split_and_says_what_to_do():
    with pytest.raises(InputError, match="a larger image, a smaller window, or a second file") as caught:
        block_split(np.array([0]), np.array([0]), 24, (30, 30), 0.2, 0)
    assert caught.value.reason == "IMAGE_TOO_SMALL"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(InputError) as caught:
        block_split(np.array([0]), np.array([0]), 4, (30, 30), fraction, 0)
    assert caught.value.reason == "INVALID_FRACTION"
