"""Small latent bundles with classes, conditions, targets and spectra, made with onnx.helper alone, whose answers numpy can tell.

x is the data in [0, 1], flattened: probabilities = softmax(x C), content = x Z + conditions V, target_mean = x T, target_sd = |x T| + 1/2,
decoded = content D + one-hot E + conditions F (+ targets G), reconstruction = x / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from dichroic.bundle import (
    FORMAT_VERSION,
    Condition,
    LatentSection,
    Manifest,
    Preprocessing,
    Signature,
    Target,
    TensorSpec,
    TrainingData,
    write_bundle,
)
from dichroic.bundle.arrays import pack
from dichroic.bundle.files import GOLDEN_NAME, README_NAME
from dichroic.bundle.manifest import Calibration, ErrorCalibration, FileEntry, Producer, Quantile
from tests.toy_bundle import FULL_SCALE, ONNX, NDArray

SIDE, POINTS, WIDTH = 8, 10, 2
VOLTAGE = Condition(name="voltage", unit="V", meaning="at the tip")
PHASE = Condition(name="phase", unit="1", meaning="of the film", categories=("rhombohedral", "tetragonal", "mixed"))
TARGETS = (Target(name="strain", unit="%", meaning="of the lattice"), Target(name="dose", unit="e/nm^2", meaning="of the beam"))
ERRORS = tuple(float(error) for error in np.linspace(0.0, 0.2, 21))
CALIBRATION = Calibration(
    reconstruction_error=ErrorCalibration(count=21, split="drawn", quantiles=(Quantile(probability=0.99, value=0.2),)),
    reconstruction_error_sample=ERRORS,
)


@dataclass(frozen=True)
class Family:
    """What the model has."""

    classes: tuple[str, ...] = ("heart", "spade", "club")
    conditions: tuple[Condition, ...] = (VOLTAGE, PHASE)
    targets: tuple[Target, ...] = TARGETS
    topology: tuple[Any, ...] = ()
    input_kind: Any = "images"
    output_kind: Any = "images"
    source: Any = "semi_supervised"
    tells_classes_in_reconstruct: bool = False
    draws_by_targets: bool = False

    @property
    def size(self) -> int:
        return SIDE**2 if self.input_kind == "images" else POINTS

    @property
    def output_size(self) -> int:
        return SIDE**2 if self.output_kind == "images" else POINTS

    def matrix(self, name: str, rows: int, columns: int) -> NDArray:
        """The weights of this name, always the same."""
        return np.random.default_rng(ord(name)).standard_normal((rows, columns)).astype(np.float32)

    def x(self, data: NDArray) -> NDArray:
        return (data / FULL_SCALE[data.dtype.name]).reshape(len(data), -1).astype(np.float32)

    def probabilities(self, data: NDArray) -> NDArray:
        logits = self.x(data) @ self.matrix("C", self.size, len(self.classes))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def content(self, data: NDArray, conditions: NDArray | None = None) -> NDArray:
        content = self.x(data) @ self.matrix("Z", self.size, WIDTH)
        return content if conditions is None else content + conditions @ self.matrix("V", len(self.conditions), WIDTH)

    def target_mean(self, data: NDArray) -> NDArray:
        return self.x(data) @ self.matrix("T", self.size, len(self.targets))

    def decode(
        self, content: NDArray, class_index: NDArray | None = None, conditions: NDArray | None = None, targets: NDArray | None = None
    ) -> NDArray:
        flat = content @ self.matrix("D", WIDTH, self.output_size)
        if class_index is not None:
            flat = flat + self.matrix("E", len(self.classes), self.output_size)[class_index]
        if conditions is not None:
            flat = flat + conditions @ self.matrix("F", len(self.conditions), self.output_size)
        if targets is not None:
            flat = flat + targets @ self.matrix("G", len(self.targets), self.output_size)
        return flat.reshape(len(content), *_row(self.output_kind))

    def section(self, **changes: Any) -> LatentSection:
        spectra_alone = self.input_kind == self.output_kind == "spectra"
        facts: dict[str, Any] = {
            "invariances": (),
            "image_height_px": 1 if spectra_alone else SIDE,
            "image_width_px": POINTS if spectra_alone else SIDE,
            "channels": 1,
            "content_size": WIDTH,
            "latent_names": ("content_1", "content_2"),
            "likelihood": "gaussian",
            "class_names": self.classes,
            "class_source": self.source if self.classes else "",
            "conditions": self.conditions,
            "targets": self.targets,
            "topology": self.topology,
            "input_kind": self.input_kind,
            "output_kind": self.output_kind,
        }
        return LatentSection(**facts | changes)


def write_family(bundles: Path, family: Family = Family(), *, name: str = "family", **changes: Any) -> Path:
    """Writes the next version; `changes` replace fields of the manifest. Returns the version's folder."""
    signatures: dict[str, Signature] = {}
    files = {README_NAME: b"# Family\n\nMade by the tests.\n"}
    golden: dict[str, NDArray] = {}
    for capability in _capabilities(family):
        for dtype in ("",) if capability == "decode" else ("float32",) if family.input_kind == "spectra" else ("uint8", "float32"):
            key = f"{capability}.{dtype}".rstrip(".")
            signature, graph = _graph(family, capability, dtype or "float32", f"{key}.onnx")
            signatures[key], files[f"{key}.onnx"] = signature, graph
            golden |= _golden(key, signature, graph)
    files[GOLDEN_NAME] = pack(golden)
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
        calibration=CALIBRATION,
        training_data=TrainingData(source="none", licence="MIT", sha256=("0" * 64,)),
        latent=family.section(),
    )
    folder, _ = write_bundle(bundles, manifest.model_copy(update=changes), files)
    return folder


def _row(kind: str) -> tuple[int, ...]:
    return (SIDE, SIDE) if kind == "images" else (POINTS,)


def _capabilities(family: Family) -> list[str]:
    found = ["encode", "decode"]
    found += ["reconstruct"] if family.input_kind == family.output_kind else []
    found += ["classify"] if family.classes and family.source == "semi_supervised" else []
    return found + (["regress"] if family.targets else [])


def _spec(name: str, *row: int, dtype: Any = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=("n", *row), axes=("batch", *("axis",) * len(row)), unit="1", meaning="as the toy says")


def _graph(family: Family, capability: str, dtype: str, path: str) -> tuple[Signature, bytes]:
    classes, conditions, targets = len(family.classes), len(family.conditions), len(family.targets)
    node, nodes = helper.make_node, []
    sizes = {"C": (family.size, classes), "Z": (family.size, WIDTH), "V": (conditions, WIDTH), "T": (family.size, targets)}
    sizes |= {"D": (WIDTH, family.output_size), "E": (classes, family.output_size), "F": (conditions, family.output_size)}
    sizes["G"] = (targets, family.output_size)
    constants: dict[str, NDArray] = {
        **{name: family.matrix(name, *size) for name, size in sizes.items()},
        "flat": np.array([0, -1]),
        "out": np.array([-1, *_row(family.output_kind)]),
        "one": np.array([1]),
        "top": np.float32(FULL_SCALE[dtype]).reshape(()),
        "half": np.array(0.5, np.float32),
        "zero": np.array(0, np.float32),
    }
    inputs, outputs = [_spec(family.input_kind, *_row(family.input_kind), dtype=dtype)], []
    if capability != "decode":
        nodes += [node("Cast", [family.input_kind], ["cast"], to=TensorProto.FLOAT), node("Div", ["cast", "top"], ["whole"])]
        nodes += [node("Reshape", ["whole", "flat"], ["x"])]
    if capability in ("encode", "reconstruct") and conditions:
        inputs.append(_spec("conditions", conditions))
    if capability == "encode":
        nodes += [node("MatMul", ["x", "Z"], ["xz"])]
        nodes += [node("MatMul", ["conditions", "V"], ["cv"]), node("Add", ["xz", "cv"], ["content"])] if conditions else []
        nodes += [] if conditions else [node("Identity", ["xz"], ["content"])]
        nodes += [node("Mul", ["content", "zero"], ["content_sd"])]
        nodes += [node("Identity", [a], [b]) for a, b in (("content", "latent_mean"), ("content_sd", "latent_sd"))]
        outputs += [_spec(name, WIDTH) for name in ("content", "content_sd", "latent_mean", "latent_sd")]
    if capability == "reconstruct":
        nodes += [node("Mul", ["whole", "half"], ["reconstruction"]), node("Mul", ["x", "half"], ["d"]), node("Mul", ["d", "d"], ["dd"])]
        nodes += [node("ReduceMean", ["dd", "one"], ["error"], keepdims=0)]
        outputs += [_spec("reconstruction", *_row(family.input_kind)), _spec("error")]
    tells = capability in ("encode", "classify") or (capability == "reconstruct" and family.tells_classes_in_reconstruct)
    if tells and classes:
        nodes += [node("MatMul", ["x", "C"], ["logits"]), node("Softmax", ["logits"], ["class_probabilities"], axis=1)]
        outputs.append(_spec("class_probabilities", classes))
    if capability == "regress":
        nodes += [node("MatMul", ["x", "T"], ["target_mean"]), node("Abs", ["target_mean"], ["abs"]), node("Add", ["abs", "half"], ["target_sd"])]
        outputs += [_spec("target_mean", targets), _spec("target_sd", targets)]
    if capability == "decode":
        inputs, terms = [_spec("content", WIDTH)], [("content", "D")]
        told = (("class_weights", classes, "E"), ("conditions", conditions, "F"), ("targets", targets * family.draws_by_targets, "G"))
        inputs += [_spec(name, width) for name, width, _ in told if width]
        terms += [(name, weights) for name, width, weights in told if width]
        nodes += [node("MatMul", [a, b], [f"{a}_term"]) for a, b in terms]
        nodes += [node("Sum", [f"{a}_term" for a, _ in terms], ["sum"]), node("Reshape", ["sum", "out"], [family.output_kind])]
        outputs = [_spec(family.output_kind, *_row(family.output_kind))]
    used = {name for item in nodes for name in item.input}
    initializers = [helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape, v.tobytes(), raw=True) for n, v in constants.items()]
    sides = [[helper.make_tensor_value_info(s.name, ONNX[s.dtype], list(s.shape)) for s in specs] for specs in (inputs, outputs)]
    graph = helper.make_graph(nodes, capability, sides[0], sides[1], [tensor for tensor in initializers if tensor.name in used])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    return Signature(graph=path, inputs=tuple(inputs), outputs=tuple(outputs), max_batch=64), data


def _golden(key: str, signature: Signature, graph: bytes) -> dict[str, NDArray]:
    random = np.random.default_rng(7)
    inputs = {
        spec.name: (random.random((3, *spec.row_shape)) * (255 if spec.dtype == "uint8" else 1)).astype(spec.dtype) for spec in signature.inputs
    }
    answers = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, inputs)
    golden = {f"{key}/in/{name}": values for name, values in inputs.items()}
    for spec, answer in zip(signature.outputs, answers, strict=True):
        golden |= {f"{key}/out/{spec.name}": answer, f"{key}/atol/{spec.name}": np.array([1e-5])}
    return golden
