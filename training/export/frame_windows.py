"""Graphs of single windows of a frame: resampled around each centre, then the graph of single images; and what the windows' drawings explain."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch.export import Dim

from dichroic.bundle import Preprocessing, Signature
from training.export.compose import Parts
from training.export.frame_answers import CONSTANT_VARIANCE
from training.export.frame_front import add_front, add_range, add_tap_count
from training.export.graphs import exported, value_info
from training.export.onnx_models import ELEMENT_TYPES, checked_model
from training.frames.resampling import Windows


@functools.cache
def windows_graph(size: int, channels: int) -> onnx.ModelProto:
    """`Windows` as a graph: values (h, w, c), centre_px (n, 2), window_px (n,), taps (S,) int64 to descriptors (n, d, d, c)."""
    float32, int64 = TensorProto.FLOAT, TensorProto.INT64
    side, rows = Dim("h"), Dim("n")
    example = (torch.zeros(21, 23, channels), torch.ones(3, 2), torch.ones(3), torch.arange(5))
    inputs = [("values", float32, ["h", "w", channels]), ("centre_px", float32, ["n", 2]), ("window_px", float32, ["n"]), ("taps", int64, ["s"])]
    return exported(
        Windows(size),
        example,
        ({0: side, 1: Dim("w")}, {0: rows}, {0: rows}, {0: Dim("s")}),
        [helper.make_tensor_value_info(*facts) for facts in inputs],
        [helper.make_tensor_value_info("descriptors", float32, ["n", size, size, channels])],
    )


def windowed_graph(
    core: onnx.ModelProto, signature: Signature, preprocessing: Preprocessing, *, explains: bool, standardised: bool
) -> onnx.ModelProto:
    """The graph of one stage and dtype. `core`: of single images, "encode" or, where it `explains`, "reconstruct"."""
    parts, frame = Parts(), signature.fixed[0]
    size = core.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    channels = len(preprocessing.input_low)
    values = add_front(parts, "frame", frame.dtype, preprocessing, standardised=standardised, first=0)
    longest = parts.node("ReduceMax", ["window_px"], "longest_window", keepdims=0)
    taps = add_range(parts, "taps", add_tap_count(parts, longest))
    given = {"values": values, "centre_px": "centre_px", "window_px": "window_px", "taps": taps, "descriptors": "descriptors"}
    parts.insert(windows_graph(size, channels), "windows", given)
    if explains:
        parts.insert(core, "model", {"values": "descriptors", "error": "error"})
        _explained(parts)
    else:
        shifts = {spec.name: f"{spec.name}.of_descriptor" for spec in signature.outputs if spec.name.startswith("shift_")}
        parts.insert(core, "model", {"values": "descriptors", **{spec.name: spec.name for spec in signature.outputs}, **shifts})
        add_frame_shifts(parts, shifts, "window_px", size)
    fixed = helper.make_tensor_value_info("frame", ELEMENT_TYPES[frame.dtype], list(frame.shape))
    inputs = [*(value_info(spec) for spec in signature.inputs), fixed]
    return pruned(checked_model(parts.nodes, inputs, [value_info(spec) for spec in signature.outputs], parts.constants))


def add_frame_shifts(parts: Parts, shifts: Mapping[str, str], window: str, size: int) -> None:
    """Adds shifts in pixels of the frame, (w/d) times those in pixels of the descriptor, for outputs and the names of theirs."""
    if not shifts:
        return
    parts.constant("descriptor_px", np.array(size, np.float32))
    parts.node("Div", [window, "descriptor_px"], "step_px")
    for output, inside in shifts.items():
        parts.node("Mul", [inside, "step_px"], output)


def _explained(parts: Parts) -> None:
    # 1 − MSE/Var in float64: both are small numbers about a mean that is not.
    for name, value in (("image_axes", np.array([1, 2])), ("all_axes", np.array([1, 2, 3]))):
        parts.constant(name, value.astype(np.int64))
    parts.constant("least_variance", np.array(CONSTANT_VARIANCE))
    parts.constant("zero_explained", np.array(0, np.float64))
    parts.constant("whole", np.array(1, np.float64))
    parts.node("Cast", ["descriptors"], "descriptors_exact", to=TensorProto.DOUBLE)
    parts.node("ReduceMean", ["descriptors_exact", "image_axes"], "own_mean", keepdims=1)
    parts.node("Sub", ["descriptors_exact", "own_mean"], "about_mean")
    parts.node("Mul", ["about_mean", "about_mean"], "about_mean_squared")
    parts.node("ReduceMean", ["about_mean_squared", "all_axes"], "own_variance", keepdims=0)
    parts.node("Max", ["own_variance", "least_variance"], "divided_by")
    parts.node("Cast", ["error"], "error_exact", to=TensorProto.DOUBLE)
    parts.node("Div", ["error_exact", "divided_by"], "unexplained")
    parts.node("Sub", ["whole", "unexplained"], "explained_where_it_varies")
    parts.node("Greater", ["own_variance", "least_variance"], "descriptor_varies")
    parts.node("Where", ["descriptor_varies", "explained_where_it_varies", "zero_explained"], "explained_exact")
    parts.node("Cast", ["explained_exact"], "explained", to=TensorProto.FLOAT)


def pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the nodes and constants that no output needs."""
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(_inputs(node))
    nodes, constants = kept[::-1], [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    return checked_model(nodes, list(model.graph.input), list(model.graph.output), constants)


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node needs, those inside its branches with them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)
