"""The graphs of a mechanism bundle, put together: encoders side by side, their latents standardised, the posterior behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.export.onnx_models import ELEMENT_TYPES, checked_model
from training.mechanism.encoders import IMAGE_DTYPES, Encoder

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Standardisation:
    """z = (raw − mean)/sd, frozen with the model. `mean` and `sd` (D,), sd 1 where a latent is constant in training."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, raw: Array) -> Standardisation:
        """From the training points' raw latents (N, D)."""
        sd = raw.std(axis=0)
        return cls(raw.mean(axis=0), np.where(sd > 1e-12 * np.maximum(1.0, np.abs(raw).max(axis=0)), sd, 1.0))

    def __call__(self, raw: Array) -> Array:
        """Standardised latents (n, D)."""
        result: Array = (raw - self.mean) / self.sd
        return result


def dtypes_of(encoders: Sequence[Encoder]) -> tuple[str, ...]:
    """The ends of the names of the signatures that take raw inputs: what images may come in."""
    return IMAGE_DTYPES if any("" not in encoder.graphs for encoder in encoders) else ("float32",)


def encode_graph(encoders: Sequence[Encoder], standardisation: Standardisation, dtype: str) -> onnx.ModelProto:
    """All mechanisms, each by its name, to the standardised `latents` (n, D) float64; images come in `dtype`."""
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    inputs = []
    for encoder in encoders:
        part = encoder.graphs[dtype if "" not in encoder.graphs else ""]
        renamed = prefixed(part, f"{encoder.name}.", keep={encoder.name})
        nodes += renamed.graph.node
        initializers += renamed.graph.initializer
        element = dtype if "" not in encoder.graphs else encoder.input.dtype
        inputs.append(helper.make_tensor_value_info(encoder.name, ELEMENT_TYPES[element], list(encoder.input.shape)))
    nodes += [
        helper.make_node("Concat", [f"{encoder.name}.latents" for encoder in encoders], ["raw_latents"], axis=1),
        helper.make_node("Sub", ["raw_latents", "latent_mean"], ["latents_above_mean"]),
        helper.make_node("Div", ["latents_above_mean", "latent_sd"], ["latents"]),
    ]
    initializers += [numpy_helper.from_array(standardisation.mean, "latent_mean"), numpy_helper.from_array(standardisation.sd, "latent_sd")]
    latents = helper.make_tensor_value_info("latents", TensorProto.DOUBLE, ["n", len(standardisation.mean)])
    return checked_model(nodes, inputs, [latents], initializers)


def joined(encode: onnx.ModelProto, posterior: onnx.ModelProto) -> onnx.ModelProto:
    """One graph from raw inputs, and the posterior's arrays, to what the posterior tells and the latents."""
    outputs = list(posterior.graph.output)
    fixed = [value for value in posterior.graph.input if value.name != "latents"]
    behind = prefixed(posterior, "posterior.", keep={"latents", *(value.name for value in (*outputs, *fixed))})
    return checked_model(
        [*encode.graph.node, *behind.graph.node],
        [*encode.graph.input, *fixed],
        [*outputs, *encode.graph.output],
        [*encode.graph.initializer, *behind.graph.initializer],
    )


def prefixed(model: onnx.ModelProto, prefix: str, keep: set[str]) -> onnx.ModelProto:
    """A copy in which every value's name but those in `keep` begins with `prefix`."""
    result = onnx.ModelProto()
    result.CopyFrom(model)

    def renamed(name: str) -> str:
        return name if not name or name in keep else prefix + name

    for node in result.graph.node:
        node.name = prefix + node.name if node.name else ""
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for tensor in result.graph.initializer:
        tensor.name = renamed(tensor.name)
    return result
