"""What every graph of a bundle has in common, whoever made its nodes. No torch at import."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

OPSET = 20
IR_VERSION = 10
ELEMENT_TYPES = {
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}


def checked_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto],
) -> onnx.ModelProto:
    """A model of these nodes, checked whole.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: they make none.
    """
    graph = helper.make_graph(list(nodes), "dichroic", list(inputs), list(outputs), list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="dichroic")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
