"""A latent bundle made by hand: small graphs whose answers can be checked by head, in the format every bundle has."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dichroic.bundle import Manifest, write_bundle

SIDE = 16


def _graph(name, nodes, inputs, outputs, constants):
    def value(entry):
        return helper.make_tensor_value_info(entry[0], entry[1], ["n", *entry[2]])

    graph = helper.make_graph(
        nodes,
        name,
        [value(entry) for entry in inputs],
        [value(entry) for entry in outputs],
        [onnx.numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


FLOAT = TensorProto.FLOAT
ROW = ("angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px")
PICTURE = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(1, SIDE * SIDE)
CONSTANTS = {
    "weights": np.stack([np.linspace(-1, 1, SIDE * SIDE), np.cos(np.arange(SIDE * SIDE))], axis=1).astype(np.float32) / SIDE,
    "picture": PICTURE,
    "flat": np.array([-1, SIDE * SIDE], np.int64),
    "square": np.array([-1, SIDE, SIDE], np.int64),
    "pixels": np.array([1, 2], np.int64),
    "column": np.array([1], np.int64),
    "tenth": np.array(0.1, np.float32),
    "one": np.array(1.0, np.float32),
}


def _used(nodes):
    names = {name for node in nodes for name in node.input}
    return {key: array for key, array in CONSTANTS.items() if key in names}


def _encode_nodes():
    node = helper.make_node
    return [
        node("Cast", ["images"], ["values"], to=FLOAT),
        node("ReduceMean", ["values", "pixels"], ["mean"], keepdims=0),
        node("Tanh", ["mean"], ["angle_rad"]),
        node("Mul", ["mean", "tenth"], ["small"]),
        node("Exp", ["small"], ["angle_sd_rad"]),
        node("Exp", ["small"], ["scale"]),
        node("Sin", ["mean"], ["shift_down_px"]),
        node("Cos", ["mean"], ["shift_right_px"]),
        node("Reshape", ["values", "flat"], ["pixel_rows"]),
        node("MatMul", ["pixel_rows", "weights"], ["content"]),
        node("Exp", ["content"], ["content_sd"]),
        node("Identity", ["content"], ["latent_mean"]),
        node("Identity", ["content_sd"], ["latent_sd"]),
    ]


def _decode_graph():
    node = helper.make_node
    nodes = [
        node("Transpose", ["weights"], ["turned"], perm=[1, 0]),
        node("MatMul", ["content", "turned"], ["part"]),
        node("Add", ["part", "picture"], ["shaped"]),
        node("Add", ["angle_rad", "shift_down_px"], ["first"]),
        node("Add", ["first", "shift_right_px"], ["second"]),
        node("Mul", ["second", "scale"], ["third"]),
        node("Unsqueeze", ["third", "column"], ["fourth"]),
        node("Add", ["shaped", "fourth"], ["whole"]),
        node("Reshape", ["whole", "square"], ["images"]),
    ]
    inputs = [("content", FLOAT, [2]), *((name, FLOAT, []) for name in ("angle_rad", "scale", "shift_down_px", "shift_right_px"))]
    return _graph("decode", nodes, inputs, [("images", FLOAT, [SIDE, SIDE])], _used(nodes))


def _reconstruct_graph(kind):
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["values"], to=FLOAT),
        node("Mul", ["values", "tenth"], ["less"]),
        node("Sub", ["values", "less"], ["reconstruction"]),
        node("Mul", ["less", "less"], ["squares"]),
        node("ReduceMean", ["squares", "pixels"], ["error"], keepdims=0),
    ]
    outputs = [("reconstruction", FLOAT, [SIDE, SIDE]), ("error", FLOAT, [])]
    return _graph("reconstruct", nodes, [("images", kind, [SIDE, SIDE])], outputs, _used(nodes))


def _encode_graph(kind, *, pose):
    nodes = _encode_nodes()
    rows = [(name, FLOAT, []) for name in ROW] if pose else []
    outputs = rows + [(name, FLOAT, [2]) for name in ("content", "content_sd", "latent_mean", "latent_sd")]
    return _graph("encode", nodes, [("images", kind, [SIDE, SIDE])], outputs, _used(nodes))


def _spec(name, shape, dtype="float32"):
    axes = ["n", *("row", "column")[: len(shape)]] if len(shape) == 2 else ["n", *["latent"][: len(shape)]]
    return {"name": name, "dtype": dtype, "shape": ["n", *shape], "axes": axes, "unit": "1", "meaning": name}


def make_bundle(folder, source, *, pose=True, threshold=0.004, unit="1", priors=None, history=None):
    """Writes `folder/hand-made/1`; encode, reconstruct and decode are the sums above."""
    kinds = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": FLOAT}
    files = {"decode.onnx": _decode_graph(), "README.md": b"# hand-made\n"} | ({} if history is None else {"history.json": history})
    rows = ROW if pose else ()
    encoded = [_spec(name, []) for name in rows] + [_spec(name, [2]) for name in ("content", "content_sd", "latent_mean", "latent_sd")]
    signatures = {}
    for dtype, kind in kinds.items():
        files[f"encode.{dtype}.onnx"] = _encode_graph(kind, pose=pose)
        files[f"reconstruct.{dtype}.onnx"] = _reconstruct_graph(kind)
        images = [_spec("images", [SIDE, SIDE], dtype)]
        back = [_spec("reconstruction", [SIDE, SIDE]), _spec("error", [])]
        signatures[f"encode.{dtype}"] = {"graph": f"encode.{dtype}.onnx", "inputs": images, "outputs": encoded, "max_batch": 64}
        signatures[f"reconstruct.{dtype}"] = {"graph": f"reconstruct.{dtype}.onnx", "inputs": images, "outputs": back, "max_batch": 7}
    given = [_spec("content", [2]), *(_spec(name, []) for name in ("angle_rad", "scale", "shift_down_px", "shift_right_px"))]
    signatures["decode"] = {"graph": "decode.onnx", "inputs": given, "outputs": [_spec("images", [SIDE, SIDE])], "max_batch": 16}
    facts = {
        "format_version": "1.0",
        "name": "hand-made",
        "version": 1,
        "kind": "latent",
        "created_time": "2026-01-01T00:00:00Z",
        "producer": {"git_commit": "none", "packages": {}},
        "files": [{"path": name, "sha256": "0" * 64, "size_bytes": 0} for name in files],
        "signatures": signatures,
        "preprocessing": {"unit": unit, "input_low": [0.0], "input_high": [1.0], "clip": False, "integer_images": "full_scale"},
        "training_data": {"source": source, "licence": "MIT", "sha256": ["0" * 64]},
        "latent": {
            "invariances": ["rotation", "translation", "scale"] if pose else [],
            "image_height_px": SIDE,
            "image_width_px": SIDE,
            "channels": 1,
            "content_size": 2,
            "latent_names": ["content_1", "content_2"],
            "likelihood": "gaussian",
            "novelty_threshold": threshold,
            "novelty_false_alarm_rate": None if threshold is None else 0.01,
            **(priors or {}),
        },
    }
    manifest = Manifest.model_validate_json(json.dumps(facts))
    return write_bundle(folder, manifest, files)[0]


CARDS = "draw_cards(n_per_suit=9, angle_deg=90, shear_deg=1, shift=0.1, scale=(0.9, 1.1), side=16, seed=0, stream='train')"


@pytest.fixture
def bundle(tmp_path):
    """Makes a bundle: bundle(source, ...) -> its folder."""

    def make(source=CARDS, **more):
        return make_bundle(tmp_path / "bundles", source, **more)

    return make
