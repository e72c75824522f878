"""From a recipe to an answer: each member of the family is fitted, its bundle served, and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.bundle import Manifest, read_bundle
from dichroic.v1 import latent_pb2 as pb
from dichroic.wire import from_array, to_array
from tests.services.conftest import Running, running_on
from tests.training.latent.recipes import CARDS, FILES, MODEL, write_recipe
from tests.training.latent.test_columns import CONDITIONS, OF_SPECTRA, TARGETS, TO_SPECTRA
from training.__main__ import main

PATCHES = """
name = "toy"
kind = "latent"

[data]
source = "patch_spectra"
train = 60
test = 20
side_px = 12
points = 16
"""
RANDOM = np.random.default_rng(0)
NUMBER = np.arange(80)
ARRAYS = {
    "images": RANDOM.random((80, 12, 12), dtype=np.float32),
    "spectra": RANDOM.random((80, 20), dtype=np.float32),
    "conditions": np.stack([RANDOM.random(80), NUMBER % 2], axis=1),
    "targets": np.where(NUMBER % 4 == 0, RANDOM.random(80) + 5, np.nan)[:, None],
    "labels": NUMBER % 3 - 1,
}
FROM_SPECTRA = MODEL.replace("content_size = 1", 'content_size = 1\ninput_kind = "spectra"')
CLASSES = MODEL.replace("content_size = 1", 'content_size = 2\nangle_bins = 4\nclass_source = "semi_supervised"\nclasses = 2')


def fitted(folder: Path, model: str, extra: str = "", data: str = FILES) -> Manifest:
    np.savez(folder / "a.npz", **ARRAYS)
    given = ("--data", str(folder / "a.npz")) if data == FILES else ()
    recipe = write_recipe(folder, data, model.replace("content_size = 1", "content_size = 2"), extra)
    assert main(["fit", str(recipe), "--out", str(folder / "bundles"), "--device", "cpu", *given]) == 0
    return read_bundle(folder / "bundles" / "toy" / "1").manifest


async def ask(running: Running, call: str, **fields: Any) -> Any:
    request = getattr(pb, f"{call}Request")
    made = {name: to_array(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()}
    return await getattr(running.latent, call)(request(model_name="toy", **made))


def read(answer: Any, name: str) -> np.ndarray:
    return from_array(getattr(answer, name), field=name)


def metrics(manifest: Manifest) -> set[str]:
    return {metric.name for metric in manifest.metrics}


@pytest.mark.slow
async def test_conditional_images(tmp_path: Path) -> None:
    manifest = fitted(tmp_path, MODEL, CONDITIONS)
    assert manifest.latent is not None
    assert [condition.name for condition in manifest.latent.conditions] == ["voltage", "phase"]
    assert manifest.calibration.reconstruction_error is not None
    images, conditions = ARRAYS["images"][:3], np.array([[0.5, 0], [0.1, 1], [0.9, 1]], np.float32)
    async with running_on(tmp_path / "bundles") as running:
        encoded = await ask(running, "Encode", images=images, conditions=conditions)
        seen = await ask(running, "Reconstruct", images=images, conditions=conditions)
        latents = {name: read(encoded, name) for name in ("content", "angle_rad")}
        drawn = await ask(running, "Decode", conditions=conditions, **latents)
        grid = await ask(running, "DecodeManifold", axis_2=1, count_1=2, count_2=2, conditions=conditions[:1])
    np.testing.assert_allclose(read(drawn, "images"), read(seen, "reconstruction"), atol=1e-4)
    assert ((read(seen, "p_value") > 0) & (read(seen, "p_value") <= 1)).all()
    assert read(grid, "images").shape == (2, 2, 12, 12)


async def test_conditional_classes_and_bins(tmp_path: Path) -> None:
    manifest = fitted(tmp_path, CLASSES, CONDITIONS)
    assert {"class_accuracy", "class_ari"} <= metrics(manifest)
    async with running_on(tmp_path / "bundles") as running:
        told = await ask(running, "Classify", images=ARRAYS["images"][:3])
        encoded = await ask(running, "Encode", images=ARRAYS["images"][:3], conditions=np.zeros((3, 2), np.float32))
    np.testing.assert_allclose(read(told, "class_probabilities"), read(encoded, "class_probabilities"), atol=1e-5)


@pytest.mark.slow
async def test_cards_told_their_suit(tmp_path: Path) -> None:
    manifest = fitted(tmp_path, MODEL + "[training.equivariance]\nepochs = 1\nweight = 1.0\n", "condition_on_suit = true\n", CARDS)
    assert "angle_correlation_worst" in metrics(manifest)
    async with running_on(tmp_path / "bundles") as running:
        drawn = await ask(running, "Decode", conditions=np.array([[0], [3]], np.float32))
    first, second = read(drawn, "images")
    assert not np.allclose(first, second)


async def test_spectra_alone(tmp_path: Path) -> None:
    manifest = fitted(tmp_path, OF_SPECTRA.replace('encoder = "mlp"', 'encoder = "convolutional"\nencoder_channels = [4]'))
    assert manifest.latent is not None
    assert (manifest.latent.image_height_px, manifest.latent.image_width_px, manifest.latent.latent_names[0]) == (1, 20, "shift_1")
    spectra = ARRAYS["spectra"][:3]
    async with running_on(tmp_path / "bundles") as running:
        encoded = await ask(running, "Encode", spectra=spectra)
        seen = await ask(running, "Reconstruct", spectra=spectra)
        drawn = await ask(running, "Decode", content=read(encoded, "content"), shift_right_px=read(encoded, "shift_right_px"))
    assert not encoded.shift_down_px.data
    np.testing.assert_allclose(read(drawn, "spectra"), read(seen, "reconstruction"), atol=1e-4)


@pytest.mark.parametrize(("model", "data"), [pytest.param(TO_SPECTRA, FILES, marks=pytest.mark.slow), (TO_SPECTRA, PATCHES), (FROM_SPECTRA, FILES)])
async def test_from_one_kind_to_the_other(tmp_path: Path, model: str, data: str) -> None:
    manifest = fitted(tmp_path, model, 'output_unit = "nA"\n' if data == FILES else "", data)
    assert metrics(manifest) >= {"negative_elbo", "output_mse", "output_r2"}
    assert manifest.calibration.reconstruction_error is None
    assert manifest.latent is not None
    assert manifest.latent.novelty_threshold is None
    assert not any(name.startswith("reconstruct") for name in manifest.signatures)
    decoded = manifest.signatures["decode"].outputs[0]
    assert decoded.unit == ("nA" if data == FILES else "pm")
    given: dict[str, Any] = {"images": ARRAYS["images"][:3]} if model == TO_SPECTRA else {"spectra": ARRAYS["spectra"][:3]}
    async with running_on(tmp_path / "bundles") as running:
        encoded = await ask(running, "Encode", **given)
        pose = {"angle_rad": read(encoded, "angle_rad")} if model == FROM_SPECTRA else {}
        drawn = await ask(running, "Decode", content=read(encoded, "content"), **pose)
    assert read(drawn, decoded.name).shape == (3, *decoded.row_shape)


@pytest.mark.parametrize("bins", [pytest.param("", marks=pytest.mark.slow), "\nangle_bins = 4"])
async def test_semi_supervised_regression(tmp_path: Path, bins: str) -> None:
    manifest = fitted(tmp_path, MODEL.replace("content_size = 1", "content_size = 2" + bins), CONDITIONS + TARGETS)
    assert metrics(manifest) >= {f"target_{name}_strain" for name in ("rmse", "r2", "nlpd", "coverage_90")}
    images, conditions = ARRAYS["images"][:3], ARRAYS["conditions"][:3].astype(np.float32)
    async with running_on(tmp_path / "bundles") as running:
        told = await ask(running, "Regress", images=images)
        encoded = await ask(running, "Encode", images=images, conditions=conditions)
        latents = {name: read(encoded, name) for name in ("content", "angle_rad")} | {"targets": read(told, "target_mean")}
        drawn = await ask(running, "Decode", conditions=conditions, **latents)
        seen = await ask(running, "Reconstruct", images=images, conditions=conditions)
    assert list(told.units) == ["%"]
    assert (read(told, "target_sd") > 0).all()
    assert np.abs(read(told, "target_mean") - 5.5).max() < 2
    np.testing.assert_allclose(read(drawn, "images"), read(seen, "reconstruction"), atol=1e-4)


@pytest.mark.slow
async def test_capacities(tmp_path: Path) -> None:
    model = CLASSES + "[training.content_capacity]\nnats = 3.0\n[training.class_capacity]\nnats = 0.7\n"
    assert "negative_elbo" in metrics(fitted(tmp_path, model))


ON_CIRCLES = {
    "a torus and a chain of joint classes": (
        'content_size = 2\ntopology = ["circle", "circle"]\nclass_source = "joint"\nclasses = 3\n'
        'class_edges = [["class_1", "class_2"], ["class_2", "class_3"]]',
        ("circle", "circle"),
        (("class_1", "class_2"), ("class_2", "class_3")),
    ),
    "a line and a circle and learned classes": (
        'content_size = 2\ntopology = ["line", "circle"]\nclass_source = "semi_supervised"\nclasses = 2\n'
        'class_names = ["flat", "striped"]\nclass_edges = [["flat", "striped"]]',
        ("line", "circle"),
        (("flat", "striped"),),
    ),
}


@pytest.mark.parametrize("case", [each if "torus" in each else pytest.param(each, marks=pytest.mark.slow) for each in ON_CIRCLES])
async def test_content_on_circles_and_a_graph_of_classes(tmp_path: Path, case: str) -> None:
    lines, topology, edges = ON_CIRCLES[case]
    manifest = fitted(tmp_path, MODEL.replace("content_size = 1", lines) + "[training.classes]\nedge_weight = 5.0\n")
    assert manifest.latent is not None
    assert manifest.latent.topology == topology
    assert manifest.latent.class_edges == edges
    images = ARRAYS["images"][:40]
    circles = [index for index, axis in enumerate(topology) if axis == "circle"]
    async with running_on(tmp_path / "bundles") as running:
        encoded = await ask(running, "Encode", images=images)
        content, latents = read(encoded, "content"), read(encoded, "latent_mean")
        given = {"angle_rad": read(encoded, "angle_rad"), "class_index": read(encoded, "class_index")}
        round_once = content.copy()
        round_once[:, circles] += 2 * np.pi * np.array([[1], [-1]] * 20)
        along = content + 2 * np.pi * np.eye(1, 2)
        drawn, again, elsewhere = [
            read(await ask(running, "Decode", content=at.astype(np.float32), **given), "images") for at in (content, round_once, along)
        ]
        grid = await ask(running, "DecodeManifold", axis_2=1, count_1=3, count_2=4, class_index=np.array([1]))
    np.testing.assert_array_equal(content, latents[:, -2:])
    assert (np.abs(content[:, circles]) <= np.pi).all()
    assert np.ptp(content[:, circles]) > 0
    # Once more round a circle is the same place; on a line it is another.
    np.testing.assert_allclose(again, drawn, atol=1e-5 * float(np.ptp(drawn)) + 1e-6)
    assert np.allclose(elsewhere, drawn, atol=1e-3) == (topology[0] == "circle")
    np.testing.assert_allclose(read(grid, "values_2"), [-np.pi, -np.pi / 2, 0, np.pi / 2], atol=1e-6)
