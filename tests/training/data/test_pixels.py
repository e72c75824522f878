from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.readers import read_data
from training.errors import InputError


def test_true_is_the_greatest_pixel_value(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((4, 6, 6)) > 0.5
    np.savez(tmp_path / "mask.npz", images=mask)
    images = read_data(tmp_path / "mask.npz").arrays["images"]
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.where(mask, 255, 0))


@pytest.mark.parametrize("shape", [(4, 1), ()])
def test_group_of_any_other_shape_than_one_entry_for_each_image_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 6), np.float32), group=np.zeros(shape, np.int64))
    with pytest.raises(InputError) as caught:
        read_data(tmp_path / "a.npz")
    assert caught.value.reason == "UNSUPPORTED_SHAPE"
    assert "group" in caught.value.message
