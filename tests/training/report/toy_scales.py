"""The hand-made bundle with stages over frames whose answers can be told by head.

Stage k looks at two pixels of a window of length w about (r, c): a = frame[r, c] and b = frame[r, c + w/4]; its content is k·(a, b), the other way
round in even stages, its standard deviations ½, its angle tanh(a), its explained fraction 1 − w/100. Decoders of stages, where asked for, draw k at
every pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dichroic.bundle import Manifest, Signature, TensorSpec, read_bundle, write_bundle
from dichroic.bundle.frames_section import Frames, FrameStage
from dichroic.bundle.manifest import FileEntry
from dichroic.bundle.tensors import FixedSpec
from training.data.dataset import Array

SIDE = 16


def pixels_of(frame: Array, centres: Array, window: float) -> tuple[Array, Array]:
    """a and b of windows (n,)."""
    right = np.floor(np.float32(centres[:, 1] + np.float32(window) / 4)).astype(int)
    row, column = np.floor(centres.astype(np.float32)).astype(int).T
    return frame[row, column], frame[row, right]


def with_stages(
    bundle: Path,
    windows_px: tuple[float, ...] | None,
    windows_nm: tuple[float, ...] | None = None,
    *,
    standardised: bool = False,
    decoders: bool = False,
) -> Path:
    """Writes the next version of a hand-made bundle, with these stages; returns its folder."""
    found = read_bundle(bundle)
    manifest, files = found.manifest, dict(found.files)
    assert manifest.latent is not None
    count = len(windows_px or windows_nm or ())
    stages = [{"window_px": windows_px and windows_px[k], "window_nm": windows_nm and windows_nm[k]} for k in range(count)]
    frames = Frames(descriptor_px=SIDE, standardised=standardised, stages=tuple(FrameStage(**stage) for stage in stages))
    encode = manifest.signatures["encode.float32"]
    signatures = dict(manifest.signatures)
    for k in range(1, count + 1):
        for kind, outputs in (("frame", encode.outputs), ("explain", (_spec("explained", ()),))):
            name = f"{kind}_{k}.float32"
            signatures[name] = Signature(
                graph=f"{name}.onnx",
                inputs=(_spec("centre_px", (2,)), _spec("window_px", ())),
                outputs=outputs,
                fixed=(FixedSpec(name="frame", dtype="float32", shape=("H", "W"), source="request", meaning="the frame"),),
                max_batch=50,
            )
            files[f"{name}.onnx"] = _graph(k, signatures[name])
    for k in range(1, count) if decoders else ():
        signatures[f"decode_{k}"] = signatures["decode"].model_copy(update={"graph": f"decode_{k}.onnx"})
        files[f"decode_{k}.onnx"] = _decoder(k, signatures["decode"])
    changes: dict[str, Any] = {
        "format_version": "1.5" if decoders else "1.4",
        "files": tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=0) for path in files),
        "signatures": signatures,
        "latent": manifest.latent.model_copy(update={"frames": frames}),
    }
    return write_bundle(bundle.parents[1], Manifest.model_validate(manifest.model_copy(update=changes).model_dump()), files)[0]


def _spec(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=("n", *shape), axes=("n", *("axis" for _ in shape)), unit="px", meaning=name)


def _decoder(stage: int, decode: Signature) -> bytes:
    """Draws its stage's number at every pixel."""
    node, constants = helper.make_node, {"stage": np.full((1, SIDE, SIDE), stage, np.float32), "zero": np.zeros((2, 1), np.float32)}
    nodes = [
        node("MatMul", ["content", "zero"], ["none"]),
        node("Unsqueeze", ["none", "last"], ["nothing"]),
        node("Add", ["nothing", "stage"], ["images"]),
    ]
    given, told = (
        [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape)) for spec in side] for side in (decode.inputs, decode.outputs)
    )
    constants["last"] = np.array([2], np.int64)
    graph = helper.make_graph(nodes, "decoder", given, told, [numpy_helper.from_array(values, key) for key, values in constants.items()])
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    return data


def _graph(stage: int, signature: Signature) -> bytes:
    node, order = helper.make_node, ["b", "a"] if stage % 2 == 0 else ["a", "b"]
    constants = {
        "last": np.array([1], np.int64),
        "quarter": np.array([0, 0.25], np.float32),
        "stage": np.array(stage, np.float32),
        "hundredth": np.array(0.01, np.float32),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.float32),
        "half": np.array(0.5, np.float32),
    }
    nodes = [
        *(
            node("Unsqueeze", ["window_px", "last"], ["w"]),
            node("Mul", ["w", "quarter"], ["offset"]),
            node("Add", ["centre_px", "offset"], ["right"]),
        ),
        *(node("Cast", ["centre_px"], ["at"], to=TensorProto.INT64), node("Cast", ["right"], ["beside"], to=TensorProto.INT64)),
        *(node("GatherND", ["frame", "at"], ["a1"]), node("GatherND", ["frame", "beside"], ["b1"])),
        *(node("Unsqueeze", ["a1", "last"], ["a"]), node("Unsqueeze", ["b1", "last"], ["b"]), node("Concat", order, ["both"], axis=1)),
        *(node("Mul", ["both", "stage"], ["content"]), node("Identity", ["content"], ["latent_mean"])),
        *(node("Mul", ["content", "zero"], ["none"]), node("Add", ["none", "half"], ["content_sd"]), node("Identity", ["content_sd"], ["latent_sd"])),
        *(
            node("Tanh", ["a1"], ["angle_rad"]),
            node("Mul", ["a1", "zero"], ["shift_down_px"]),
            node("Identity", ["shift_down_px"], ["shift_right_px"]),
        ),
        *(node("Add", ["shift_down_px", "one"], ["scale"]), node("Identity", ["scale"], ["angle_sd_rad"])),
        *(node("Mul", ["window_px", "hundredth"], ["less"]), node("Add", ["less", "shift_down_px"], ["lesser"])),
        node("Sub", ["one", "lesser"], ["explained"]),
    ]
    given = [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape)) for spec in (*signature.inputs, *signature.fixed)]
    told = [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape)) for spec in signature.outputs]
    graph = helper.make_graph(nodes, "stage", given, told, [numpy_helper.from_array(values, key) for key, values in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
