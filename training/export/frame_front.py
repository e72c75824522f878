"""What comes before every graph of frames: a frame of any dtype becomes normalised values; and the index ranges whose length depends on values."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from dichroic.bundle import Preprocessing
from training.export.compose import Parts
from training.export.modules import input_range

# A standard deviation of less than this, of the mean, is rounding: the frame is constant.
CONSTANT = 1e-11


def add_front(parts: Parts, frame: str, dtype: str, preprocessing: Preprocessing, *, standardised: bool, first: int) -> str:
    """Adds cast, the mask of pixels that are not finite, standardisation and normalisation.

    Args:
        parts: to add to.
        frame: name of the input, (H, W[, c]) or (n, H, W[, c]).
        dtype: of it.
        preprocessing: with as many channels as the frame has.
        standardised: take out each frame's own mean and standard deviation of each channel over its finite pixels, in float64.
        first: which axis H is.

    Returns:
        The name of the values, (H, W, c) or (n, H, W, c) float32: (v − low)/(high − low), of v = 0 where a pixel is not finite.
    """
    value = frame
    if len(preprocessing.input_low) == 1:
        parts.constant("channel_axis", np.array([first + 2], np.int64))
        value = parts.node("Unsqueeze", [value, "channel_axis"], "with_channel")
    bad = ""
    if dtype == "float32":
        parts.node("IsNaN", [value], "is_nan")
        parts.node("IsInf", [value], "is_infinite")
        bad = parts.node("Or", ["is_nan", "is_infinite"], "not_finite")
        parts.constant("none", np.array(0, np.float32))
        value = parts.node("Where", [bad, "none", value], "finite")
    if standardised:
        value = _standardised(parts, value, bad, first)
    elif dtype != "float32":
        value = parts.node("Cast", [value], "as_float", to=TensorProto.FLOAT)
    # What is standardised has no unit, whatever dtype it had.
    low, span = (part.numpy() for part in input_range(preprocessing, "float32" if standardised else dtype))
    parts.constant("low", low)
    parts.constant("span", span)
    parts.node("Sub", [value, "low"], "above_low")
    return parts.node("Div", ["above_low", "span"], "normalised")


def add_range(parts: Parts, name: str, stop: str) -> str:
    """Adds 0, 1, …, stop − 1, int64, for the name of an int64 scalar."""
    for constant, number in (("range_start", 0), ("range_step", 1)):
        if all(tensor.name != constant for tensor in parts.constants):
            parts.constant(constant, np.array(number, np.int64))
    return parts.node("Range", ["range_start", stop, "range_step"], name)


def add_tap_count(parts: Parts, longest: str) -> str:
    """Adds S = ⌈length⌉ + 2 for the name of a scalar."""
    parts.constant("two_more", np.array(2, np.int64))
    parts.node("Ceil", [longest], "whole_length")
    parts.node("Cast", ["whole_length"], "whole_length_int", to=TensorProto.INT64)
    return parts.node("Add", ["whole_length_int", "two_more"], "tap_count")


def _standardised(parts: Parts, value: str, bad: str, first: int) -> str:
    exact = parts.node("Cast", [value], "exact", to=TensorProto.DOUBLE)
    parts.constant("frame_axes", np.array([first, first + 1], np.int64))
    parts.constant("nothing", np.array(0, np.float64))
    if bad:
        parts.constant("at_least_one", np.array(1, np.float64))
        parts.node("Not", [bad], "is_finite")
        parts.node("Cast", ["is_finite"], "counted", to=TensorProto.DOUBLE)
        parts.node("ReduceSum", ["counted", "frame_axes"], "finite_count", keepdims=1)
        count = parts.node("Max", ["finite_count", "at_least_one"], "count")
        parts.node("ReduceSum", [exact, "frame_axes"], "sum", keepdims=1)
        parts.node("Div", ["sum", count], "mean")
        parts.node("Sub", [exact, "mean"], "from_mean")
        deviation = parts.node("Where", [bad, "nothing", "from_mean"], "deviation")
        parts.node("ReduceSumSquare", [deviation, "frame_axes"], "squares", keepdims=1)
        parts.node("Div", ["squares", count], "variance")
    else:
        parts.node("ReduceMean", [exact, "frame_axes"], "mean", keepdims=1)
        deviation = parts.node("Sub", [exact, "mean"], "deviation")
        parts.node("Mul", [deviation, deviation], "square")
        parts.node("ReduceMean", ["square", "frame_axes"], "variance", keepdims=1)
    parts.constant("constant_share", np.array(CONSTANT))
    parts.constant("unit_sd", np.array(1, np.float64))
    parts.node("Sqrt", ["variance"], "sd")
    parts.node("Abs", ["mean"], "mean_size")
    parts.node("Mul", ["mean_size", "constant_share"], "rounding")
    parts.node("Greater", ["sd", "rounding"], "varies")
    parts.node("Where", ["varies", "sd", "unit_sd"], "divisor")
    parts.node("Div", [deviation, "divisor"], "standard_exact")
    return parts.node("Cast", ["standard_exact"], "standard", to=TensorProto.FLOAT)
