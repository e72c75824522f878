"""What a frame of any dtype becomes before it is resampled; and graphs put together from parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dichroic.bundle import Preprocessing
from training.export.compose import Parts, with_weights
from training.export.frame_front import add_front, add_range, add_tap_count
from training.export.frame_windows import pruned
from training.export.onnx_models import ELEMENT_TYPES, checked_model

Array = np.ndarray[Any, np.dtype[Any]]
GENERATOR = np.random.default_rng(0)
SCALES = {
    1: Preprocessing(unit="m", input_low=(-2e-9,), input_high=(6e-9,), clip=False, integer_images="full_scale"),
    2: Preprocessing(unit="counts", input_low=(0.0, 5.0), input_high=(100.0, 200.0), clip=False, integer_images="value"),
}


def front(frames: Array, channels: int, *, standardised: bool, many: bool) -> Array:
    parts, dtype = Parts(), frames.dtype.name
    output = add_front(parts, "frame", dtype, SCALES[channels], standardised=standardised, first=1 if many else 0)
    axes = [*(["n"] if many else []), "H", "W", *([channels] if channels > 1 else [])]
    given = helper.make_tensor_value_info("frame", ELEMENT_TYPES[dtype], axes)
    told = helper.make_tensor_value_info(output, TensorProto.FLOAT, axes if channels > 1 else [*axes, 1])
    model = checked_model(parts.nodes, [given], [told], parts.constants)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"frame": frames})[0]
    return found


def expected(frame: Array, channels: int, *, standardised: bool) -> Array:
    """(h, w, c) of one frame by numpy, channel by channel."""
    scale = SCALES[channels]
    values = frame.reshape(*frame.shape[:2], channels).astype(np.float64)
    result = np.empty_like(values)
    for channel in range(channels):
        own = values[..., channel]
        finite = np.isfinite(own)
        low, high = scale.input_low[channel], scale.input_high[channel]
        if standardised:
            sd = own[finite].std() if finite.any() and np.ptp(own[finite]) else 1.0
            own = (own - (own[finite].mean() if finite.any() else 0.0)) / sd
        elif frame.dtype != np.float32 and scale.integer_images == "full_scale":
            low, high = 0.0, float(np.iinfo(frame.dtype).max)
        result[..., channel] = (np.where(finite, own, 0.0) - low) / (high - low)
    return result


def drawn(dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "float32":
        return (1e-9 * GENERATOR.standard_normal(shape) + 3e-9).astype(np.float32)
    return GENERATOR.integers(0, np.iinfo(dtype).max, shape).astype(dtype)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_each_frame_enters_in_the_scale_of_the_training_data(dtype: str, channels: int, standardised: bool) -> None:
    shape = (3, 11, 7) if channels == 1 else (3, 11, 7, channels)
    frames = drawn(dtype, shape)
    frames[1] = frames[0] // 2 if dtype != "float32" else frames[0] / 2  # frames of one run do not share mean and spread
    wanted = np.stack([expected(frame, channels, standardised=standardised) for frame in frames])
    np.testing.assert_allclose(front(frames, channels, standardised=standardised, many=True), wanted, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(front(frames[2], channels, standardised=standardised, many=False), wanted[2], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("standardised", [False, True])
def test_pixels_that_are_not_finite_are_zero_and_no_part_of_mean_and_spread(standardised: bool) -> None:
    frame = drawn("float32", (9, 8))
    frame[2, 3], frame[4, 4], frame[8, 7] = np.nan, np.inf, -np.inf
    found = front(frame, 1, standardised=standardised, many=False)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected(frame, 1, standardised=standardised), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.1, -3e7, 0.0, np.nan])
def test_a_constant_frame_has_no_spread_to_divide_by(value: float) -> None:
    found = front(np.full((300, 400), value, np.float32), 1, standardised=True, many=False)
    low, high = SCALES[1].input_low[0], SCALES[1].input_high[0]
    np.testing.assert_allclose(found, -low / (high - low), rtol=1e-4)


def test_standardising_keeps_the_digits_of_a_large_offset() -> None:
    frame = (1e4 + GENERATOR.standard_normal((200, 200))).astype(np.float32)
    found = front(frame, 1, standardised=True, many=False)
    np.testing.assert_allclose(found, expected(frame, 1, standardised=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("length", "count"), [(3.0, 5), (3.2, 6), (64.0, 66)])
def test_as_many_taps_as_the_longest_window_needs(length: float, count: int) -> None:
    parts = Parts()
    add_range(parts, "taps", add_tap_count(parts, "length"))
    sides = [helper.make_tensor_value_info("length", TensorProto.FLOAT, []), helper.make_tensor_value_info("taps", TensorProto.INT64, ["s"])]
    model = checked_model(parts.nodes, sides[:1], sides[1:], parts.constants)
    (taps,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"length": np.array(length, np.float32)})
    np.testing.assert_array_equal(taps, np.arange(count))


def linear(weights: Array, transposed: Array, scale: float) -> onnx.ModelProto:
    """y = (x @ weights) @ transposedᵀ · scale, as the exporter would name it."""
    parts = Parts()
    parts.constant("model.encoder.first", weights)
    parts.constant("val_3", transposed.T)
    parts.constant("val_4", np.array(scale, np.float32))
    parts.node("MatMul", ["x", "model.encoder.first"], "a")
    parts.node("MatMul", ["a", "val_3"], "b")
    parts.node("Mul", ["b", "val_4"], "y")
    parts.node("Relu", ["x"], "unused")
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    return checked_model(parts.nodes, sides[:1], sides[1:], parts.constants)


def run(model: onnx.ModelProto, x: Array) -> Array:
    found: Array = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    return found


def matrices(count: int) -> list[Array]:
    return [GENERATOR.standard_normal((3, 3)).astype(np.float32) for _ in range(count)]


def test_a_graph_takes_the_weights_of_another_model_and_keeps_its_other_constants() -> None:
    first, second, other_first, other_second, x = matrices(5)
    graph = with_weights(
        linear(first, second, 0.5), {"encoder.first": first, "second": second}, {"encoder.first": other_first, "second": other_second}
    )
    np.testing.assert_allclose(run(graph, x), 0.5 * x @ other_first @ other_second.T, rtol=1e-4, atol=1e-5)


def test_weights_that_cannot_be_told_apart_are_refused() -> None:
    first, second, other, more = matrices(4)
    own = {"encoder.first": first, "second": second, "third": second}
    with pytest.raises(ValueError, match="val_3 may be any of 2"):
        with_weights(linear(first, second, 1.0), own, {"encoder.first": first, "second": other, "third": more})
    with_weights(linear(first, second, 1.0), own, {"encoder.first": first, "second": other, "third": other})


def test_a_graph_inside_another_keeps_its_own_names_and_what_nobody_needs_goes() -> None:
    first, second, x = matrices(3)
    inner, parts = linear(first, second, 2.0), Parts()
    parts.node("Neg", ["x"], "values")
    parts.insert(inner, "one", {"x": "values", "y": "between"})
    parts.insert(inner, "two", {"x": "between", "y": "y"})
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    whole = pruned(checked_model(parts.nodes, sides[:1], sides[1:], parts.constants))
    np.testing.assert_allclose(run(whole, x), 4 * -x @ first @ second.T @ first @ second.T, rtol=1e-4, atol=1e-4)
    assert sum(node.op_type == "Relu" for node in whole.graph.node) == 0
    assert {numpy_helper.to_array(tensor).shape for tensor in whole.graph.initializer} == {(3, 3), ()}
