"""A small latent bundle made with onnx.helper alone, whose answers numpy can tell: for tests of everything that serves, without torch.

content = x @ W[:, :2], angle = pi * tanh(x @ W[:, 2]), shifts = x @ W[:, 3:5]; reconstruction = x / 2; decoded = content @ D + pose summed.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from dichroic.bundle import (
    FORMAT_VERSION,
    LatentSection,
    Manifest,
    Preprocessing,
    Signature,
    TensorSpec,
    TrainingData,
    write_bundle,
)
from dichroic.bundle.arrays import pack
from dichroic.bundle.files import GOLDEN_NAME, README_NAME, WEIGHTS_NAME
from dichroic.bundle.manifest import Calibration, FileEntry, Producer

NDArray = np.ndarray[Any, np.dtype[Any]]
ONNX = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": TensorProto.FLOAT}
FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
POSE = ("angle_rad", "scale", "shift_down_px", "shift_right_px")
THRESHOLD = 0.08


@dataclass(frozen=True)
class Toy:
    """The toy's weights, and what it must answer. `rounds` repeats a matrix product, to make runs as slow as a test needs."""

    side: int = 8
    seed: int = 0
    rounds: int = 0

    @property
    def weights(self) -> dict[str, NDArray]:
        random = np.random.default_rng(self.seed)
        pixels = self.side**2
        return {
            "encoder.w": (random.standard_normal((pixels, 5)) / pixels).astype(np.float32),
            "decoder.w": random.standard_normal((2, pixels)).astype(np.float32),
            "slow.w": np.eye(pixels, dtype=np.float32),
        }

    def normalised(self, images: NDArray) -> NDArray:
        return (images / FULL_SCALE[images.dtype.name]).astype(np.float32)

    def latent_mean(self, images: NDArray) -> NDArray:
        return self.normalised(images).reshape(len(images), -1) @ self.weights["encoder.w"]

    def encode(self, images: NDArray) -> dict[str, NDArray]:
        raw = self.latent_mean(images)
        return {
            "angle_rad": np.pi * np.tanh(raw[:, 2]),
            "shift_down_px": raw[:, 3],
            "shift_right_px": raw[:, 4],
            "content": raw[:, :2],
            "latent_mean": raw,
        }

    def decode(self, content: NDArray, pose: NDArray) -> NDArray:
        flat = content @ self.weights["decoder.w"] + pose[:, None]
        return flat.reshape(-1, self.side, self.side)


def write_toy(bundles: Path, toy: Toy = Toy(), *, name: str = "toy", **changes: Any) -> Path:
    """Writes the next version of the toy; `changes` replace fields of the manifest. Returns the version's folder."""
    weights_blob = pack(toy.weights)
    signatures, files = {}, {WEIGHTS_NAME: weights_blob, README_NAME: b"# Toy\n\nMade by the tests.\n"}
    for dtype in ONNX:
        for kind in ("encode", "reconstruct"):
            files[f"{kind}.{dtype}.onnx"] = _graph(toy, kind, dtype, weights_blob)
            signatures[f"{kind}.{dtype}"] = _signature(toy, kind, dtype)
    files["decode.onnx"] = _graph(toy, "decode", "float32", weights_blob)
    signatures["decode"] = _signature(toy, "decode", "float32")
    files[GOLDEN_NAME] = pack(_golden(toy, signatures))
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
            invariances=("rotation", "translation"),
            image_height_px=toy.side,
            image_width_px=toy.side,
            channels=1,
            content_size=2,
            latent_names=("content_1", "content_2", "rotation", "shift_1", "shift_2"),
            rotation_prior_sd_rad=1.0,
            shift_prior_sd=0.1,
            likelihood="gaussian",
            novelty_threshold=THRESHOLD,
            novelty_false_alarm_rate=0.01,
        ),
    )
    folder, _ = write_bundle(bundles, manifest.model_copy(update=changes), files)
    return folder


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Changes top-level fields of bundle.json as an attacker or a bug would: without touching anything else."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _spec(name: str, dtype: str, *row: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=("n", *row), axes=("batch", *("axis",) * len(row)), unit="1", meaning="as the toy says")


def _signature(toy: Toy, kind: str, dtype: str) -> Signature:
    image = (toy.side, toy.side)
    floats = {
        "encode": (
            *(("angle_rad",), ("angle_sd_rad",), ("shift_down_px",), ("shift_right_px",)),
            *(("content", 2), ("content_sd", 2), ("latent_mean", 5), ("latent_sd", 5)),
        ),
        "reconstruct": (("reconstruction", *image), ("error",)),
        "decode": (("images", *image),),
    }
    if kind == "decode":
        inputs = (_spec("content", "float32", 2), *(_spec(name, "float32") for name in POSE))
        return Signature(graph="decode.onnx", inputs=inputs, outputs=tuple(_spec(n, "float32", *r) for n, *r in floats[kind]), max_batch=64)
    outputs = tuple(_spec(n, "float32", *r) for n, *r in floats[kind])
    return Signature(graph=f"{kind}.{dtype}.onnx", inputs=(_spec("images", dtype, *image),), outputs=outputs, max_batch=64)


def _graph(toy: Toy, kind: str, dtype: str, weights_blob: bytes) -> bytes:
    signature = _signature(toy, kind, dtype)
    constants = {
        "flat": np.array([0, -1], np.int64),
        "image": np.array([-1, toy.side, toy.side], np.int64),
        "top": np.array(FULL_SCALE[dtype], np.float32),
        "half": np.array(0.5, np.float32),
        "pi": np.array(np.pi, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [] if kind == "decode" else [node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT), node("Div", ["cast", "top"], ["x"])]
    if kind == "encode":
        nodes += [node("Reshape", ["x", "flat"], ["x0"])]
        nodes += [node("MatMul", [f"x{i}", "slow.w"], [f"x{i + 1}"]) for i in range(toy.rounds)]
        nodes += [node("MatMul", [f"x{toy.rounds}", "encoder.w"], ["latent_mean"])]
        nodes += [node("Split", ["latent_mean", "sizes"], ["content", "a2", "d2", "r2"], axis=1)]
        constants["sizes"] = np.array([2, 1, 1, 1], np.int64)
        nodes += [node("Squeeze", ["a2", "one"], ["a1"]), node("Tanh", ["a1"], ["a0"]), node("Mul", ["a0", "pi"], ["angle_rad"])]
        nodes += [node("Squeeze", ["d2", "one"], ["shift_down_px"]), node("Squeeze", ["r2", "one"], ["shift_right_px"])]
        nodes += [node("Mul", [a, "zero"], [b]) for a, b in (("a1", "angle_sd_rad"), ("content", "content_sd"), ("latent_mean", "latent_sd"))]
    elif kind == "reconstruct":
        nodes += [node("Mul", ["x", "half"], ["reconstruction"]), node("Sub", ["x", "reconstruction"], ["d"]), node("Mul", ["d", "d"], ["dd"])]
        nodes += [node("ReduceMean", ["dd", "axes"], ["error"], keepdims=0)]
        constants["axes"] = np.array([1, 2], np.int64)
    else:
        nodes += [node("MatMul", ["content", "decoder.w"], ["c"]), node("Sum", list(POSE), ["p1"]), node("Unsqueeze", ["p1", "one"], ["p"])]
        nodes += [node("Add", ["c", "p"], ["i"]), node("Reshape", ["i", "image"], ["images"])]
    used = {name for item in nodes for name in item.input}
    inline = [
        helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape, v.tobytes(), raw=True) for n, v in constants.items() if n in used
    ]
    external = [_external(name, weights_blob) for name in toy.weights if name in used]
    sides = [[helper.make_tensor_value_info(s.name, ONNX[s.dtype], list(s.shape)) for s in specs] for specs in (signature.inputs, signature.outputs)]
    graph = helper.make_graph(nodes, kind, sides[0], sides[1], inline + external)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    return data


def _external(name: str, blob: bytes, location: str = WEIGHTS_NAME) -> TensorProto:
    (header_bytes,) = struct.unpack("<Q", blob[:8])
    entry = json.loads(blob[8 : 8 + header_bytes])[name]
    begin, end = entry["data_offsets"]
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=entry["shape"], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", 8 + header_bytes + begin), ("length", end - begin)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _golden(toy: Toy, signatures: dict[str, Signature]) -> dict[str, NDArray]:
    random = np.random.default_rng(7)
    golden: dict[str, NDArray] = {}
    for name, signature in signatures.items():
        kind, _, dtype = name.partition(".")
        if kind == "decode":
            content = random.standard_normal((3, 2)).astype(np.float32)
            pose = {key: random.standard_normal(3).astype(np.float32) for key in POSE}
            golden |= {f"decode/in/{key}": value for key, value in {"content": content, **pose}.items()}
            outputs = {"images": toy.decode(content, np.sum(list(pose.values()), axis=0))}
        else:
            images = (random.random((3, toy.side, toy.side)) * FULL_SCALE[dtype]).astype(dtype)
            golden[f"{name}/in/images"] = images
            if kind == "encode":
                found = toy.encode(images)
                outputs = found | {"angle_sd_rad": np.zeros(3), "content_sd": np.zeros((3, 2)), "latent_sd": np.zeros((3, 5))}
            else:
                x = toy.normalised(images)
                outputs = {"reconstruction": x / 2, "error": np.mean((x / 2) ** 2, axis=(1, 2))}
        for spec in signature.outputs:
            golden[f"{name}/out/{spec.name}"] = np.asarray(outputs[spec.name], dtype=np.float32)
            golden[f"{name}/atol/{spec.name}"] = np.array([1e-5])
    return golden
