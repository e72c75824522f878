"""torch module → ONNX graph: the dynamo exporter's output, cleaned of everything that names this machine, with a front for each dtype."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from dichroic.bundle import Preprocessing, TensorSpec
from training.export.modules import input_range
from training.export.onnx_models import ELEMENT_TYPES, OPSET, checked_model

# The exporter specialises a batch of 1; any other number stays a symbol.
_EXAMPLE_ROWS = 3


def to_graph(module: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """Exports a module with float32 inputs, batch axis "n".

    Args:
        module: takes the inputs in order, returns the outputs in order.
        inputs: names and shapes.
        outputs: names and shapes.

    Returns:
        A model whose initializers are all inside; no metadata, no documentation strings.
    """
    example = tuple(torch.zeros((_EXAMPLE_ROWS, *spec.row_shape)) for spec in inputs)
    axis = {0: torch.export.Dim("n")}
    shapes: object = tuple(axis for _ in inputs)
    if _takes_any_number(module):
        shapes = (shapes,)
    return exported(module, example, shapes, [value_info(spec) for spec in inputs], [value_info(spec) for spec in outputs])


def exported(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    shapes: object,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Exports a module as it answers an example; `shapes` names the axes that vary, as torch.export.export takes them."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch and onnxscript about their own insides
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=[value.name for value in inputs],
            output_names=[value.name for value in outputs],
            dynamic_shapes=shapes,  # type: ignore[arg-type]
            verbose=False,
        )
    assert program is not None  # noqa: S101 (dynamo=True returns a program)
    return _cleaned(program.model_proto, inputs, outputs)


def with_front(core: onnx.ModelProto, images: TensorSpec, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Puts cast and normalisation before a graph that takes `values` (n, h, w, c) first.

    The new first input is `images`, or `spectra`, of its own dtype and shape; further inputs stay.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    kind, row = images.name, 1 if images.name == "images" else 0  # images have rows before what a row holds
    single = len(images.shape) == row + 2
    low, span = (part.numpy() for part in input_range(preprocessing, images.dtype))
    # One number, or one for each value of an image's row: what is repeated along an axis of one or three values is not vectorised.
    shape = () if single else images.row_shape[row:]
    low, span = (np.broadcast_to(part[0] if single else part, shape).copy() for part in (low, span))
    constants = [numpy_helper.from_array(low, "low"), numpy_helper.from_array(span, "span")]
    missing = ([] if row else [1]) + ([3] if single else [])
    last = f"{kind}_normalised" if missing else "values"
    nodes = [
        helper.make_node("Cast", [kind], [f"{kind}_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", [f"{kind}_float", "low"], [f"{kind}_above_low"]),
        helper.make_node("Div", [f"{kind}_above_low", "span"], [last]),
    ]
    if missing:
        constants.append(numpy_helper.from_array(np.array(missing, dtype=np.int64), "channel_axis"))
        nodes.append(helper.make_node("Unsqueeze", [last, "channel_axis"], ["values"]))
    graph = helper.make_graph([*nodes, *core.graph.node], core.graph.name, [value_info(images), *core.graph.input[1:]], list(core.graph.output))
    graph.initializer.extend([*core.graph.initializer, *constants])
    model.graph.CopyFrom(graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _takes_any_number(module: nn.Module) -> bool:
    return module.forward.__code__.co_flags & 0x04 != 0  # *args: torch.export nests their shapes once more


def _cleaned(model: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
    nodes = []
    for index, node in enumerate(model.graph.node):
        bare = helper.make_node(node.op_type, node.input, node.output, name=f"node_{index}", domain=node.domain)
        bare.attribute.extend(node.attribute)
        nodes.append(bare)
    initializers = [numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name) for tensor in model.graph.initializer]
    return checked_model(nodes, inputs, outputs, initializers)


def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """A tensor as a graph declares it."""
    return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype], list(spec.shape))
