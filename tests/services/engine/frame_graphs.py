"""The toy with graphs of frames: sums and averages that numpy can tell, to see what the engine does with lengths that vary.

frame_1: every output of a row is (row's centre and window) @ M · sum of the frame; dense_1: 8 × 8 averages of the frame, times window, times M.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from dichroic.bundle import Manifest, Signature, TensorSpec, read_bundle, write_bundle
from dichroic.bundle.arrays import Arrays, pack, unpack
from dichroic.bundle.files import GOLDEN_NAME
from dichroic.bundle.frames_section import DenseFrames, Frames, FrameStage
from dichroic.bundle.manifest import FileEntry
from dichroic.bundle.tensors import FixedSpec
from tests.toy_bundle import NDArray, write_toy

CELL = 8
SECTION = Frames(descriptor_px=CELL, standardised=False, stages=(FrameStage(window_px=8.0),), dense=DenseFrames(stride_px=8))


def weights(name: str, rows: int, width: int) -> NDArray:
    """M of one output: drawn, another one for each."""
    return np.random.default_rng(sum(map(ord, name))).standard_normal((rows, width)).astype(np.float32)


def frame_answer(output: TensorSpec, inputs: Arrays, frame: NDArray) -> NDArray:
    rows = np.column_stack((inputs["centre_px"], inputs["window_px"])) * np.float32(frame.sum() / 255)
    return squeezed(output, rows @ weights(output.name, 3, width(output)))


def dense_answer(output: TensorSpec, inputs: Arrays) -> NDArray:
    frames = inputs["frames"].astype(np.float32)
    n, height, across = frames.shape
    whole = frames[:, : height // CELL * CELL, : across // CELL * CELL].reshape(n, height // CELL, CELL, across // CELL, CELL)
    cells = whole.mean(axis=(2, 4)) * inputs["window_px"][:, None, None]
    return squeezed(output, cells[..., None] @ weights(output.name, 1, width(output)))


def width(output: TensorSpec) -> int:
    return output.shape[-1] if isinstance(output.shape[-1], int) else 1


def squeezed(output: TensorSpec, values: NDArray) -> NDArray:
    return values if isinstance(output.shape[-1], int) else values[..., 0]


def signatures(encode: Signature) -> dict[str, Signature]:
    """Of the toy's frames, by the outputs of its encode."""
    window = TensorSpec(name="window_px", dtype="float32", shape=("n",), axes=("batch",), unit="px", meaning="window")
    centre = window.model_copy(update={"name": "centre_px", "shape": ("n", 2), "axes": ("batch", "axis")})
    frame = FixedSpec(name="frame", dtype="uint8", shape=("H", "W"), source="request", meaning="the frame")
    frames = TensorSpec(name="frames", dtype="uint8", shape=("n", "H", "W"), axes=("frame", "row", "column"), unit="1", meaning="frames")
    explained = window.model_copy(update={"name": "explained"})
    spread = tuple(
        spec.model_copy(update={"shape": ("n", "R", "C", *spec.shape[1:]), "axes": ("frame", "row", "column", *spec.axes[1:])})
        for spec in encode.outputs
    )
    of_rows: dict[str, Any] = {"inputs": (centre, window), "fixed": (frame,), "max_batch": 8}
    return {
        "frame_1.uint8": Signature(graph="frame_1.uint8.onnx", outputs=encode.outputs, **of_rows),
        "explain_1.uint8": Signature(graph="explain_1.uint8.onnx", outputs=(explained,), **of_rows),
        "dense_1.uint8": Signature(graph="dense_1.uint8.onnx", inputs=(frames, window), outputs=spread, max_batch=1),
    }


def write_framed(bundles: Path, frame: NDArray | None = None) -> Path:
    """Writes the toy with its graphs of frames, as version 2; `frame` (H, W) uint8 is that of the golden example."""
    folder = write_toy(bundles)
    bundle = read_bundle(folder)
    found = signatures(bundle.manifest.signatures["encode.uint8"])
    golden = unpack(bundle.files[GOLDEN_NAME], path="")
    generator = np.random.default_rng(3)
    shown = generator.integers(0, 255, (20, 30), dtype=np.uint8) if frame is None else frame
    for name, signature in found.items():
        inputs: Arrays = {"window_px": np.full(3, 8, np.float32)}
        if name.startswith("dense"):
            inputs["frames"] = generator.integers(0, 255, (3, 17, 33), dtype=np.uint8)
            answers = {spec.name: dense_answer(spec, inputs) for spec in signature.outputs}
        else:
            inputs["centre_px"] = generator.random((3, 2)).astype(np.float32)
            answers = {spec.name: frame_answer(spec, inputs, shown) for spec in signature.outputs}
            golden[f"{name}/in/frame"] = shown
        golden |= {f"{name}/in/{tensor}": values for tensor, values in inputs.items()}
        golden |= {f"{name}/out/{tensor}": values.astype(np.float32) for tensor, values in answers.items()}
        golden |= {f"{name}/atol/{tensor}": np.array([1e-3 * max(1.0, float(np.abs(values).max()))]) for tensor, values in answers.items()}
    graphs = {signature.graph: _graph(name, signature) for name, signature in found.items()}
    files = bundle.files | graphs | {GOLDEN_NAME: pack(golden)}
    assert bundle.manifest.latent is not None
    changes: dict[str, Any] = {
        "files": tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=0) for path in files),
        "signatures": {**bundle.manifest.signatures, **found},
        "latent": bundle.manifest.latent.model_copy(update={"frames": SECTION}),
    }
    written, _ = write_bundle(bundles, Manifest.model_validate(bundle.manifest.model_copy(update=changes).model_dump()), files)
    return written


def _graph(name: str, signature: Signature) -> bytes:
    node, constants = helper.make_node, {"last": np.array([-1], np.int64)}
    if name.startswith("dense"):
        constants |= {"channel": np.array([1], np.int64), "four": np.array([-1, 1, 1, 1], np.int64)}
        nodes = [
            *(node("Cast", ["frames"], ["f"], to=TensorProto.FLOAT), node("Unsqueeze", ["f", "channel"], ["f4"])),
            node("AveragePool", ["f4"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
            node("Reshape", ["window_px", "four"], ["w4"]),
            *(node("Mul", ["pooled", "w4"], ["cells"]), node("Transpose", ["cells"], ["rows"], perm=[0, 2, 3, 1])),
        ]
    else:
        constants |= {"top": np.array(255, np.float32)}
        nodes = [
            *(node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT), node("ReduceSum", ["f"], ["total"], keepdims=0)),
            *(node("Div", ["total", "top"], ["sum"]), node("Unsqueeze", ["window_px", "last"], ["w"])),
            *(node("Concat", ["centre_px", "w"], ["r"], axis=1), node("Mul", ["r", "sum"], ["rows"])),
        ]
    for spec in signature.outputs:
        constants[f"{spec.name}.m"] = weights(spec.name, 1 if name.startswith("dense") else 3, width(spec))
        wide = isinstance(spec.shape[-1], int)
        nodes.append(node("MatMul", ["rows", f"{spec.name}.m"], [spec.name if wide else f"{spec.name}.wide"]))
        nodes += [] if wide else [node("Squeeze", [f"{spec.name}.wide", "last"], [spec.name])]
    types = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
    sides = [[helper.make_tensor_value_info(s.name, types[s.dtype], list(s.shape)) for s in specs] for specs in (
        (*signature.inputs, *signature.fixed), signature.outputs)]  # fmt: skip
    held = [numpy_helper.from_array(values, key) for key, values in constants.items()]
    graph = helper.make_graph(nodes, "frames", sides[0], sides[1], held)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    return data
