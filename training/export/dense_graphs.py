"""Graphs that encode a frame at once: resampled as a whole, then one pass of the convolutions, then the heads at every position."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from dichroic.bundle import Preprocessing, Signature
from training.data.resample import TOLERANCE_PX
from training.export.compose import Parts
from training.export.frame_front import add_front, add_range, add_tap_count
from training.export.frame_windows import add_frame_shifts, pruned
from training.export.graphs import exported, value_info
from training.export.modules import Encode
from training.export.onnx_models import checked_model
from training.export.specs import encode_outputs
from training.frames.resampling import WholeFrame
from training.latent.dense_encoder import DenseEncoder
from training.latent.model import InvariantVAE

_STEP_DIGITS = 1e-12


class EncodeMaps(nn.Module):
    """Resampled frames (n, c, p, q), normalised, to the outputs of `Encode` at every window: (n, R, C, …) each; shifts in descriptor pixels."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.encode = Encode(model, preprocessing)
        self.model = model

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        encoder = self.model.encoder
        assert isinstance(encoder, DenseEncoder)  # noqa: S101 (a dense model)
        maps = encoder.maps(torch.clamp(values, 0.0, 1.0) if self.encode.clip else values)
        count, rows, columns, _ = maps.shape
        told = self.encode.told(self.model.reading(*encoder.heads(maps.flatten(0, 2))))
        return tuple(each.reshape(count, rows, columns, *each.shape[1:]) for each in told)


def maps_core(model: InvariantVAE, preprocessing: Preprocessing) -> onnx.ModelProto:
    """`EncodeMaps` as a graph, from "values"."""
    specification = model.specification
    size, stride, channels = specification.height_px, specification.dense_stride_px, specification.channels
    outputs = [
        helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, ["n", "R", "C", *spec.shape[1:]]) for spec in encode_outputs(specification)
    ]
    given = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n", channels, "p", "q"])
    example = (torch.zeros(2, channels, size + 2 * stride, size + 3 * stride),)
    shapes = ({0: Dim("n"), 2: Dim("p", min=size), 3: Dim("q", min=size)},)
    return exported(EncodeMaps(model, preprocessing), example, shapes, [given], outputs)


@functools.cache
def whole_frame_graph(channels: int) -> onnx.ModelProto:
    """`WholeFrame` as a graph: values (n, h, w, c), step () float64, rows (p,), columns (q,), taps (S,) int64 to (n, c, p, q)."""
    exact, int64 = TensorProto.DOUBLE, TensorProto.INT64
    example = (torch.zeros(2, 21, 23, channels), torch.tensor(1.0, dtype=torch.float64), torch.arange(6), torch.arange(7), torch.arange(4))
    shapes = ({0: Dim("n"), 1: Dim("h"), 2: Dim("w")}, {}, {0: Dim("p")}, {0: Dim("q")}, {0: Dim("s")})
    inputs = [("values", TensorProto.FLOAT, ["n", "h", "w", channels]), ("step", exact, [])]
    inputs += [("rows", int64, ["p"]), ("columns", int64, ["q"]), ("taps", int64, ["s"])]
    return exported(
        WholeFrame(),
        example,
        shapes,
        [helper.make_tensor_value_info(*facts) for facts in inputs],
        [helper.make_tensor_value_info("resampled", TensorProto.FLOAT, ["n", channels, "p", "q"])],
    )


def dense_graph(
    core: onnx.ModelProto, signature: Signature, preprocessing: Preprocessing, *, size: int, stride: int, standardised: bool
) -> onnx.ModelProto:
    """The graph of one stage and dtype. `core`: of `maps_core`; `size`: d; `stride`: from window to window, descriptor pixels."""
    parts, frames = Parts(), signature.inputs[0]
    values = add_front(parts, "frames", frames.dtype, preprocessing, standardised=standardised, first=1)
    _add_grid(parts, size, stride)
    add_range(parts, "taps", add_tap_count(parts, "step"))
    _add_resampled(parts, values, len(preprocessing.input_low))
    shifts = {spec.name: f"{spec.name}.of_descriptor" for spec in signature.outputs if spec.name.startswith("shift_")}
    parts.insert(core, "model", {"values": "resampled", **{spec.name: spec.name for spec in signature.outputs}, **shifts})
    add_frame_shifts(parts, shifts, "window", size)
    inputs, outputs = ([value_info(spec) for spec in specs] for specs in (signature.inputs, signature.outputs))
    return pruned(checked_model(parts.nodes, inputs, outputs, parts.constants))


def _add_grid(parts: Parts, size: int, stride: int) -> None:
    """Adds the window () of the run, its step () float64, and the rows and columns of the resampled frame, which its windows cover."""
    scalars = {"first_row": np.array(0, np.int64), "size": np.array(size, np.int64), "stride": np.array(stride, np.int64)}
    scalars |= {"size_exact": np.array(size, np.float64), "stride_exact": np.array(stride, np.float64)}
    scalars |= {"tolerance": np.array(TOLERANCE_PX), "one_window": np.array(1, np.int64)}
    for name, value in scalars.items():
        parts.constant(name, value)
    parts.node("Gather", ["window_px", "first_row"], "window", axis=0)
    parts.node("Cast", ["window"], "window_exact", to=TensorProto.DOUBLE)
    parts.node("Div", ["window_exact", "size_exact"], "step")
    parts.node("Mul", ["step", "stride_exact"], "stride_px")
    parts.node("Shape", ["frames"], "frames_shape")
    for axis, name in ((1, "rows"), (2, "columns")):
        parts.constant(f"{name}_axis", np.array(axis, np.int64))
        parts.node("Gather", ["frames_shape", f"{name}_axis"], f"{name}_side", axis=0)
        parts.node("Cast", [f"{name}_side"], f"{name}_side_exact", to=TensorProto.DOUBLE)
        parts.node("Sub", [f"{name}_side_exact", "window_exact"], f"{name}_room")
        parts.node("Add", [f"{name}_room", "tolerance"], f"{name}_room_and_more")
        parts.node("Div", [f"{name}_room_and_more", "stride_px"], f"{name}_strides")
        parts.node("Floor", [f"{name}_strides"], f"{name}_whole_strides")
        parts.node("Cast", [f"{name}_whole_strides"], f"{name}_further", to=TensorProto.INT64)
        parts.node("Mul", [f"{name}_further", "stride"], f"{name}_further_px")
        add_range(parts, name, parts.node("Add", [f"{name}_further_px", "size"], f"{name}_stop"))


def _add_resampled(parts: Parts, values: str, channels: int) -> None:
    """Adds "resampled" (n, c, p, q): the frame's corner as it is where a descriptor's pixel is one of the frame's, which is most often so."""
    parts.constant("unit_step", np.array(1, np.float64))
    parts.constant("step_digits", np.array(_STEP_DIGITS))
    parts.node("Sub", ["step", "unit_step"], "beyond_unit_step")
    parts.node("Abs", ["beyond_unit_step"], "apart_from_unit_step")
    parts.node("Less", ["apart_from_unit_step", "step_digits"], "is_unit_step")
    unchanged, resampled = Parts(), Parts()
    unchanged.constant("corner", np.zeros(2, np.int64))
    unchanged.constant("cut_axes", np.array([1, 2], np.int64))
    unchanged.constant("as_vector", np.array([1], np.int64))
    for name in ("rows", "columns"):
        unchanged.node("Reshape", [f"{name}_stop", "as_vector"], f"{name}_stops")
    unchanged.node("Concat", ["rows_stops", "columns_stops"], "stops", axis=0)
    unchanged.node("Slice", [values, "corner", "stops", "cut_axes"], "cut")
    unchanged.node("Transpose", ["cut"], "resampled_unchanged", perm=[0, 3, 1, 2])
    given = {name: name for name in ("step", "rows", "columns", "taps")}
    resampled.insert(whole_frame_graph(channels), "whole", {"values": values, **given, "resampled": "resampled_whole"})
    shape = ["n", channels, "p", "q"]
    branches = {
        name: helper.make_graph(
            branch.nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], initializer=branch.constants
        )
        for name, branch, output in (("unchanged", unchanged, "resampled_unchanged"), ("whole", resampled, "resampled_whole"))
    }
    parts.node("If", ["is_unit_step"], "resampled", then_branch=branches["unchanged"], else_branch=branches["whole"])
