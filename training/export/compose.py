"""Graphs put together from graphs: one exported from torch becomes a part of another, and gets the weights of another model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]
# How torch's exporter names the parameters of the model inside the bundle's modules.
_MODEL = "model."


@dataclass
class Parts:
    """Nodes and constants of a graph that is being made."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One node more; the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"of_{output}", **attributes))
        return output

    def constant(self, name: str, values: Array) -> str:
        """One constant more; its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def insert(self, graph: onnx.ModelProto, prefix: str, names: Mapping[str, str]) -> None:
        """A whole graph: its tensors get the prefix, but its inputs, and outputs, those names that are given."""
        known = {name: names.get(name, f"{prefix}.{name}") for name in _tensor_names(graph)} | {"": ""}
        for node in graph.graph.node:
            placed = helper.make_node(
                node.op_type, [known[n] for n in node.input], [known[n] for n in node.output], name=f"{prefix}.{node.name}", domain=node.domain
            )
            placed.attribute.extend(node.attribute)
            self.nodes.append(placed)
        for tensor in graph.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = known[tensor.name]
            self.constants.append(copy)


def with_weights(graph: onnx.ModelProto, own: Mapping[str, Array], others: Mapping[str, Array]) -> onnx.ModelProto:
    """The graph of a model with the weights of another of the same structure.

    Args:
        graph: as it was exported, initializers inside.
        own: the exported model's parameters by name.
        others: the other's.

    Raises:
        ValueError: a constant stands for two parameters which differ in the other model.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name.partition(_MODEL)[2]
        if name in own and np.array_equal(own[name], values):
            found = [others[name]]
        else:  # the exporter turns some matrices over, and gives them names of its own
            found = [others[key].T for key, array in own.items() if array.ndim == 2 and np.array_equal(array.T, values)]
        if any(not np.array_equal(found[0], other) for other in found[1:]):
            raise ValueError(f"{tensor.name} may be any of {len(found)} parameters that are equal in one model and differ in the other")
        if found:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(found[0]), tensor.name))
    return model


def _tensor_names(graph: onnx.ModelProto) -> set[str]:
    names = {tensor.name for tensor in graph.graph.initializer} | {value.name for value in graph.graph.input}
    return names | {name for node in graph.graph.node for name in (*node.input, *node.output)}
