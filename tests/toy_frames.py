"""A small latent bundle of whole images, made with onnx.helper alone, whose answers numpy can tell: for tests of everything that serves frames.

A window becomes a SIDE x SIDE descriptor x by a box filter, whatever its length; content = x @ W of its stage, explained = the mean of x,
shifts = the first content latents in pixels of the frame, class = softmax of content @ C. The dense graphs tell the same on their grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from dichroic.bundle import FORMAT_VERSION, LatentSection, Manifest, Preprocessing, Signature, TensorSpec, TrainingData, write_bundle
from dichroic.bundle.arrays import pack
from dichroic.bundle.files import GOLDEN_NAME, README_NAME
from dichroic.bundle.frames_section import DenseFrames, Frames, FrameStage
from dichroic.bundle.manifest import Calibration, FileEntry, Producer
from dichroic.bundle.tensors import FixedSpec

NDArray = np.ndarray[Any, np.dtype[Any]]
ONNX = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
TOP = {"uint8": 255.0, "float32": 1.0}
SIDE, WIDTH = 4, 2
CLASSES = ("dark", "bright")
OUTPUTS = {"shift_down_px": (), "shift_right_px": (), "content": (WIDTH,), "content_sd": (WIDTH,), "latent_mean": (WIDTH,), "latent_sd": (WIDTH,)}


@dataclass(frozen=True)
class ToyFrames:
    """What the toy must answer. `window_px`: of its stages, at 2 nm a pixel; `dense_px`: the dense encoder's step, of the descriptor; 0: none."""

    window_px: tuple[float, ...] = (4.0, 8.0)
    in_px: bool = True
    in_nm: bool = True
    dense_px: int = 1
    classes: tuple[str, ...] = CLASSES

    def weights(self, stage: int) -> NDArray:
        return np.random.default_rng(stage).standard_normal((SIDE, SIDE, WIDTH)).astype(np.float32) / SIDE

    def to_classes(self) -> NDArray:
        return np.random.default_rng(99).standard_normal((WIDTH, len(self.classes) or 1)).astype(np.float32)

    def descriptors(self, frame: NDArray, centres: NDArray, window: float) -> NDArray:
        """(n, SIDE, SIDE): the mean over each of the window's cells, pixels that are not finite taken as 0."""
        x = frame.astype(np.float64) / TOP[frame.dtype.name]
        x = np.where(np.isfinite(x), x, 0)
        return np.stack([_overlap(r, window, x.shape[0]) @ x @ _overlap(c, window, x.shape[1]).T for r, c in centres])

    def told(self, x: NDArray, stage: int, pixels: float) -> dict[str, NDArray]:
        """What every row of descriptors is answered; `pixels` of the input in one of the descriptor's."""
        content = np.einsum("nij,ijl->nl", x, self.weights(stage))
        answer = {
            "shift_down_px": content[:, 0] * pixels,
            "shift_right_px": content[:, 1] * pixels,
            "content": content,
            "content_sd": 0 * content,
            "latent_mean": content,
            "latent_sd": 0 * content,
        }
        if self.classes:
            powers = np.exp(content @ self.to_classes())
            answer["class_probabilities"] = powers / powers.sum(axis=1, keepdims=True)
        return answer

    def encode_frame(self, frame: NDArray, centres: NDArray, window: float, stage: int) -> dict[str, NDArray]:
        """The answer's arrays, (n, ...)."""
        x = self.descriptors(frame, centres, window)
        return self.told(x, stage, window / SIDE) | {"explained": x.mean(axis=(1, 2))}


def grid(height: int, width: int, window: float, stride: float) -> NDArray:
    """(n, 2): the centres of a grid, row after row, counted by hand."""
    along = [[window / 2 + i * stride for i in range(10_000) if window + i * stride <= length + 1e-6] for length in (height, width)]
    return np.array([(r, c) for r in along[0] for c in along[1]])


def _overlap(centre: float, window: float, length: int) -> NDArray:
    """(SIDE, length): the share of each cell that each pixel has."""
    step = window / SIDE
    weights = np.zeros((SIDE, length))
    for i in range(SIDE):
        low = centre - window / 2 + i * step
        for y in range(length):
            weights[i, y] = max(0.0, min(low + step, y + 1) - max(low, y)) / step
    return weights


def write_frames(bundles: Path, toy: ToyFrames = ToyFrames(), *, name: str = "frames", **changes: Any) -> Path:
    """Writes the next version of the toy; `changes` replace fields of the manifest. Returns the version's folder."""
    outputs = OUTPUTS | ({"class_probabilities": (len(toy.classes),)} if toy.classes else {})
    signatures: dict[str, Signature] = {}
    files = {README_NAME: b"# Frames\n\nMade by the tests.\n"}
    golden: dict[str, NDArray] = {}
    kinds = [
        ("encode", 1),
        *((kind, k + 1) for k in range(len(toy.window_px)) for kind in ("frame", "explain", "dense") if kind != "dense" or toy.dense_px),
    ]
    for dtype in ONNX:
        for kind, stage in kinds:
            key = f"{kind}.{dtype}" if kind == "encode" else f"{kind}_{stage}.{dtype}"
            signatures[key] = _signature(kind, dtype, f"{key}.onnx", outputs)
            files[f"{key}.onnx"] = _graph(toy, kind, stage, dtype, signatures[key])
            golden |= _golden(key, signatures[key], files[f"{key}.onnx"])
    files[GOLDEN_NAME] = pack(golden)
    stages = tuple(FrameStage(window_px=w if toy.in_px else None, window_nm=2 * w if toy.in_nm else None) for w in toy.window_px)
    frames = Frames(descriptor_px=SIDE, standardised=False, stages=stages, dense=DenseFrames(stride_px=toy.dense_px) if toy.dense_px else None)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        version=1,
        kind="latent",
        created_time="2026-01-01T00:00:00Z",
        producer=Producer(git_commit="", packages={}),
        files=tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=0) for path in files),
        signatures=signatures,
        preprocessing=Preprocessing(unit="1", input_low=(0.0,), input_high=(1.0,), clip=False, integer_images="full_scale"),
        calibration=Calibration(),
        training_data=TrainingData(source="none", licence="MIT", sha256=("0" * 64,)),
        latent=LatentSection(
            invariances=("translation",),
            image_height_px=SIDE,
            image_width_px=SIDE,
            channels=1,
            pixel_size_nm=2.0,
            content_size=WIDTH,
            latent_names=("content_1", "content_2"),
            shift_prior_sd=0.1,
            likelihood="gaussian",
            class_names=toy.classes,
            class_source="joint" if toy.classes else "",
            frames=frames,
        ),
    )
    folder, _ = write_bundle(bundles, manifest.model_copy(update=changes), files)
    return folder


def _spec(name: str, *row: int | str, dtype: Any = "float32", non_finite: bool = False) -> TensorSpec:
    axes = ("batch", *("axis",) * len(row))
    return TensorSpec(name=name, dtype=dtype, shape=("n", *row), axes=axes, unit="1", takes_non_finite=non_finite, meaning="as the toy says")


def _signature(kind: str, dtype: Any, path: str, outputs: dict[str, tuple[int, ...]]) -> Signature:
    rows: tuple[str, ...] = ("R", "C") if kind == "dense" else ()
    told = tuple(_spec(name, *rows, *row) for name, row in outputs.items())
    window = _spec("window_px")
    if kind == "encode":
        return Signature(graph=path, inputs=(_spec("images", SIDE, SIDE, dtype=dtype),), outputs=told, max_batch=64)
    if kind == "dense":
        frames = _spec("frames", "H", "W", dtype=dtype, non_finite=dtype == "float32")
        return Signature(graph=path, inputs=(frames, window), outputs=told, max_batch=1)
    frame = FixedSpec(name="frame", dtype=dtype, shape=("H", "W"), source="request", meaning="the whole image")
    return Signature(
        graph=path, inputs=(_spec("centre_px", 2), window), fixed=(frame,), outputs=(_spec("explained"),) if kind == "explain" else told, max_batch=64
    )


def _graph(toy: ToyFrames, kind: str, stage: int, dtype: str, signature: Signature) -> bytes:
    node, nodes = helper.make_node, []
    constants: dict[str, NDArray] = {
        "weights": toy.weights(stage),
        "classes": toy.to_classes(),
        "top": np.array(TOP[dtype], np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
        "inside": np.array(1e-6, np.float32),
        "side": np.array(SIDE, np.float32),
        "step_of": np.array(toy.dense_px / SIDE, np.float32),
        "cells": np.arange(SIDE, dtype=np.float32).reshape(1, SIDE, 1),
        "middle": np.array([1, 2]),
        "at_0": np.array(0),
        "at_1": np.array(1),
        "at_2": np.array(2),
    }
    source = {"encode": "images", "frame": "frame", "explain": "frame", "dense": "frames"}[kind]
    nodes += [node("Cast", [source], ["cast"], to=TensorProto.FLOAT), node("Div", ["cast", "top"], ["all"])]
    nodes += [node("IsNaN", ["all"], ["nan"]), node("IsInf", ["all"], ["inf"]), node("Or", ["nan", "inf"], ["bad"])]
    nodes += [node("Where", ["bad", "zero", "all"], ["finite"])]
    if kind == "encode":
        nodes += [node("Identity", ["finite"], ["x"]), node("Identity", ["one"], ["pixels"])]
        nodes += [node("Einsum", ["x", "weights"], ["content"], equation="nij,ijl->nl")]
    else:
        nodes += [node("Shape", ["finite"], ["shape"]), node("Cast", ["shape"], ["sides"], to=TensorProto.FLOAT)]
        for axis, letter in enumerate("rc"):
            nodes += [node("Gather", ["sides", f"at_{axis + (kind == 'dense')}"], [f"{letter}_side"])]
            nodes += [node("Range", ["zero", f"{letter}_side", "one"], [f"{letter}_y"]), node("Add", [f"{letter}_y", "one"], [f"{letter}_y1"])]
            nodes += _centres(kind, axis, letter)
            nodes += [node("Div", ["window", "side"], [f"{letter}_step"]), node("Div", ["window", "two"], [f"{letter}_half"])]
            nodes += [node("Sub", [f"{letter}_centre", f"{letter}_half"], [f"{letter}_low0"])]
            nodes += [
                node("Mul", ["cells", f"{letter}_step"], [f"{letter}_down"]),
                node("Add", [f"{letter}_low0", f"{letter}_down"], [f"{letter}_low"]),
            ]
            nodes += [node("Add", [f"{letter}_low", f"{letter}_step"], [f"{letter}_high"])]
            nodes += [
                node("Min", [f"{letter}_high", f"{letter}_y1"], [f"{letter}_to"]),
                node("Max", [f"{letter}_low", f"{letter}_y"], [f"{letter}_from"]),
            ]
            nodes += [node("Sub", [f"{letter}_to", f"{letter}_from"], [f"{letter}_o"]), node("Relu", [f"{letter}_o"], [f"{letter}_p"])]
            nodes += [node("Div", [f"{letter}_p", f"{letter}_step"], [f"{letter}_weights"])]
        if kind in ("frame", "explain"):
            nodes += [node("Einsum", ["r_weights", "finite"], ["half"], equation="nih,hw->niw")]
            nodes += [node("Einsum", ["half", "c_weights"], ["x"], equation="niw,njw->nij")]
            nodes += [node("Einsum", ["x", "weights"], ["content"], equation="nij,ijl->nl")]
            nodes += [node("ReduceMean", ["x", "middle"], ["explained"], keepdims=0), node("Div", ["window_px", "side"], ["pixels"])]
        else:
            nodes += [node("Einsum", ["r_weights", "finite"], ["half"], equation="rih,nhw->nriw")]
            nodes += [node("Einsum", ["half", "c_weights"], ["x"], equation="nriw,cjw->nricj")]
            nodes += [node("Einsum", ["x", "weights"], ["content"], equation="nricj,ijl->nrcl")]
            nodes += [node("Div", ["window_px", "side"], ["ratio"]), node("Unsqueeze", ["ratio", "middle"], ["pixels"])]
    if kind == "explain":
        return _model(kind, nodes, constants, signature)
    last = 3 if kind == "dense" else 1
    constants |= {"last": np.array([last]), "halves": np.array([1, 1])}
    nodes += [node("Split", ["content", "halves"], ["d1", "r1"], axis=last)]
    nodes += [node("Squeeze", [a, "last"], [b]) for a, b in (("d1", "d0"), ("r1", "r0"))]
    nodes += [node("Mul", [a, "pixels"], [b]) for a, b in (("d0", "shift_down_px"), ("r0", "shift_right_px"))]
    nodes += [node("Mul", ["content", "zero"], ["content_sd"]), node("Identity", ["content"], ["latent_mean"])]
    nodes += [node("Identity", ["content_sd"], ["latent_sd"])]
    if toy.classes:
        nodes += [node("MatMul", ["content", "classes"], ["logits"]), node("Softmax", ["logits"], ["class_probabilities"], axis=-1)]
    return _model(kind, nodes, constants, signature)


def _centres(kind: str, axis: int, letter: str) -> list[Any]:
    """`<letter>_centre` (n, 1, 1), given or of the grid, and `window` beside it."""
    node = helper.make_node
    if kind != "dense":
        own = [node("Unsqueeze", ["window_px", "middle"], ["window"])] if axis == 0 else []
        return [
            *own,
            node("Gather", ["centre_px", f"at_{axis}"], [f"{letter}_given"], axis=1),
            node("Unsqueeze", [f"{letter}_given", "middle"], [f"{letter}_centre"]),
        ]
    own = [node("ReduceMax", ["window_px"], ["window"], keepdims=0), node("Mul", ["window", "step_of"], ["stride"])] if axis == 0 else []
    return [
        *own,
        node("Sub", [f"{letter}_side", "window"], [f"{letter}_left"]),
        node("Add", [f"{letter}_left", "inside"], [f"{letter}_slack"]),
        node("Div", [f"{letter}_slack", "stride"], [f"{letter}_along"]),
        node("Floor", [f"{letter}_along"], [f"{letter}_last"]),
        node("Add", [f"{letter}_last", "one"], [f"{letter}_count"]),
        node("Range", ["zero", f"{letter}_count", "one"], [f"{letter}_number"]),
        node("Mul", [f"{letter}_number", "stride"], [f"{letter}_offset"]),
        node("Div", ["window", "two"], [f"{letter}_begin"]),
        node("Add", [f"{letter}_offset", f"{letter}_begin"], [f"{letter}_flat"]),
        node("Unsqueeze", [f"{letter}_flat", "middle"], [f"{letter}_centre"]),
    ]


def _model(kind: str, nodes: list[Any], constants: dict[str, NDArray], signature: Signature) -> bytes:
    used = {name for item in nodes for name in item.input}
    initializers = [
        helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape, v.tobytes(), raw=True) for n, v in constants.items() if n in used
    ]
    inputs = [helper.make_tensor_value_info(s.name, ONNX[s.dtype], list(s.shape)) for s in (*signature.inputs, *signature.fixed)]
    outputs = [helper.make_tensor_value_info(s.name, ONNX[s.dtype], list(s.shape)) for s in signature.outputs]
    graph = helper.make_graph(nodes, kind, inputs, outputs, initializers)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    return data


def _golden(key: str, signature: Signature, graph: bytes) -> dict[str, NDArray]:
    """Inputs, and what the graph itself answers: whether that is right the tests ask numpy."""
    random = np.random.default_rng(7)
    frame = random.random((12, 10)).astype(np.float32)
    frame = (frame * 255).astype(np.uint8) if key.endswith("uint8") else frame
    given: dict[str, dict[str, NDArray]] = {
        "encode": {"images": frame[None, :SIDE, :SIDE].repeat(2, axis=0)},
        "frame": {"centre_px": np.array([[5, 5], [6, 4.5]], np.float32), "window_px": np.array([4, 8], np.float32), "frame": frame},
        "dense": {"frames": np.stack([frame, frame[::-1]]), "window_px": np.array([6, 6], np.float32)},
    }
    given["explain"] = given["frame"]
    inputs = given[key.partition(".")[0].partition("_")[0]]
    answers = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, inputs)
    golden = {f"{key}/in/{name}": values for name, values in inputs.items()}
    for spec, answer in zip(signature.outputs, answers, strict=True):
        golden |= {f"{key}/out/{spec.name}": answer, f"{key}/atol/{spec.name}": np.array([1e-5])}
    return golden
