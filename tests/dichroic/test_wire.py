"""The Array message and numpy: the same values come back, and nothing else is let in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dichroic.errors import InvalidTensorError
from dichroic.v1.array_pb2 import Array, DataType
from dichroic.wire import MAX_AXES, from_array, is_given, optional_array, to_array

SENT = ("uint8", "uint16", "int64", "float32", "float64", "bool")
ORDERS = ("=", "<", ">")
shapes = hnp.array_shapes(min_dims=1, max_dims=MAX_AXES, min_side=0, max_side=3)


@given(st.data(), st.sampled_from(SENT), st.sampled_from(ORDERS))
def test_what_is_sent_comes_back_to_the_bit(data: Any, name: str, order: str) -> None:
    values = data.draw(hnp.arrays(np.dtype(name).newbyteorder(order), shapes))
    back = from_array(Array.FromString(to_array(values).SerializeToString()), field="images")
    assert back.dtype == np.dtype(name)
    assert back.dtype.isnative
    assert back.shape == values.shape
    assert back.tobytes() == values.astype(name).tobytes()


@given(hnp.arrays(np.uint16, (4, 3, 5)), st.permutations([0, 1, 2]), st.booleans())
def test_strides_do_not_matter(values: np.ndarray[Any, Any], axes: list[int], flipped: bool) -> None:
    view = values.transpose(axes)[:, :: -1 if flipped else 1, ::2]
    np.testing.assert_array_equal(from_array(to_array(view), field="images"), view)


def test_the_bytes_are_little_endian_and_row_major() -> None:
    message = to_array(np.array([[1, 2], [3, 4]], ">u2", order="F"))
    assert message.data == bytes([1, 0, 2, 0, 3, 0, 4, 0])
    assert list(message.shape) == [2, 2]


@pytest.mark.skipif(sys.byteorder != "little", reason="a big-endian machine must copy")
def test_reading_copies_nothing() -> None:
    values = from_array(to_array(np.arange(6.0)), field="x")
    assert not values.flags.writeable
    assert not values.flags.owndata


@pytest.mark.parametrize("values", [np.zeros(2, np.int32), np.zeros(2, np.float16), np.zeros(2, complex), np.array(["a"]), np.array([None])])
def test_other_dtypes_are_not_sent(values: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InvalidTensorError, match="convert to one of uint8"):
        to_array(values)


@pytest.mark.parametrize("values", [np.float32(1)[()], np.zeros((1,) * (MAX_AXES + 1))])
def test_scalars_and_too_many_axes_are_not_sent(values: Any) -> None:
    with pytest.raises(InvalidTensorError, match="axes cannot be sent"):
        to_array(np.asarray(values))


def test_an_empty_message_means_not_given() -> None:
    assert not is_given(Array())
    assert optional_array(Array(), field="scale") is None
    with pytest.raises(InvalidTensorError, match="scale is missing") as caught:
        from_array(Array(), field="scale")
    assert caught.value.field == "scale"


F4, U1, BOOL = DataType.DATA_TYPE_FLOAT32, DataType.DATA_TYPE_UINT8, DataType.DATA_TYPE_BOOL


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        pytest.param(Array(shape=[1], data=b"1234"), "no dtype is given", id="data without dtype"),
        pytest.param(Array(shape=[0]), "no dtype is given", id="shape without dtype"),
        pytest.param(Array(dtype=99, shape=[1], data=b"1"), "dtype number 99 is not known", id="unknown dtype"),  # type: ignore[arg-type]
        pytest.param(Array(dtype=F4), "has 0 axes", id="dtype without shape"),
        pytest.param(Array(dtype=F4, data=b"1234"), "has 0 axes", id="a scalar"),
        pytest.param(Array(dtype=F4, shape=[1] * 9, data=b"1234"), "has 9 axes", id="nine axes"),
        pytest.param(Array(dtype=F4, shape=[1]), "has 0 bytes", id="dtype and shape without data"),
        pytest.param(Array(dtype=F4, shape=[-1], data=b"1234"), "negative length", id="negative length"),
        pytest.param(Array(dtype=U1, shape=[-2, -2], data=b"1234"), "negative length", id="two negative lengths"),
        pytest.param(Array(dtype=F4, shape=[2**62, 2**62], data=b"1234"), "memory has addresses", id="overflow to any number"),
        pytest.param(Array(dtype=U1, shape=[2**32, 2**32]), "memory has addresses", id="overflow to zero"),
        pytest.param(Array(dtype=U1, shape=[0, 2**62, 4]), "memory has addresses", id="an empty axis hides the overflow"),
        pytest.param(Array(dtype=F4, shape=[2], data=b"1234567"), "has 7 bytes, but shape .2. of float32 is 8", id="too few bytes"),
        pytest.param(Array(dtype=F4, shape=[0], data=b"1"), "has 1 bytes", id="data for nothing"),
        pytest.param(Array(dtype=BOOL, shape=[2], data=b"\x01\x02"), "neither 0 nor 1", id="a bool of 2"),
    ],
)
def test_a_message_that_lies_is_refused_with_its_field(message: Array, problem: str) -> None:
    with pytest.raises(InvalidTensorError, match=problem) as caught:
        from_array(message, field="images")
    assert caught.value.field == "images"
    assert caught.value.reason == "INVALID_TENSOR"


@given(st.integers(0, 7), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9), st.binary(max_size=64))
def test_whatever_arrives_is_an_array_of_its_shape_or_a_named_error(dtype: int, shape: list[int], data: bytes) -> None:
    message = Array(dtype=dtype, shape=shape, data=data)  # type: ignore[arg-type]
    try:
        values = from_array(message, field="images")
    except InvalidTensorError:
        return
    assert values.shape == tuple(shape)
    assert values.nbytes == len(data)
