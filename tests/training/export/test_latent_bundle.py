from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from dichroic.bundle.arrays import unpack
from tests.training.export.exported import KINDS, SPECIFICATIONS, TRIED, exported, facts_for, make_model
from training.export.graphs import to_graph, with_front
from training.export.latent_bundle import latent_section, write_latent_bundle
from training.export.modules import Encode
from training.export.parity import TOLERANCE, torch_answer
from training.export.probes import probe_inputs
from training.export.sessions import GraphRunner
from training.export.specs import normalised_in, signatures
from training.export.weights import share_weights


def runner(kind: str, signature: str) -> GraphRunner:
    made = exported(kind)
    declared = made.bundle.manifest.signatures[signature]
    return GraphRunner(made.bundle.files[declared.graph], made.bundle.files["weights.safetensors"], [spec.name for spec in declared.outputs])


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_agree_with_the_model_within_the_promise(kind: str) -> None:
    assert 0 < exported(kind).written.parity.worst <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_bundle_has_the_contracts_files_and_signatures(kind: str) -> None:
    bundle = exported(kind).bundle
    verbs = ("encode", "reconstruct", *(("classify",) if SPECIFICATIONS[kind].class_source else ()))
    names = {f"{verb}.{dtype}" for verb in verbs for dtype in ("uint8", "uint16", "float32")} | {"decode"}
    assert set(bundle.manifest.signatures) == names
    assert {entry.path for entry in bundle.manifest.files} == {f"{name}.onnx" for name in names} | {
        "README.md",
        "golden.safetensors",
        "weights.safetensors",
    }


def test_outputs_come_in_the_contracts_order_and_only_those_that_exist() -> None:
    def outputs(kind: str) -> list[str]:
        return [spec.name for spec in exported(kind).bundle.manifest.signatures["encode.uint8"].outputs]

    pose = ["angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px"]
    rest = ["content", "content_sd", "latent_mean", "latent_sd"]
    assert outputs("everything") == pose + rest
    assert outputs("plain-three-channels") == rest
    assert outputs("scale-alone-no-content") == ["scale", "latent_mean", "latent_sd"]


def test_spatial_models_decode_at_a_whole_pose_even_with_one_invariance() -> None:
    def inputs(kind: str) -> list[str]:
        return [spec.name for spec in exported(kind).bundle.manifest.signatures["decode"].inputs]

    pose = ["angle_rad", "scale", "shift_down_px", "shift_right_px"]
    assert inputs("scale-alone-no-content") == pose
    assert inputs("rotation-translation") == ["content", *pose]
    assert inputs("plain-three-channels") == ["content"]


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_have_the_manifests_inputs_and_outputs_with_a_free_batch_axis(kind: str) -> None:
    bundle = exported(kind).bundle
    for signature in bundle.manifest.signatures.values():
        model = onnx.load_from_string(bundle.files[signature.graph])
        assert (model.opset_import[0].version, model.ir_version) == (20, 10)
        for specs, values in ((signature.inputs, model.graph.input), (signature.outputs, model.graph.output)):
            assert [spec.name for spec in specs] == [value.name for value in values]
            for spec, value in zip(specs, values, strict=True):
                shape = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
                assert shape == list(spec.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_large_constants_lie_once_in_the_weights_file_under_their_own_name(kind: str) -> None:
    bundle = exported(kind).bundle
    packed = bundle.files["weights.safetensors"]
    tensors = unpack(packed, path="weights.safetensors")
    contents = [tensor.tobytes() + str(tensor.shape).encode() for tensor in tensors.values()]
    assert len(set(contents)) == len(contents)
    used = set()
    for path in (signature.graph for signature in bundle.manifest.signatures.values()):
        for tensor in onnx.load_from_string(bundle.files[path]).graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                assert numpy_helper.to_array(tensor).nbytes < 1024
                continue
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert place["location"] == "weights.safetensors"
            start, length = int(place["offset"]), int(place["length"])
            assert packed[start : start + length] == tensors[tensor.name].tobytes()
            used.add(tensor.name)
    assert used == set(tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_names_this_machine(kind: str) -> None:
    for path, content in exported(kind).bundle.files.items():
        for word in (str(Path.home()).encode(), str(Path.cwd()).encode(), b".py", b"site-packages"):
            assert word not in content, f"{path} holds {word!r}"


@pytest.mark.parametrize("kind", KINDS)
def test_golden_answers_replay_within_their_tolerance(kind: str) -> None:
    bundle = exported(kind).bundle
    golden = unpack(bundle.files["golden.safetensors"], path="golden.safetensors")
    for name, signature in bundle.manifest.signatures.items():
        answers = runner(kind, name).run({spec.name: golden[f"{name}/in/{spec.name}"] for spec in signature.inputs})
        for spec in signature.outputs:
            atol = golden[f"{name}/atol/{spec.name}"]
            assert atol.shape == (1,)
            assert atol.dtype == np.float64
            assert len(answers[spec.name]) == 4
            assert np.max(np.abs(answers[spec.name] - golden[f"{name}/out/{spec.name}"])) <= atol[0]


@pytest.mark.parametrize("kind", [kind for kind in TRIED if SPECIFICATIONS[kind].invariances])
def test_decoding_what_encode_reports_is_the_reconstruction(kind: str) -> None:
    made = exported(kind)
    manifest = made.bundle.manifest
    inputs = probe_inputs(manifest.signatures["encode.float32"], made.model.specification, made.facts.preprocessing, 9, seed=3)
    encoded = runner(kind, "encode.float32").run(inputs)
    defaults = {"scale": np.ones(9, np.float32)}
    if "class_probabilities" in encoded:
        defaults["class_weights"] = np.eye(encoded["class_probabilities"].shape[1], dtype=np.float32)[encoded["class_probabilities"].argmax(axis=1)]
    latents = {spec.name: encoded.get(spec.name, defaults.get(spec.name, np.zeros(9, np.float32))) for spec in manifest.signatures["decode"].inputs}
    decoded = runner(kind, "decode").run(latents)["images"]
    reconstructed = runner(kind, "reconstruct.float32").run(inputs)["reconstruction"]
    np.testing.assert_allclose(decoded, reconstructed, atol=1e-4 * np.ptp(reconstructed))


def test_integers_span_the_input_range_and_answer_as_the_same_floats() -> None:
    kind = "rotation-translation"
    preprocessing = exported(kind).facts.preprocessing
    low, high = preprocessing.input_low[0], preprocessing.input_high[0]
    for dtype in ("uint8", "uint16"):
        greatest = np.iinfo(dtype).max
        images = np.random.default_rng(0).integers(0, greatest + 1, (5, 12, 16)).astype(dtype)
        floats = (low + images / greatest * (high - low)).astype(np.float32)
        first, second = runner(kind, f"encode.{dtype}").run({"images": images}), runner(kind, "encode.float32").run({"images": floats})
        for name, values in first.items():
            np.testing.assert_allclose(values, second[name], atol=2e-5 * max(1.0, float(np.abs(values).max())))


def test_error_is_the_mean_squared_difference_in_the_normalised_scale_not_clipped() -> None:
    kind = "rotation-translation"
    preprocessing = exported(kind).facts.preprocessing
    low, span = preprocessing.input_low[0], preprocessing.input_high[0] - preprocessing.input_low[0]
    images = (low + span * np.random.default_rng(0).uniform(-2, 4, (5, 12, 16))).astype(np.float32)
    answers = runner(kind, "reconstruct.float32").run({"images": images})
    expected = np.mean(((images - answers["reconstruction"].astype(np.float64)) / span) ** 2, axis=(1, 2))
    np.testing.assert_allclose(answers["error"], expected, rtol=1e-4)
    assert (answers["error"] > 1).all()


def test_inputs_of_bernoulli_models_are_clipped_before_the_encoder() -> None:
    kind = "rotation-translation"
    high = exported(kind).facts.preprocessing.input_high[0]
    images = np.full((2, 12, 16), high, dtype=np.float32)
    images[1] *= 50
    for values in runner(kind, "encode.float32").run({"images": images}).values():
        np.testing.assert_allclose(values[0], values[1], atol=1e-6)


def test_counts_are_taken_as_values_when_the_recipe_says_so() -> None:
    model, facts = exported("plain-three-channels").model, facts_for(SPECIFICATIONS["plain-three-channels"], integer_images="value")
    preprocessing = facts.preprocessing.model_copy(update={"input_low": (0.0, 0.0, 0.0), "input_high": (100.0, 200.0, 50.0), "unit": "counts"})
    declared = signatures(model.specification, preprocessing)
    signature = declared["encode.uint16"]
    assert signature.inputs[0].unit == "counts"
    core = to_graph(Encode(model, preprocessing), [normalised_in(model.specification)], signature.outputs)
    graphs, weights = share_weights({"encode.uint16": with_front(core, signature.inputs[0], preprocessing)}, {})
    images = np.random.default_rng(0).integers(0, 200, (3, 12, 12, 3)).astype(np.uint16)
    counted = GraphRunner(graphs["encode.uint16"], weights, [spec.name for spec in signature.outputs]).run({"images": images})
    floats = torch_answer(model, preprocessing, "encode.float32", signature, {"images": images.astype(np.float32)})
    for spec in signature.outputs:
        np.testing.assert_allclose(counted[spec.name], floats[spec.name], atol=1e-5)


def test_manifest_says_what_the_model_is() -> None:
    latent = exported("rotation-translation").bundle.manifest.latent
    assert latent is not None
    assert (latent.image_height_px, latent.image_width_px, latent.channels) == (12, 16, 1)
    assert latent.latent_names == ("rotation", "shift_1", "shift_2", "content_1", "content_2")
    assert latent.scale_prior_log_sd is None
    assert latent.channel_names == ("amplitude",)
    assert latent.novelty_threshold == 0.02


@pytest.mark.parametrize("symmetry", [0, 1, 2])
def test_manifest_says_modulo_what_angles_are_meant_and_leave_out_the_whole_turn(symmetry: int) -> None:
    specification = dataclasses.replace(SPECIFICATIONS["rotation-translation"], angle_symmetry=symmetry)
    latent = latent_section(make_model(specification), facts_for(specification))
    assert latent.model_dump(exclude_unset=True).get("angle_symmetry") == (2 if symmetry == 2 else None)
    assert latent.angle_symmetry == max(1, symmetry)


def test_model_card_tells_data_licence_figures_calibration_limits_and_what_is_ours() -> None:
    card = exported("rotation-translation").bundle.model_card
    for part in (
        "# Toy title",
        "drawn by a test",
        "MIT",
        "| negative_elbo | 12.5 | nats/image |",
        "## Limits",
        "## Calibration",
        "Published:",
        "ours",
    ):
        assert part in card
    assert "A note about the data." in card


def test_same_model_and_facts_give_the_same_digest(tmp_path: Path) -> None:
    kind = "scale-alone-no-content"
    again = write_latent_bundle(tmp_path, make_model(SPECIFICATIONS[kind]), facts_for(SPECIFICATIONS[kind]))
    assert again.manifest.digest == exported(kind).bundle.manifest.digest
    assert json.loads((again.folder / "bundle.json").read_text())["version"] == 1
