"""Weights stored once: every large constant of every graph moves to one safetensors file and is found there by its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from dichroic.bundle.arrays import pack
from dichroic.bundle.files import WEIGHTS_NAME

Array = np.ndarray[Any, np.dtype[Any]]

# Smaller constants stay in the graph: a reference would be larger than they are.
EXTERNAL_FROM_BYTES = 1024


def share_weights(graphs: Mapping[str, onnx.ModelProto], parameters: Mapping[str, Array]) -> tuple[dict[str, bytes], bytes]:
    """Moves every initializer of 1 KiB or more out of the graphs.

    Equal contents are stored once, under one name, which becomes the initializer's name in each graph: the parameter's name, with
    ".transposed" where the exporter turned it over, or "constant.<hash>" for a constant that is no parameter.

    Args:
        graphs: models with all their initializers inside, by signature; not changed.
        parameters: the model's parameters, by name.

    Returns:
        Each graph's bytes, and the safetensors file's bytes. Each external reference says where in that file the tensor's bytes lie.
    """
    names = {_key(array): name for name, array in parameters.items() if array.ndim}
    names |= {_key(array.T): f"{name}.transposed" for name, array in parameters.items() if array.ndim == 2 and _key(array.T) not in names}
    shared: dict[str, Array] = {}
    renamed = {signature: _rename(graph, names, shared) for signature, graph in sorted(graphs.items())}
    packed = pack(shared)
    places = _places(packed)
    return {signature: _externalise(graph, places) for signature, graph in renamed.items()}, packed


def _key(array: Array) -> str:
    data = np.ascontiguousarray(array)
    return hashlib.sha256(f"{data.dtype.str}|{data.shape}|".encode() + data.tobytes()).hexdigest()


def _rename(graph: onnx.ModelProto, names: Mapping[str, str], shared: dict[str, Array]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    new_names: dict[str, str] = {}
    kept: list[TensorProto] = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.nbytes >= EXTERNAL_FROM_BYTES:
            key = _key(array)
            name = names.get(key, f"constant.{key[:12]}")
            new_names[tensor.name] = name
            if name in shared and any(other.name == name for other in kept):
                continue  # the same content twice in one graph
            shared[name] = array
            tensor.name = name
        kept.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = new_names.get(name, name)
    return model


def _places(packed: bytes) -> dict[str, tuple[int, int]]:
    # A safetensors file: 8 bytes of header length, the JSON header, then the data; offsets count from the data's start.
    start = 8 + int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8:start])
    return {name: (start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0]) for name, entry in header.items()}


def _externalise(model: onnx.ModelProto, places: Mapping[str, tuple[int, int]]) -> bytes:
    for tensor in model.graph.initializer:
        if tensor.name in places and len(tensor.raw_data) >= EXTERNAL_FROM_BYTES:
            offset, length = places[tensor.name]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS_NAME), ("offset", str(offset)), ("length", str(length))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
    return model.SerializeToString(deterministic=True)
