"""Runs a bundle's graphs with ONNX Runtime as a server does: from bytes, with the shared weights handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from dichroic.bundle.arrays import unpack
from dichroic.bundle.files import WEIGHTS_NAME

Array = np.ndarray[Any, np.dtype[Any]]


class GraphRunner:
    """One graph of a bundle on the CPU, one thread."""

    def __init__(self, graph: bytes, weights: bytes | None, output_names: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        wanted = external_names(graph)
        held = {} if weights is None else unpack(weights, path=WEIGHTS_NAME)
        # Both lists live as long as the session: it does not copy.
        self._shared = {name: array for name, array in held.items() if name in wanted}
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._shared.values()]
        options.add_external_initializers(list(self._shared), values)
        self._values = values
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._outputs = list(output_names)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One batch: inputs by name to outputs by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def external_names(graph: bytes) -> set[str]:
    """Initializers whose bytes lie in the weights file."""
    model = onnx.load_from_string(graph)
    return {tensor.name for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL}
