"""What turns a mechanism's input into latents: small ONNX graphs, the same in training and in the bundle. No torch at import.

Training runs the very graph that is served, so that no latent can differ between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dichroic.bundle import TensorSpec, read_bundle
from dichroic.bundle.arrays import unpack
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME
from dichroic.errors import BundleRefusedError
from training.errors import InputError
from training.export.onnx_models import ELEMENT_TYPES, checked_model

Array = np.ndarray[Any, np.dtype[Any]]

IMAGE_DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Encoder:
    """One mechanism's encoder.

    Attributes:
        name: of the mechanism.
        input: its input, of float32 where it is an image.
        graphs: by the image's dtype, or by "" where it is no image: a model from the input, called `name`, to `latents` (n, d) float64, not yet
            standardised.
        size: d.
        told: "identity", "one-hot", "pca", "moments", or name and digest of a latent bundle: what the manifest says.
        examples: some rows of the input for golden answers, by the image's dtype or "": drawn or random, never measured.
        weights: the constants' own names, for those that have some.
        learned: whether float32 networks are inside.
    """

    name: str
    input: TensorSpec
    graphs: dict[str, onnx.ModelProto]
    size: int
    told: str
    examples: dict[str, Array]
    weights: dict[str, Array]
    learned: bool = False


def identity(name: str, low: Array, high: Array, *, unit: str, meaning: str) -> Encoder:
    """Coordinates or parameters (n, k) float64 as they are. `low` and `high` (k,): their range in training."""
    size = len(low)
    spec = TensorSpec(name=name, dtype="float64", shape=("n", size), axes=("point", "column"), unit=unit, meaning=meaning)
    graph = _graph(spec, [helper.make_node("Identity", [name], ["latents"])], {}, size)
    examples = low + (high - low) * np.random.default_rng(7).random((4, size))
    return Encoder(name, spec, {"": graph}, size, "identity", {"": examples}, {})


def one_hot(name: str, categories: Sequence[str], *, unit: str, meaning: str) -> Encoder:
    """A category's index (n,) int64 to (n, K) of zeros and a one."""
    size = len(categories)
    spec = TensorSpec(name=name, dtype="int64", shape=("n",), axes=("point",), unit=unit, range_low=0, range_high=size - 1, meaning=meaning)
    nodes = [
        helper.make_node("Unsqueeze", [name, "last"], ["column"]),
        helper.make_node("Equal", ["column", "numbers"], ["same"]),
        helper.make_node("Cast", ["same"], ["latents"], to=TensorProto.DOUBLE),
    ]
    constants = {"last": np.array([1], np.int64), "numbers": np.arange(size, dtype=np.int64)}
    return Encoder(name, spec, {"": _graph(spec, nodes, constants, size)}, size, "one-hot", {"": np.arange(4, dtype=np.int64) % size}, {})


def principal_components(name: str, rows: Array, size: int, *, kind: str, unit: str, meaning: str) -> Encoder:
    """Images or spectra (n, ...) to their first `size` principal components, of the training points' `rows`, in float64.

    Raises:
        InputError: TOO_FEW_ROWS: fewer rows, or fewer values in a row, than components.
    """
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    if min(flat.shape) <= size:
        raise InputError(
            "TOO_FEW_ROWS",
            f"{size} principal components of {name} need more than {size} rows and values in a row; there are {flat.shape[0]} and {flat.shape[1]}. "
            "Ask for fewer.",
        )
    mean = flat.mean(axis=0)
    _, singular, directions = np.linalg.svd(flat - mean, full_matrices=False)
    components = directions[:size]
    # The sign of an axis is no one's: the greatest entry is positive.
    components = components * np.sign(components[np.arange(size), np.abs(components).argmax(axis=1)])[:, None]
    shape = rows.shape[1:]
    axes = ("point", "row", "column", "channel")[: rows.ndim] if kind == "image" else ("point", "position", "channel")[: rows.ndim]
    constants = {"mean": mean, "components": components.T.copy(), "flat": np.array([-1, flat.shape[1]], np.int64)}
    nodes = [
        helper.make_node("Cast", [name], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Reshape", ["wide", "flat"], ["rows"]),
        helper.make_node("Sub", ["rows", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "components"], ["latents"]),
    ]
    dtypes = IMAGE_DTYPES if kind == "image" else ("float32",)
    spec = TensorSpec(name=name, dtype="float32", shape=("n", *shape), axes=axes, unit=unit, meaning=meaning)
    specs = {dtype: spec.model_copy(update={"dtype": dtype}) for dtype in dtypes}
    drawn = np.random.default_rng(7).normal(0, 1, (4, size)) * singular[:size] / np.sqrt(len(flat)) @ components + mean
    examples = {dtype: _as(drawn.reshape(4, *shape), dtype) for dtype in dtypes}
    graphs = {dtype: _graph(each, nodes, constants, size) for dtype, each in specs.items()}
    if kind != "image":
        graphs, examples = {"": graphs["float32"]}, {"": examples["float32"]}
    return Encoder(name, spec, graphs, size, "pca", examples, {})


def moments(name: str, rows: Array, *, unit: str, meaning: str) -> Encoder:
    """Images (n, h, w[, c]) to the mean and the standard deviation of their pixels, of each channel: (n, 2c), all means first, in float64."""
    shape = rows.shape[1:]
    size = 2 * (shape[2] if len(shape) == 3 else 1)
    nodes = [
        helper.make_node("Cast", [name], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("ReduceMean", ["wide", "pixels"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["wide", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "pixels"], ["variance"], keepdims=1),
        helper.make_node("Sqrt", ["variance"], ["sd"]),
        helper.make_node("Flatten", ["mean"], ["means"], axis=1),
        helper.make_node("Flatten", ["sd"], ["sds"], axis=1),
        helper.make_node("Concat", ["means", "sds"], ["latents"], axis=1),
    ]
    spec = TensorSpec(
        name=name, dtype="float32", shape=("n", *shape), axes=("point", "row", "column", "channel")[: rows.ndim], unit=unit, meaning=meaning
    )
    specs = {dtype: spec.model_copy(update={"dtype": dtype}) for dtype in IMAGE_DTYPES}
    graphs = {dtype: _graph(each, nodes, {"pixels": np.array([1, 2], np.int64)}, size) for dtype, each in specs.items()}
    drawn = np.random.default_rng(7).normal(float(rows.mean()), float(rows.std()), (4, *shape))
    return Encoder(name, spec, graphs, size, "moments", {dtype: _as(drawn, dtype) for dtype in IMAGE_DTYPES}, {})


def from_bundle(name: str, folder: Path, latents: Sequence[str], *, kind: str, meaning: str) -> Encoder:
    """A latent bundle's own encoder, frozen.

    Args:
        name: of the mechanism.
        folder: the bundle's, `<name>/<version>`.
        latents: which of the encoder's outputs are the mechanism's latents, such as "class_probabilities"; an angle comes as cosine and sine.
            Empty: the class probabilities where it has classes, else the content.
        kind: "image" or "spectrum".
        meaning: of the mechanism, in words.

    Raises:
        InputError: ENCODER_REFUSED: no latent bundle, damaged, of the other kind, conditional, or without one of the latents.
    """
    try:
        bundle = read_bundle(folder)
    except BundleRefusedError as error:
        raise InputError("ENCODER_REFUSED", f"The encoder of {name} cannot be read: {error.message}") from error
    latent = bundle.manifest.latent
    wanted = {"image": "images", "spectrum": "spectra"}[kind]
    if latent is None or latent.input_kind != wanted or latent.conditions:
        found = bundle.manifest.kind if latent is None else f"latent, of {latent.input_kind}, with {len(latent.conditions)} conditions"
        raise InputError("ENCODER_REFUSED", f"The encoder of {name} is {folder}, of kind {found}; expected a latent bundle of {wanted} alone.")
    weights = unpack(bundle.files[WEIGHTS_NAME], path=WEIGHTS_NAME) if WEIGHTS_NAME in bundle.files else {}
    golden = unpack(bundle.files[GOLDEN_NAME], path=GOLDEN_NAME)
    signatures = {each.partition(".")[2]: each for each in bundle.manifest.signatures if each.startswith("encode.")}
    one = bundle.manifest.signatures[signatures["float32"]]
    told = {spec.name: spec for spec in one.outputs}
    chosen = tuple(latents) or (("class_probabilities",) if latent.class_names else ("content",))
    missing = [each for each in chosen if each not in told]
    if missing:
        raise InputError("ENCODER_REFUSED", f"{folder} tells no {missing[0]}, which is to be a latent of {name}; it tells {', '.join(told)}.")
    size = sum(2 if each == "angle_rad" else int(np.prod(told[each].row_shape)) for each in chosen)
    graphs, examples = {}, {}
    for dtype, signature in signatures.items():
        declared = bundle.manifest.signatures[signature]
        key = dtype if kind == "image" else ""
        graphs[key] = _chosen(bundle.files[declared.graph], weights, name, declared.inputs[0], chosen, size)
        examples[key] = golden[f"{signature}/in/{declared.inputs[0].name}"]
    spec = one.inputs[0].model_copy(update={"name": name, "meaning": meaning})
    digest = bundle.manifest.digest
    return Encoder(
        name, spec, graphs, size, f"{bundle.manifest.name} {digest}", examples, {f"{name}.{key}": value for key, value in weights.items()}, True
    )


def _chosen(  # noqa: PLR0917 - one order, one caller
    data: bytes, weights: dict[str, Array], name: str, first: TensorSpec, chosen: Sequence[str], size: int
) -> onnx.ModelProto:
    """The bundle's graph with its weights inside, from `name` to the chosen outputs side by side."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    for node in model.graph.node:
        for place, each in enumerate(node.input):
            if each == first.name:
                node.input[place] = name
    nodes, columns = [], []
    ranks = {output.name: len(output.type.tensor_type.shape.dim) for output in model.graph.output}
    for output in chosen:
        wide = f"{output}.wide"
        nodes.append(helper.make_node("Cast", [output], [wide], to=TensorProto.DOUBLE))
        for function in ("Cos", "Sin") if output == "angle_rad" else ("",):
            # ONNX Runtime has no float64 sine on every device; the angle is float32 anyway.
            column = wide
            if function:
                nodes += [
                    helper.make_node(function, [output], [f"{output}.{function}"]),
                    helper.make_node("Cast", [f"{output}.{function}"], [f"{output}.{function}.wide"], to=TensorProto.DOUBLE),
                ]
                column = f"{output}.{function}.wide"
            if ranks[output] == 1:
                nodes.append(helper.make_node("Unsqueeze", [column, "last"], [f"{column}.column"]))
                column = f"{column}.column"
            columns.append(column)
    nodes.append(helper.make_node("Concat", columns, ["latents"], axis=1))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} | {"last": np.array([1], np.int64)}
    spec = first.model_copy(update={"name": name})
    return _graph(spec, [*model.graph.node, *nodes], constants, size)


def _graph(spec: TensorSpec, nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], size: int) -> onnx.ModelProto:
    entry = helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype], list(spec.shape))
    answer = helper.make_tensor_value_info("latents", TensorProto.DOUBLE, ["n", size])
    kept = _needed(nodes, {"latents"})
    used = {name for node in kept for name in node.input}
    initializers = [numpy_helper.from_array(np.array(values, order="C"), key) for key, values in constants.items() if key in used]
    return checked_model(kept, [entry], [answer], initializers)


def _needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Those that the wanted values depend on, in order: an encoder may tell more than a mechanism has for latents."""
    wanted, kept = set(wanted), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _as(values: Array, dtype: str) -> Array:
    if dtype == "float32":
        return values.astype(np.float32)
    return np.clip(np.round(values), 0, np.iinfo(dtype).max).astype(dtype)
