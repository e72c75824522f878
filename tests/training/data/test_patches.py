import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.patches import cut_patches
from training.errors import InputError


@settings(deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([None, 1, 3]),
    window=st.integers(1, 12),
    stride=st.integers(1, 9),
)
def test_every_patch_equals_the_image_at_its_position_and_none_is_missing(height, width, channels, window, stride):
    shape = (height, width) if channels is None else (height, width, channels)
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    if window > min(height, width):
        with pytest.raises(InputError) as caught:
            cut_patches(image, window, stride)
        assert caught.value.reason == "WINDOW_TOO_LARGE"
        return
    patches = cut_patches(image, window, stride)
    expected = [(top, left) for top in range(0, height - window + 1, stride) for left in range(0, width - window + 1, stride)]
    assert list(zip(patches.top_px.tolist(), patches.left_px.tolist(), strict=True)) == expected
    assert patches.images.shape == (len(expected), window, window, *shape[2:])
    for patch, (top, left) in zip(patches.images, expected, strict=True):
        assert (patch == image[top : top + window, left : left + window]).all()


def test_positions_are_int64_and_patches_are_copies_of_the_same_dtype():
    image = np.arange(100, dtype=np.uint16).reshape(10, 10)
    patches = cut_patches(image, 4, 3)
    assert patches.top_px.dtype == patches.left_px.dtype == np.int64
    assert patches.images.dtype == np.uint16
    patches.images[:] = 0
    assert image[5, 5] == 55


@pytest.mark.parametrize(
    ("shape", "window", "stride", "reason"), [((5,), 2, 1, "NOT_AN_IMAGE"), ((5, 5), 0, 1, "INVALID_WINDOW"), ((5, 5), 2, 0, "INVALID_WINDOW")]
)
def test_what_cannot_be_cut_is_named(shape, window, stride, reason):
    with pytest.raises(InputError) as caught:
        cut_patches(np.zeros(shape), window, stride)
    assert caught.value.reason == reason
