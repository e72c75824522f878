"""Conditional, spectral, image-to-spectrum and regressing models as bundles: parity, golden answers, and a server that takes them."""

from __future__ import annotations

import functools
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dichroic.bundle import Preprocessing, read_bundle
from dichroic.bundle.arrays import unpack
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from tests.training.export.exported import Exported, facts_for, make_model
from training.export.latent_bundle import write_latent_bundle
from training.export.modules import Normalise
from training.export.parity import TOLERANCE, ParityError, check_parity
from training.export.probes import probe_inputs
from training.export.sessions import GraphRunner
from training.latent.specification import ConditionColumn, ModelSpecification, TargetColumn

VOLTAGE = ConditionColumn("voltage", "V", "at the tip", (), 3.0, 0.5)
PHASE = ConditionColumn("phase", "1", "of the film", ("a", "b", "c"))
TARGETS = (TargetColumn("strain", "%", "of the lattice", -1.0, 0.2), TargetColumn("dose", "e/nm^2", "of the beam", 500.0, 40.0))
SPECIFICATIONS = {
    "conditional": ModelSpecification(
        12,
        16,
        invariances=("rotation", "translation"),
        encoder_channels=(4,),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
        conditions=(VOLTAGE, PHASE),
    ),
    "conditional-classes-bins": ModelSpecification(
        12,
        12,
        invariances=("rotation", "scale"),
        rotation_prior_sd_rad=math.pi / 4,
        angle_bins=4,
        class_source="semi_supervised",
        class_names=("disc", "ring"),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
        conditions=(PHASE,),
    ),
    "spectra": ModelSpecification(
        1,
        40,
        channels=2,
        invariances=("translation", "scale"),
        likelihood="gaussian",
        encoder_channels=(4, 8),
        encoder_widths=(16,),
        decoder_widths=(20,),
        input_kind="spectra",
        output_kind="spectra",
    ),
    "image-to-spectrum": ModelSpecification(
        12,
        12,
        likelihood="gaussian",
        encoder_channels=(4,),
        encoder_widths=(16,),
        decoder_widths=(20,),
        output_kind="spectra",
        output_shape=(1, 32, 1),
        conditions=(VOLTAGE,),
    ),
    "spectrum-to-image": ModelSpecification(
        1,
        40,
        invariances=("rotation", "translation"),
        encoder_channels=(4,),
        encoder_widths=(16,),
        decoder_widths=(20,),
        input_kind="spectra",
        output_shape=(10, 14, 2),
    ),
    "regression": ModelSpecification(
        12,
        12,
        invariances=("rotation",),
        rotation_prior_sd_rad=math.pi / 4,
        angle_bins=4,
        encoder_widths=(16,),
        decoder_widths=(20, 20),
        conditions=(PHASE,),
        targets=TARGETS,
    ),
}
KINDS = sorted(SPECIFICATIONS)


@functools.cache
def exported(kind: str) -> Exported:
    torch.set_num_threads(1)
    specification = SPECIFICATIONS[kind]
    facts = facts_for(specification)
    if specification.translates:
        channels = specification.drawn_shape[2]
        drawn = Preprocessing(unit="nA", input_low=(-2.0,) * channels, input_high=(6.0,) * channels, clip=False, integer_images="value")
        facts = replace(facts, output_preprocessing=drawn, novelty_threshold=None, novelty_false_alarm_rate=None)
    model = make_model(specification)
    with tempfile.TemporaryDirectory() as folder:
        written = write_latent_bundle(Path(folder), model, facts)
        # As a server does, golden answers and warm-up included.
        Loader(ChosenDevice("cpu", False, 1), max_batch=4).load(written.folder).close()
        return Exported(model, facts, written, read_bundle(written.folder))


def run(kind: str, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    bundle = exported(kind).bundle
    declared = bundle.manifest.signatures[name]
    graph = GraphRunner(bundle.files[declared.graph], bundle.files["weights.safetensors"], [spec.name for spec in declared.outputs])
    return graph.run({spec.name: inputs[spec.name] for spec in declared.inputs})


def probes(kind: str, name: str, rows: int = 9) -> dict[str, np.ndarray]:
    made = exported(kind)
    return probe_inputs(made.bundle.manifest.signatures[name], made.model.specification, made.facts.preprocessing, rows, seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_agree_with_the_model_and_a_server_loads_them(kind: str) -> None:
    made = exported(kind)
    assert 0 < made.written.parity.worst <= TOLERANCE
    golden = unpack(made.bundle.files["golden.safetensors"], path="golden.safetensors")
    assert {name.partition("/")[0] for name in golden} == set(made.bundle.manifest.signatures)


@pytest.mark.parametrize(
    ("kind", "signature", "inputs", "outputs"),
    [
        ("conditional", "encode.uint8", ["images", "conditions"], "angle_rad"),
        ("conditional", "decode", ["content", "angle_rad", "scale", "shift_down_px", "shift_right_px", "conditions"], "images"),
        ("conditional-classes-bins", "classify.uint16", ["images"], "class_probabilities"),
        ("spectra", "encode.float32", ["spectra"], "shift_right_px"),
        ("spectra", "decode", ["content", "scale", "shift_right_px"], "spectra"),
        ("image-to-spectrum", "decode", ["content", "conditions"], "spectra"),
        ("spectrum-to-image", "encode.float32", ["spectra"], "angle_rad"),
        ("regression", "regress.float32", ["images"], "target_sd"),
        ("regression", "decode", ["content", "angle_rad", "scale", "shift_down_px", "shift_right_px", "conditions", "targets"], "images"),
    ],
)
def test_signatures_are_the_contracts(kind: str, signature: str, inputs: list[str], outputs: str) -> None:
    declared = exported(kind).bundle.manifest.signatures[signature]
    assert [spec.name for spec in declared.inputs] == inputs
    assert outputs in [spec.name for spec in declared.outputs]


def test_only_spectra_that_go_in_lack_integers_and_only_one_kind_reconstructs() -> None:
    found = {kind: set(exported(kind).bundle.manifest.signatures) for kind in KINDS}
    assert found["spectra"] == {"encode.float32", "reconstruct.float32", "decode"}
    assert found["image-to-spectrum"] == {"encode.uint8", "encode.uint16", "encode.float32", "decode"}
    assert found["spectrum-to-image"] == {"encode.float32", "decode"}
    latent = exported("spectrum-to-image").bundle.manifest.latent
    assert latent is not None
    assert (latent.image_height_px, latent.image_width_px, latent.channels) == (10, 14, 1)


@pytest.mark.parametrize("kind", ["conditional", "conditional-classes-bins", "spectra", "regression"])
def test_decoding_what_encode_reports_is_the_reconstruction(kind: str) -> None:
    inputs = probes(kind, "encode.float32")
    encoded = run(kind, "encode.float32", inputs)
    latents = {"scale": np.ones(9, np.float32), **dict.fromkeys(("shift_down_px", "shift_right_px"), np.zeros(9, np.float32))} | inputs | encoded
    if "class_probabilities" in encoded:
        latents["class_weights"] = np.eye(2, dtype=np.float32)[encoded["class_probabilities"].argmax(axis=1)]
    if kind == "regression":
        latents["targets"] = run(kind, "regress.float32", inputs)["target_mean"]
    decoded = next(iter(run(kind, "decode", latents).values()))
    reconstructed = run(kind, "reconstruct.float32", inputs)["reconstruction"]
    np.testing.assert_allclose(decoded, reconstructed, atol=1e-4 * np.ptp(reconstructed))


def test_conditions_change_the_answer_and_enter_raw() -> None:
    inputs = probes("conditional", "encode.float32")
    first = run("conditional", "encode.float32", inputs)["latent_mean"]
    moved = inputs["conditions"].copy()
    moved[:, 0] += 1
    assert np.abs(run("conditional", "encode.float32", inputs | {"conditions": moved})["latent_mean"] - first).max() > 1e-3
    made = exported("conditional")
    with torch.no_grad():
        context = made.model.context.conditions(torch.tensor([[3.5, 2.0], [2.5, 0.0]]))
    np.testing.assert_allclose(context, [[1, 0, 0, 1], [-1, 1, 0, 0]], atol=1e-6)


def test_outputs_are_in_the_units_of_what_is_drawn() -> None:
    decoded = exported("image-to-spectrum").bundle.manifest.signatures["decode"].outputs[0]
    assert (decoded.name, decoded.unit, decoded.row_shape) == ("spectra", "nA", (32,))
    made = exported("image-to-spectrum")
    inputs = probes("image-to-spectrum", "decode")
    with torch.no_grad():
        context = made.model.context(torch.from_numpy(inputs["conditions"]), None)
        drawn = made.model.images(made.model.split(torch.from_numpy(inputs["content"]), None, context)).numpy()[:, 0, :, 0]
    np.testing.assert_allclose(run("image-to-spectrum", "decode", inputs)["spectra"], -2 + 8 * drawn, rtol=1e-5, atol=1e-5)


def test_a_spectrum_moves_as_its_shift_says() -> None:
    """The decoder's picture at a shift of 3 points is the picture at no shift, 3 points further on."""
    still = {"content": np.full((1, 2), 0.3, np.float32), "scale": np.ones(1, np.float32), "shift_right_px": np.zeros(1, np.float32)}
    first = run("spectra", "decode", still)["spectra"][0]
    moved = run("spectra", "decode", still | {"shift_right_px": np.full(1, 3, np.float32)})["spectra"][0]
    np.testing.assert_allclose(moved[3:], first[:-3], rtol=1e-4, atol=1e-4 * np.ptp(first))


def test_targets_are_told_in_their_units() -> None:
    made = exported("regression")
    inputs = probes("regression", "regress.float32")
    told = run("regression", "regress.float32", inputs)
    with torch.no_grad():
        values = torch.clamp(Normalise(made.facts.preprocessing, "float32")(torch.from_numpy(inputs["images"])), 0, 1)
        mean, sd = (part.numpy() for part in made.model.targets(values))
    np.testing.assert_allclose(told["target_mean"], mean * [0.2, 40] + [-1, 500], rtol=1e-5)
    np.testing.assert_allclose(told["target_sd"], sd * [0.2, 40], rtol=1e-5)


def test_a_wrong_standardisation_of_conditions_is_found_by_the_parity_check() -> None:
    made = exported("conditional")
    found = {name: made.bundle.files[signature.graph] for name, signature in made.bundle.manifest.signatures.items()}
    wrong = replace(made.model.specification, conditions=(replace(VOLTAGE, mean=3.01), PHASE))
    other = make_model(wrong)
    other.load_state_dict(made.model.state_dict())
    with pytest.raises(ParityError, match=r"encode|decode"):
        check_parity(other, made.facts.preprocessing, made.bundle.manifest.signatures, found, made.bundle.files["weights.safetensors"])
