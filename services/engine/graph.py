"""From checked bytes to an ONNX Runtime session whose inputs and outputs are exactly what the manifest promises."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.files import WEIGHTS_NAME
from dichroic.bundle.tensors import FixedSpec
from dichroic.errors import BundleRefusedError
from services.engine.device import CUDA, ChosenDevice

ONNX_TYPES = {
    "uint8": "tensor(uint8)",
    "uint16": "tensor(uint16)",
    "int64": "tensor(int64)",
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "bool": "tensor(bool)",
}


def open_session(name: str, graph: bytes, signature: Signature, weights: Arrays, device: ChosenDevice) -> ort.InferenceSession:
    """Opens the graph on the device and compares it with its signature.

    Raises:
        BundleRefusedError: step "graph" (not ONNX, refers to data outside the bundle, does not load) or "signature" (another shape or dtype).
    """
    wanted = _external_names(name, graph)
    missing = sorted(wanted - weights.keys())
    if missing:
        raise BundleRefusedError("graph", "MISSING_WEIGHTS", f"{signature.graph} needs {missing[:3]}, which {WEIGHTS_NAME} does not hold.")
    options = _session_options(device)
    if wanted:
        names = sorted(wanted)
        options.add_external_initializers(names, [ort.OrtValue.ortvalue_from_numpy(weights[key]) for key in names])
    try:
        session = ort.InferenceSession(graph, options, providers=device.providers)
    except Exception as error:  # ONNX Runtime raises a family of its own types
        raise BundleRefusedError("graph", "GRAPH_REFUSED", f"{signature.graph} does not load in ONNX Runtime: {error}.") from error
    if device.name == "cuda" and session.get_providers()[0] != CUDA:
        raise BundleRefusedError("graph", "NOT_ON_DEVICE", f"{signature.graph} came up without the CUDA provider on a server that runs on cuda.")
    _compare(name, "input", (*signature.inputs, *signature.fixed), session.get_inputs())
    _compare(name, "output", signature.outputs, session.get_outputs())
    return session


def _session_options(device: ChosenDevice) -> ort.SessionOptions:
    _share_memory()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = device.intra_op_threads
    options.inter_op_num_threads = 1
    # Spinning threads take the core from gRPC between two requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


@functools.cache
def _share_memory() -> None:
    """One arena of the process for what runs need between input and output.

    Of its own each session would keep the most that it ever needed, for good: half a gigabyte for every graph that was once asked about a frame of
    4000² pixels.
    """
    cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(cpu, None)


def _external_names(name: str, graph: bytes) -> set[str]:
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise BundleRefusedError("graph", "NOT_ONNX", f"The graph of {name} is not an ONNX file.") from error
    names: set[str] = set()
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if location != WEIGHTS_NAME:
            raise BundleRefusedError(
                "graph", "EXTERNAL_DATA", f"The graph of {name} refers to data in {location!r}; only {WEIGHTS_NAME!r} in the bundle is allowed."
            )
        names.add(tensor.name)
    return names


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    # Attributes hold tensors and, for If, Loop and Scan, whole graphs.
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
        for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            yield from _graph_tensors(inner)


def _compare(name: str, side: str, promised: tuple[TensorSpec | FixedSpec, ...], found: list[ort.NodeArg]) -> None:
    if [spec.name for spec in promised] != [arg.name for arg in found]:
        raise _mismatch(f"{name}: the manifest's {side}s are {[s.name for s in promised]}, the graph's {[a.name for a in found]}.")
    for spec, arg in zip(promised, found, strict=True):
        same_rank = len(arg.shape) == len(spec.shape)
        lengths_agree = same_rank and all(
            isinstance(have, str) or have is None or have == want for want, have in zip(spec.shape, arg.shape, strict=True)
        )
        # A fixed batch axis disagrees with "n": it would answer one batch size only.
        if arg.type != ONNX_TYPES[spec.dtype] or not lengths_agree:
            raise _mismatch(f"{name}: {side} {spec.name} is {spec.dtype}{list(spec.shape)} in the manifest, {arg.type}{arg.shape} in the graph.")


def _mismatch(message: str) -> BundleRefusedError:
    return BundleRefusedError("signature", "SIGNATURE_MISMATCH", message)


def empty_inputs(signature: Signature, rows: int) -> Arrays:
    """Zeros of the right shapes, `rows` rows: for warming up a signature without named axes."""
    return {spec.name: np.zeros((rows, *spec.row_shape), dtype=spec.dtype) for spec in signature.inputs}
