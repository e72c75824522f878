"""What an encoder in float32 costs end to end: the served graph beside itself with every number in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from services.engine.device import choose_device
from services.engine.loader import Loader
from services.mechanism.posterior import make_fixed
from training.data.patches_field import draw_patches_field

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
ROWS = 48
# Of issue 4: of the standard deviation of y, from raw inputs.
WITHIN = 1e-4


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, its float32 constants and casts made float64."""
    double = onnx.ModelProto()
    double.CopyFrom(model)
    graph = double.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.CopyFrom(helper.make_attribute(attribute.name, numpy_helper.from_array(values)))
    return double


def test_a_float32_encoder_moves_the_answer_by_less_than_a_ten_thousandth_of_sd_y() -> None:
    folder = max((BUNDLES / "patches_start").iterdir())
    loaded = Loader(choose_device("cpu", intra_op_threads=1), 64, make_fixed={"mechanism": make_fixed}).load(folder)
    drawn = draw_patches_field(ROWS, form="additive", noise=0.1, seed=5, stream="test").arrays
    runtime = loaded.runtimes["predict.float32"]
    given = {spec.name: drawn[spec.name] for spec in runtime.signature.inputs}
    try:
        served = runtime.run(given, None, loaded.fixed)
    finally:
        loaded.close()
    names = [spec.name for spec in runtime.signature.outputs]
    reference = ReferenceEvaluator(in_float64(onnx.load(folder / "predict.float32.onnx")))
    feeds = {name: values.astype(np.float64) for name, values in given.items()} | dict(loaded.fixed)
    wanted = dict(zip(names, reference.run(names, {each: feeds[each] for each in reference.input_names}), strict=True))
    sd = float(np.std(drawn["y"]))
    moved = float(np.max(np.abs(served["latents"] - wanted["latents"])))
    assert 0 < moved < 1e-3, "the reference is the same float32 graph"
    for name, scale in (("total_mean", sd), ("part_mean", sd), ("total_variance", sd**2), ("part_covariance", sd**2)):
        worst = float(np.max(np.abs(served[name] - wanted[name]))) / scale
        assert worst <= WITHIN, name
