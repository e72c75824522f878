"""Graphs against the model, compared here and not by the exporter's own check; and the server's loader takes the bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dichroic.bundle import write_bundle
from tests.training.export.exported import KINDS, TRIED, Exported, exported
from training.export.sessions import GraphRunner

DTYPES = ["uint8", "uint16", "float32"]


def drawn(made: Exported, dtype: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of a dtype, and the same in [0, 1] (n, h, w, c) float64, by hand."""
    specification, preprocessing = made.model.specification, made.facts.preprocessing
    shape = (rows, specification.height_px, specification.width_px, specification.channels)
    unit = np.random.default_rng(11).random(shape)
    low, high = np.array(preprocessing.input_low), np.array(preprocessing.input_high)
    if dtype == "float32":
        images = (low + unit * (high - low)).astype(np.float32)
        unit = (images.astype(np.float64) - low) / (high - low)
    else:
        greatest = np.iinfo(dtype).max
        images = np.round(unit * greatest).astype(dtype)
        unit = images / greatest
    return images[..., 0] if specification.channels == 1 else images, unit


def run(made: Exported, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    declared = made.bundle.manifest.signatures[signature]
    outputs = [spec.name for spec in declared.outputs]
    return GraphRunner(made.bundle.files[declared.graph], made.bundle.files["weights.safetensors"], outputs).run(inputs)


@torch.no_grad()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_served_answers_are_the_models_within_a_hundred_thousandth_of_their_range(kind: str, dtype: str) -> None:
    made = exported(kind)
    images, unit = drawn(made, dtype, 9)
    model = made.model
    reading = model.read(torch.from_numpy(unit).float())
    mean, sd = reading.mean, reading.sd
    pose = model.object_pose(reading.sampling)
    picture = model.images(reading.sampling).double().numpy()
    preprocessing = made.facts.preprocessing
    low, high = np.array(preprocessing.input_low), np.array(preprocessing.input_high)
    expected = {
        "latent_mean": mean.numpy(),
        "latent_sd": sd.numpy(),
        "angle_rad": pose.angle_rad.numpy(),
        "scale": pose.scale.numpy(),
        "shift_down_px": pose.shift_down_px.numpy(),
        "shift_right_px": pose.shift_right_px.numpy(),
        "content": mean.numpy()[:, len(model.specification.pose_names) :],
        "content_sd": sd.numpy()[:, len(model.specification.pose_names) :],
        "reconstruction": (low + picture * (high - low)).reshape(images.shape),
        "error": np.square(unit - picture).mean(axis=(1, 2, 3)),
    }
    answers = run(made, f"encode.{dtype}", {"images": images}) | run(made, f"reconstruct.{dtype}", {"images": images})
    for name in answers.keys() & expected.keys():
        extent = np.ptp(np.append(expected[name], 0.0))
        np.testing.assert_allclose(answers[name], expected[name], rtol=0, atol=1e-5 * extent, err_msg=name)
    assert {"latent_mean", "latent_sd", "reconstruction", "error"} <= answers.keys()
    if reading.class_probabilities is not None:
        for verb in ("encode", "classify"):
            told = run(made, f"{verb}.{dtype}", {"images": images})["class_probabilities"]
            np.testing.assert_allclose(told, reading.class_probabilities, rtol=0, atol=1e-5)
            np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_answers_alone_as_in_a_batch(kind: str, dtype: str) -> None:
    made = exported(kind)
    images, _ = drawn(made, dtype, 7)
    for verb in ("encode", "reconstruct"):
        together = run(made, f"{verb}.{dtype}", {"images": images})
        for row in range(len(images)):
            for name, values in run(made, f"{verb}.{dtype}", {"images": images[row : row + 1]}).items():
                extent = np.ptp(np.append(together[name], 0.0))
                np.testing.assert_allclose(values[0], together[name][row], rtol=0, atol=1e-5 * extent, err_msg=name)


SERVE = """
import pathlib, sys
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
for folder in sys.argv[1:]:
    Loader(ChosenDevice("cpu", False, 1), max_batch=8).load(pathlib.Path(folder)).close()
assert "torch" not in sys.modules
"""


def test_the_servers_loader_takes_every_kind_without_torch(tmp_path: Path) -> None:
    bundles = [exported(kind).bundle for kind in TRIED]
    folders = [str(write_bundle(tmp_path / str(index), bundle.manifest, bundle.files)[0]) for index, bundle in enumerate(bundles)]
    done = subprocess.run([sys.executable, "-c", SERVE, *folders], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
