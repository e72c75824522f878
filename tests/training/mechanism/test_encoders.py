"""Each encoder's graph against numpy, and latent bundles as encoders against their own graphs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from dichroic.bundle import read_bundle
from training.errors import InputError
from training.export.sessions import GraphRunner
from training.mechanism.encoders import Encoder, from_bundle, identity, moments, one_hot, principal_components

BUNDLES = Path(__file__).parents[3] / "bundles"
JOINT = BUNDLES / "cards_joint" / "1"


def run(encoder: Encoder, values: np.ndarray, dtype: str = "") -> np.ndarray:
    session = onnxruntime.InferenceSession(encoder.graphs[dtype].SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["latents"], {encoder.name: values})[0]
    assert found.dtype == np.float64
    assert found.shape == (len(values), encoder.size)
    return found


def test_coordinates_stay_what_they_are_to_the_last_digit() -> None:
    encoder = identity("place", np.array([0.0, 1e7]), np.array([1.0, 2e7]), unit="nm", meaning="where")
    values = np.array([[0.1, 12345678.123456789], [np.pi, -1.0]])
    np.testing.assert_array_equal(run(encoder, values), values)
    assert (encoder.told, encoder.learned, encoder.input.dtype) == ("identity", False, "float64")
    assert ((encoder.examples[""] >= (0, 1e7)) & (encoder.examples[""] <= (1, 2e7))).all()


def test_a_category_is_a_one_among_zeros_and_an_unknown_one_none() -> None:
    encoder = one_hot("phase", ("a", "b", "c"), unit="1", meaning="state")
    np.testing.assert_array_equal(run(encoder, np.array([2, 0, 1, 2])), np.eye(3)[[2, 0, 1, 2]])
    assert not run(encoder, np.array([7, -1])).any()  # which services refuse before
    assert (encoder.input.range_low, encoder.input.range_high) == (0, 2)


def components(rows: np.ndarray, size: int) -> np.ndarray:
    """By the covariance's eigenvectors."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    return (flat - flat.mean(axis=0)) @ vectors[:, np.argsort(values)[::-1][:size]]


@pytest.mark.parametrize(("shape", "kind"), [((5, 4), "image"), ((5, 4, 2), "image"), ((11,), "spectrum"), ((11, 2), "spectrum")])
def test_principal_components_are_those_of_the_training_rows(shape: tuple[int, ...], kind: str) -> None:
    scale = np.linspace(3, 0.1, int(np.prod(shape))).reshape(shape)
    rows = (np.random.default_rng(0).normal(size=(60, *shape)) * scale).astype(np.float32)
    encoder = principal_components("x", rows, 3, kind=kind, unit="V", meaning="it")
    found, wanted = run(encoder, rows, "float32" if kind == "image" else ""), components(rows, 3)
    for column in range(3):  # up to the sign, which is no one's
        sign = np.sign(found[:, column] @ wanted[:, column])
        np.testing.assert_allclose(found[:, column], sign * wanted[:, column], atol=1e-9)
    assert set(encoder.graphs) == ({"uint8", "uint16", "float32"} if kind == "image" else {""})


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 2)])
def test_moments_are_the_mean_and_spread_of_each_channel(shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).normal(3, 2, (9, *shape)).astype(np.float32)
    encoder = moments("x", rows, unit="V", meaning="it")
    wide = rows.astype(np.float64).reshape(9, 20, -1)
    np.testing.assert_allclose(run(encoder, rows, "float32"), np.concatenate((wide.mean(axis=1), wide.std(axis=1)), axis=1), atol=1e-12)
    counts = np.random.default_rng(0).integers(0, 200, (9, *shape))
    for dtype in ("uint8", "uint16"):
        np.testing.assert_array_equal(run(encoder, counts.astype(dtype), dtype), run(encoder, counts.astype(np.float32), "float32"))
    flat = run(encoder, np.full_like(rows, 2.5), "float32")
    assert flat[:, encoder.size // 2 :].max() == 0  # no NaN where nothing varies
    assert encoder.told == "moments"


def test_integers_are_taken_by_their_value_whatever_their_width() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (30, 6, 6))
    encoder = principal_components("x", rows, 2, kind="image", unit="1", meaning="it")
    found = [run(encoder, rows.astype(dtype), dtype) for dtype in ("uint8", "uint16", "float32")]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert all(encoder.examples[dtype].dtype == dtype for dtype in encoder.graphs)


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    first, second = (principal_components("x", each, 2, kind="spectrum", unit="1", meaning="it") for each in (rows, rows[::-1]))
    np.testing.assert_allclose(run(first, rows), run(second, rows), atol=1e-9)


@pytest.mark.parametrize(("rows", "values"), [(3, 10), (10, 3)])
def test_more_components_than_rows_or_values_are_refused(rows: int, values: int) -> None:
    with pytest.raises(InputError, match="Ask for fewer") as caught:
        principal_components("x", np.zeros((rows, values)), 3, kind="spectrum", unit="1", meaning="it")
    assert caught.value.reason == "TOO_FEW_ROWS"


def answers(folder: Path, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
    bundle = read_bundle(folder)
    declared = bundle.manifest.signatures[signature]
    runner = GraphRunner(bundle.files[declared.graph], bundle.files["weights.safetensors"], [spec.name for spec in declared.outputs])
    return runner.run({declared.inputs[0].name: values})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_latent_bundle_tells_as_an_encoder_what_it_tells_itself(dtype: str) -> None:
    encoder = from_bundle("patch", JOINT, (), kind="image", meaning="a patch")
    images = encoder.examples[dtype]
    wanted = answers(JOINT, f"encode.{dtype}", images)["class_probabilities"]
    np.testing.assert_allclose(run(encoder, images, dtype), wanted, atol=1e-6)
    manifest = read_bundle(JOINT).manifest
    assert encoder.told == f"cards_joint {manifest.digest}"
    assert encoder.learned
    assert (encoder.input.name, encoder.input.meaning) == ("patch", "a patch")
    assert all(name.startswith("patch.") for name in encoder.weights)


def test_chosen_latents_stand_side_by_side_and_an_angle_as_cosine_and_sine() -> None:
    encoder = from_bundle("patch", JOINT, ("angle_rad", "class_probabilities", "content"), kind="image", meaning="a patch")
    images = encoder.examples["float32"]
    told = answers(JOINT, "encode.float32", images)
    wanted = np.column_stack((np.cos(told["angle_rad"]), np.sin(told["angle_rad"]), told["class_probabilities"], told["content"]))
    np.testing.assert_allclose(run(encoder, images, "float32"), wanted, atol=1e-5)


def test_content_is_taken_of_a_bundle_without_classes_and_what_is_not_needed_is_left_out() -> None:
    folder = BUNDLES / "cards" / "1"
    encoder = from_bundle("patch", folder, (), kind="image", meaning="a patch")
    images = encoder.examples["float32"]
    np.testing.assert_allclose(run(encoder, images, "float32"), answers(folder, "encode.float32", images)["content"], atol=1e-5)
    kept = {name for node in encoder.graphs["float32"].graph.node for name in node.output}
    assert "angle_sd_rad" not in kept


def damaged(tmp_path: Path) -> Path:
    shutil.copytree(JOINT, tmp_path / "bad")
    (tmp_path / "bad" / "weights.safetensors").write_bytes(b"other")
    return tmp_path / "bad"


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing there": (lambda folder: folder / "none", {}, "cannot be read"),
    "damaged": (damaged, {}, "cannot be read"),
    "of images, for a spectrum": (lambda _: JOINT, {"kind": "spectrum"}, "expected a latent bundle of spectra"),
    "an unknown latent": (lambda _: JOINT, {"latents": ("mood",)}, "tells no mood"),
    "no classes": (lambda _: BUNDLES / "cards" / "1", {"latents": ("class_probabilities",)}, "tells no class_probabilities"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_encoder_is_refused(tmp_path: Path, case: str) -> None:
    folder, changes, words = REFUSED[case]
    given = {"latents": (), "kind": "image"} | changes
    with pytest.raises(InputError, match=words) as caught:
        from_bundle("patch", folder(tmp_path), given["latents"], kind=given["kind"], meaning="a patch")
    assert caught.value.reason == "ENCODER_REFUSED"
