"""The load sequence: each step refuses what it should, and says which step it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dichroic.bundle import read_bundle
from dichroic.bundle.arrays import pack, unpack
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME, sha256_of
from dichroic.errors import BundleRefusedError
from services.engine.device import ChosenDevice
from services.engine.graph import open_session
from services.engine.loader import Loader
from services.engine.runtime import Runtime
from tests.toy_bundle import Toy, rewrite_manifest, write_toy

LOADER = Loader(ChosenDevice("cpu", False, 1), max_batch=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "bundles")


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replaces a file and tells the manifest, so that only later steps can object."""
    import json

    (folder / name).write_bytes(data)
    files = json.loads((folder / "bundle.json").read_text())["files"]
    for entry in files:
        if entry["path"] == name:
            entry |= {"sha256": sha256_of(data), "size_bytes": len(data)}
    rewrite_manifest(folder, files=files)


def edit_graph(folder: Path, name: str, edit: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_model_from_string((folder / name).read_bytes())
    edit(model)
    replace_file(folder, name, model.SerializeToString())


def refused(folder: Path) -> BundleRefusedError:
    with pytest.raises(BundleRefusedError) as error:
        LOADER.load(folder)
    return error.value


def test_a_good_bundle_loads_warm(folder: Path) -> None:
    loaded = LOADER.load(folder)
    assert sorted(loaded.runtimes) == sorted(loaded.manifest.signatures)
    images = np.full((2, 8, 8), 7, dtype=np.uint8)
    np.testing.assert_allclose(loaded.runtimes["encode.uint8"].run({"images": images})["latent_mean"], Toy().latent_mean(images), atol=1e-6)
    loaded.close()


def test_a_listed_file_that_no_answer_depends_on_is_served_past_whatever_it_holds(folder: Path) -> None:
    import json

    before = json.loads((folder / "bundle.json").read_text())
    data = b"not even JSON"
    (folder / "history.json").write_bytes(data)
    rewrite_manifest(folder, files=[*before["files"], {"path": "history.json", "sha256": sha256_of(data), "size_bytes": len(data)}])
    loaded = LOADER.load(folder)
    assert sorted(loaded.runtimes) == sorted(before["signatures"])
    loaded.close()


def test_a_changed_byte_is_refused_at_files(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS_NAME).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS_NAME).write_bytes(data)
    assert (refused(folder).step, refused(folder).cause) == ("files", "WRONG_HASH")


def test_a_truncated_file_is_refused_at_files(folder: Path) -> None:
    path = folder / "decode.onnx"
    path.write_bytes(path.read_bytes()[:-10])
    assert refused(folder).cause == "WRONG_SIZE"


@pytest.mark.parametrize("location", ["/etc/passwd", "../weights.safetensors", "other.bin", ""])
def test_data_outside_the_bundle_is_refused(folder: Path, location: str) -> None:
    def point_elsewhere(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location

    edit_graph(folder, "decode.onnx", point_elsewhere)
    assert (refused(folder).step, refused(folder).cause) == ("graph", "EXTERNAL_DATA")


def test_data_outside_the_bundle_is_refused_inside_a_nested_graph(folder: Path) -> None:
    def hide(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="../../secret")
        branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("secret", TensorProto.FLOAT, [1])], [tensor])
        model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch))

    edit_graph(folder, "decode.onnx", hide)
    assert refused(folder).cause == "EXTERNAL_DATA"


def test_weights_that_are_not_there_are_refused(folder: Path) -> None:
    weights = unpack((folder / WEIGHTS_NAME).read_bytes(), path="")
    del weights["decoder.w"]
    replace_file(folder, WEIGHTS_NAME, pack(weights))
    assert refused(folder).cause == "MISSING_WEIGHTS"


def test_a_file_that_is_not_onnx_is_refused(folder: Path) -> None:
    replace_file(folder, "decode.onnx", b"\xff\xff\xff not onnx")
    assert (refused(folder).step, refused(folder).cause) == ("graph", "NOT_ONNX")


def test_a_graph_the_runtime_cannot_run_is_refused(folder: Path) -> None:
    edit_graph(folder, "decode.onnx", lambda model: model.graph.node.append(helper.make_node("NoSuchOperator", ["content"], ["nothing"])))
    assert (refused(folder).step, refused(folder).cause) == ("graph", "GRAPH_REFUSED")


def test_another_input_name_is_refused_at_signature(folder: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = "pictures"
        model.graph.node[0].input[0] = "pictures"

    edit_graph(folder, "encode.uint8.onnx", rename)
    assert (refused(folder).step, refused(folder).cause) == ("signature", "SIGNATURE_MISMATCH")


def test_a_fixed_batch_axis_is_refused_at_signature(folder: Path) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    edit_graph(folder, "encode.uint8.onnx", fix)
    assert refused(folder).step == "signature"


def test_other_weights_than_the_golden_ones_are_refused(folder: Path) -> None:
    replace_file(folder, WEIGHTS_NAME, pack(Toy(seed=1).weights))
    assert (refused(folder).step, refused(folder).cause) == ("golden", "GOLDEN_DIFFERS")


def test_weights_of_nan_are_refused(folder: Path) -> None:
    weights = Toy().weights
    weights["decoder.w"] = np.full_like(weights["decoder.w"], np.nan)
    replace_file(folder, WEIGHTS_NAME, pack(weights))
    assert refused(folder).cause == "GOLDEN_DIFFERS"


def test_a_bundle_without_its_golden_examples_is_refused(folder: Path) -> None:
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    del golden["decode/out/images"]
    replace_file(folder, GOLDEN_NAME, pack(golden))
    assert (refused(folder).step, refused(folder).cause) == ("golden", "NO_GOLDEN")


def reverse_rows(model: onnx.ModelProto) -> None:
    last = model.graph.node[-1]
    last.output[0] = "forward"
    for name, value in (("r0", -1), ("r1", -(2**31)), ("r2", 0), ("r3", -1)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    model.graph.node.append(helper.make_node("Slice", ["forward", "r0", "r1", "r2", "r3"], ["images"]))


def mix_rows(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "apart"
    model.graph.initializer.append(helper.make_tensor("first_axis", TensorProto.INT64, [1], [0]))
    model.graph.node.append(helper.make_node("ReduceMean", ["apart", "first_axis"], ["mean"]))
    model.graph.node.append(helper.make_node("Sub", ["apart", "mean"], ["images"]))


def keep_three_rows(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "all"
    for name, value in (("k0", 0), ("k1", 3), ("k2", 0)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    model.graph.node.append(helper.make_node("Slice", ["all", "k0", "k1", "k2"], ["images"]))


@pytest.mark.parametrize("spoil", [reverse_rows, mix_rows, keep_three_rows])
def test_a_graph_in_which_rows_touch_each_other_is_refused(folder: Path, spoil: Callable[[onnx.ModelProto], None]) -> None:
    """Even when its golden example was made with it, so that the rows together agree."""
    edit_graph(folder, "decode.onnx", spoil)
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    weights = unpack((folder / WEIGHTS_NAME).read_bytes(), path="")
    manifest = read_bundle(folder).manifest
    session = open_session("decode", (folder / "decode.onnx").read_bytes(), manifest.signatures["decode"], weights, LOADER.device)
    inputs = {spec.name: golden[f"decode/in/{spec.name}"] for spec in manifest.signatures["decode"].inputs}
    golden["decode/out/images"] = session.run(None, inputs)[0]
    replace_file(folder, GOLDEN_NAME, pack(golden))
    assert refused(folder).step in ("golden", "warm-up")


@pytest.mark.parametrize("atol", [np.inf, np.nan, -1.0, 100.0])
def test_a_tolerance_that_lets_anything_pass_is_refused(folder: Path, atol: float) -> None:
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    golden["decode/atol/images"] = np.array([atol])
    replace_file(folder, GOLDEN_NAME, pack(golden))
    assert refused(folder).cause == "GOLDEN_TOLERANCE"


def test_a_golden_example_of_one_row_is_refused(folder: Path) -> None:
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    replace_file(folder, GOLDEN_NAME, pack({key: value if "atol" in key else value[:1] for key, value in golden.items()}))
    assert refused(folder).cause == "NO_GOLDEN"


def test_a_graph_that_never_ends_is_refused_in_time(folder: Path) -> None:
    def loop_for_ever(model: onnx.ModelProto) -> None:
        value = helper.make_tensor_value_info("v_in", TensorProto.FLOAT, None)
        step = [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c_in", TensorProto.BOOL, []), value]
        ends = [helper.make_tensor_value_info("c_out", TensorProto.BOOL, []), helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None)]
        body = helper.make_graph(
            [helper.make_node("Identity", ["c_in"], ["c_out"]), helper.make_node("Neg", ["v_in"], ["v_out"])], "body", step, ends
        )
        model.graph.node[-1].output[0] = "before"
        model.graph.initializer.append(helper.make_tensor("go", TensorProto.BOOL, [], [True]))
        model.graph.node.append(helper.make_node("Loop", ["", "go", "before"], ["images"], body=body))

    edit_graph(folder, "decode.onnx", loop_for_ever)
    with pytest.raises(BundleRefusedError) as error:
        Loader(LOADER.device, max_batch=4, timeout_s=0.5).load(folder)
    assert error.value.cause == "GOLDEN_FAILED"


def test_large_rows_run_fewer_at_once(folder: Path) -> None:
    row_bytes = read_bundle(folder).manifest.signatures["decode"].row_bytes
    loaded = Loader(LOADER.device, max_batch=64, max_run_bytes=5 * row_bytes).load(folder)
    assert loaded.runtimes["decode"].max_batch == 5
    loaded.close()


def test_garbage_instead_of_arrays_is_refused(folder: Path) -> None:
    replace_file(folder, WEIGHTS_NAME, b"\x00" * 100)
    assert (refused(folder).step, refused(folder).cause) == ("arrays", "INVALID_ARRAYS")


def test_an_empty_folder_is_refused_at_manifest(tmp_path: Path) -> None:
    (tmp_path / "toy" / "1").mkdir(parents=True)
    assert (refused(tmp_path / "toy" / "1").step, refused(tmp_path / "toy" / "1").cause) == ("manifest", "MISSING_FILE")


def test_a_bundle_copied_under_another_version_is_refused(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "9")
    assert refused(folder.parent / "9").cause == "WRONG_PLACE"


@pytest.mark.parametrize(("device", "place_on"), [("cpu", ""), ("cuda", "cuda")])
def test_fixed_inputs_stay_on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, device: Literal["cpu", "cuda"], place_on: str) -> None:
    """Which runtimes are asked for; that they run there no test can tell without one."""
    asked: list[str] = []

    def noted(*values: Any, **options: Any) -> Runtime:
        asked.append(options.pop("place_on"))
        return Runtime(*values, **options)

    monkeypatch.setattr("services.engine.loader.Runtime", noted)
    monkeypatch.setattr("services.engine.loader.open_session", lambda *values: open_session(*values[:-1], LOADER.device))
    Loader(ChosenDevice(device, False, 1), max_batch=4).load(folder).close()
    assert set(asked) == {place_on}
