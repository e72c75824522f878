"""What is refused before it is sent, and what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from dichroic.client.inputs import checked_images, checked_latents
from dichroic.errors import InvalidTensorError


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        pytest.param(np.zeros((4, 4), np.float32), r"have 2 axes.*\[image\]", id="no batch axis"),
        pytest.param(np.zeros(4, np.float32), "have 1 axes", id="one axis"),
        pytest.param(np.float32(1), "have 0 axes", id="a number"),
        pytest.param(np.zeros((1, 2, 3, 4, 5), np.float32), "have 5 axes", id="five axes"),
        pytest.param(np.zeros((0, 4, 4), np.float32), "nothing in them", id="no rows"),
        pytest.param(np.zeros((2, 0, 4), np.float32), "nothing in them", id="no pixels"),
        pytest.param([], "empty list", id="an empty list"),
        pytest.param([np.zeros((4, 4)), np.zeros((4, 5))], "differ", id="two shapes"),
        pytest.param([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)], "one shape and dtype", id="two dtypes"),
        pytest.param([[[1, 2], [3]]], "no array", id="a ragged list"),
        pytest.param(np.zeros((1, 4, 4), np.int16), r"int16.*astype\('float32'\)", id="int16"),
        pytest.param(np.zeros((1, 4, 4), np.int64), "int64", id="int64"),
        pytest.param(np.zeros((1, 4, 4), np.uint32), "uint32", id="uint32"),
        pytest.param(np.zeros((1, 4, 4), bool), "bool", id="bool"),
        pytest.param(np.zeros((1, 4, 4), complex), "complex", id="complex"),
        pytest.param(np.full((1, 4, 4), None), "object", id="objects"),
        pytest.param("image.tif", "dtype <U9", id="a file name"),
        pytest.param(np.ma.masked_less(np.zeros((1, 4, 4)), 1), "filled", id="a masked array"),
        pytest.param([np.ma.masked_less(np.zeros((4, 4)), 1)], "filled", id="a list of masked arrays"),
    ],
)
def test_images_that_cannot_be_meant_are_refused_with_what_to_do(images: Any, problem: str) -> None:
    with pytest.raises(InvalidTensorError, match=problem) as caught:
        checked_images(images)
    assert caught.value.field == "images"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_is_not_finite_is_refused_by_row(value: float, dtype: str) -> None:
    images = np.zeros((5, 4, 4), dtype)
    images[3, 1, 2] = images[4, 0, 0] = value
    with pytest.raises(InvalidTensorError, match="NaN or infinity in row 3") as caught:
        checked_images(images)
    assert caught.value.row == 3


def test_a_value_beyond_float32_is_refused_by_row_and_not_sent_as_infinity() -> None:
    images = np.zeros((3, 4, 4))
    images[1, 0, 0] = 1e39
    with pytest.raises(InvalidTensorError, match=r"beyond float32 .* in row 1; choose another unit") as caught:
        checked_images(images)
    assert caught.value.row == 1


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", ">f8", "longdouble"])
def test_other_floats_become_float32(dtype: str) -> None:
    images = np.full((2, 4, 4, 3), 1.5, dtype)
    checked = checked_images(images)
    assert checked.dtype == np.float32
    assert checked.dtype.isnative
    assert (checked == 1.5).all()


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=4, max_side=4), elements={"allow_nan": False, "allow_infinity": False}))
def test_finite_float32_images_pass_unchanged(images: np.ndarray[Any, Any]) -> None:
    assert checked_images(images) is images


@pytest.mark.parametrize(
    ("latents", "problem"),
    [
        pytest.param({"content": np.zeros((2, 2)), "angle_rad": np.zeros(3)}, "differ in rows", id="different n"),
        pytest.param({"content": np.zeros((2, 2, 2))}, "expected .n, d. or .d,.", id="content of three axes"),
        pytest.param({"content": 1.0}, "expected .n, d. or .d,.", id="content of none"),
        pytest.param({"angle_rad": np.zeros((2, 2))}, "expected .n,. or a single number", id="angles of two axes"),
        pytest.param({"angle_rad": np.zeros(0)}, "no rows", id="no rows"),
        pytest.param({"angle_rad": [0.0, np.nan]}, "NaN or infinity in row 1", id="NaN"),
        pytest.param({"angle_rad": 1e300}, "beyond float32", id="beyond float32"),
        pytest.param({"scale": [1.0, 0.0]}, "scale is 0.0 in row 1", id="scale 0"),
        pytest.param({"scale": -1}, "above 0", id="a negative scale"),
        pytest.param({"angle_rad": "north"}, "real numbers", id="text"),
        pytest.param({"angle_rad": 1j}, "real numbers", id="complex"),
    ],
)
def test_latents_that_cannot_be_meant_are_refused(latents: dict[str, Any], problem: str) -> None:
    given_latents = dict.fromkeys(("content", "angle_rad", "scale", "shift_down_px", "shift_right_px")) | latents
    with pytest.raises(InvalidTensorError, match=problem):
        checked_latents(**given_latents)


def test_single_numbers_alone_are_one_row() -> None:
    found = checked_latents(content=[0.5, 1], angle_rad=0.25)
    assert found["content"].shape == (1, 2)
    assert found["angle_rad"].tolist() == [0.25]
    assert set(found) == {"content", "angle_rad"}
