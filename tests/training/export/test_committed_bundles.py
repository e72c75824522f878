"""The demo bundles in bundles/ are whole, small, and answer as they did when they were made."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import Bundle, read_bundle
from services.engine.device import choose_device
from services.engine.loader import Loader
from services.mechanism.posterior import make_fixed
from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import DataSet
from training.data.dune.families import draw_dune
from training.data.dune.rates import ContextScaling, HumanPrior
from training.data.dune.truth import outcome_probabilities
from training.data.patch_spectra import draw_patch_spectra
from training.data.patches_field import draw_patches_field
from training.export.sessions import GraphRunner
from training.latent.class_metrics import class_agreement
from training.latent.pose_metrics import fisher_lee_correlation, median_angle_error_deg, shift_r2
from training.recipe import CardsData, Recipe, read_any_recipe, read_recipe

FOLDER = Path(__file__).parents[3] / "bundles"
BUNDLES = sorted(path.parent for path in FOLDER.glob("*/*/bundle.json"))


@pytest.fixture(params=BUNDLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return read_bundle(request.param)


NAMES = ("cards", "cards_joint", "cards_semi", "domains", "dune-prior", "patch_spectrum", "patches_start", "scales_stripes")
# Recipes to train oneself; no bundle of theirs is committed.
WITHOUT_BUNDLE = (
    "cards_conditional",
    "dune-mixture",
    "ferrosim",
    "loops",
    "patch_coercive",
    "patches_field",
    "patches_field_scaled",
    "patches_joint",
    "scales_known_noise",
    "scales_stripes_dense",
    "scales_known_stripes",
    "scales_pto",
    "scales_pzt",
)


def test_demo_bundles_are_there_in_one_version_each_and_each_has_its_recipe() -> None:
    assert [(path.parent.name, path.name) for path in BUNDLES] == [(name, "1") for name in NAMES]
    assert sorted(path.stem for path in (FOLDER.parent / "recipes").glob("*.toml")) == sorted(NAMES + WITHOUT_BUNDLE)


def test_a_bundle_says_modulo_what_its_recipe_means_angles(bundle: Bundle) -> None:
    recipe = read_any_recipe(FOLDER.parent / "recipes" / f"{bundle.manifest.name}.toml")
    if isinstance(recipe, Recipe):
        assert bundle.manifest.latent is not None
        assert bundle.manifest.latent.angle_symmetry == max(1, recipe.model.angle_symmetry)


def test_make_bundles_trains_the_demo_bundles_and_no_others() -> None:
    listed = re.search(r"^RECIPES [?]= (.*)$", (FOLDER.parent / "Makefile").read_text(), flags=re.MULTILINE)
    assert listed is not None
    assert tuple(listed.group(1).split()) == NAMES


def test_bundle_is_under_one_megabyte(bundle: Bundle) -> None:
    assert sum(entry.size_bytes for entry in bundle.manifest.files) < 1_000_000


def test_bundle_passes_the_servers_load_sequence_golden_answers_included(bundle: Bundle) -> None:
    loader = Loader(choose_device("cpu", intra_op_threads=1, gpu_memory_bytes=0), 4, make_fixed={"mechanism": make_fixed})
    loaded = loader.load(FOLDER / bundle.manifest.name / "1")
    assert loaded.runtimes.keys() == bundle.manifest.signatures.keys()
    loaded.close()


def test_bundle_is_calibrated(bundle: Bundle) -> None:
    if bundle.manifest.kind == "mechanism":
        coverage = bundle.manifest.calibration.interval_coverage
        assert coverage is not None
        covered = {level.probability: level.covered for level in coverage.levels}
        assert 0.85 <= covered[0.9] <= 0.95
        return
    if bundle.manifest.kind == "transition":
        hops = bundle.manifest.calibration.hop_calibration
        assert hops is not None
        assert hops.expected_calibration_error <= 0.01
        return
    latent, errors = bundle.manifest.latent, bundle.manifest.calibration.reconstruction_error
    assert latent is not None
    if latent.input_kind != latent.output_kind:  # nothing is reconstructed
        assert (errors, latent.novelty_threshold) == (None, None)
        return
    assert errors is not None
    assert [quantile.probability for quantile in errors.quantiles] == [0.5, 0.9, 0.95, 0.99]
    assert latent.novelty_threshold == errors.quantiles[-1].value
    assert latent.novelty_false_alarm_rate == 0.01


def test_card_names_source_and_licence_and_no_folder_of_a_machine(bundle: Bundle) -> None:
    card = bundle.model_card
    assert "Licence of the data: MIT" in card
    assert "/work" not in card
    assert "/home" not in card


def test_cards_bundle_meets_its_targets() -> None:
    figures = {metric.name: metric.value for metric in read_bundle(FOLDER / "cards" / "1").manifest.metrics}
    assert figures["angle_correlation_worst"] >= 0.99
    assert figures["angle_error_deg_worst"] <= 3
    assert figures["shift_r2_worst"] >= 0.98


@functools.cache
def fresh_cards(name: str = "cards") -> DataSet:
    """Cards as the recipe draws them, from a seed that no figure in the bundle was measured with."""
    data = read_recipe(FOLDER.parent / "recipes" / f"{name}.toml").data
    assert isinstance(data, CardsData)
    assert data.seed != 20260
    return draw_cards(300, angle_deg=data.angle_deg, shear_deg=data.shear_deg, shift=data.shift, side=data.side_px, seed=20260, stream="test")


def answers(signature: str, images: np.ndarray, name: str = "cards") -> dict[str, np.ndarray]:
    bundle = read_bundle(FOLDER / name / "1")
    declared = bundle.manifest.signatures[signature]
    outputs = [spec.name for spec in declared.outputs]
    return GraphRunner(bundle.files[declared.graph], bundle.files["weights.safetensors"], outputs).run({"images": images})


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_cards_graphs_find_the_pose_of_cards_drawn_anew(dtype: str) -> None:
    drawn = fresh_cards().arrays
    images = drawn["images"] if dtype == "float32" else np.round(255 * drawn["images"]).astype(np.uint8)
    found = answers(f"encode.{dtype}", images)
    for label, suit in enumerate(SUITS):
        rows = drawn["labels"] == label
        order, truth = SYMMETRY_ORDER[suit], drawn["truth_angle_rad"][rows]
        angle = found["angle_rad"][rows].astype(np.float64)
        # Fisher and Lee's correlation as its double sum over pairs.
        i, j = np.triu_indices(len(truth), 1)
        first, second = np.sin(order * (angle[i] - angle[j])), np.sin(order * (truth[i] - truth[j]))
        assert np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2)) >= 0.99, suit
        assert median_angle_error_deg(angle, truth, order) <= 3, suit
        shifts = [drawn[name][rows] for name in ("truth_shift_down_px", "truth_shift_right_px")]
        reported = (found["shift_down_px"][rows], found["shift_right_px"][rows])
        assert shift_r2(reported, (shifts[0], shifts[1]), truth, np.ones(len(truth))) >= 0.98, suit


def test_cards_novelty_threshold_lets_known_cards_pass_and_stops_noise() -> None:
    latent = read_bundle(FOLDER / "cards" / "1").manifest.latent
    assert latent is not None
    assert latent.novelty_threshold is not None
    known = answers("reconstruct.float32", fresh_cards().arrays["images"][::4])["error"]
    assert np.mean(known > latent.novelty_threshold) <= 0.04  # 300 images at a rate of 0.01
    noise = np.random.default_rng(0).random((20, 48, 48), dtype=np.float32)
    assert (answers("reconstruct.float32", noise)["error"] > latent.novelty_threshold).all()


@pytest.mark.parametrize("name", ["cards_joint", "cards_semi"])
def test_class_bundles_sort_cards_drawn_anew_and_find_their_angles(name: str) -> None:
    drawn = fresh_cards(name).arrays
    found = answers("encode.float32", drawn["images"], name)
    classified = answers("classify.float32", drawn["images"], name)["class_probabilities"]
    np.testing.assert_allclose(classified, found["class_probabilities"], atol=1e-5)
    agreement = class_agreement(classified.argmax(axis=1), drawn["labels"], 4, matched=name == "cards_joint")
    assert agreement.accuracy >= 0.995
    for label, suit in enumerate(SUITS):
        rows = drawn["labels"] == label
        order = SYMMETRY_ORDER[suit]
        assert fisher_lee_correlation(order * found["angle_rad"][rows], order * drawn["truth_angle_rad"][rows]) >= 0.99, suit


def test_patches_start_sorts_patches_drawn_anew_and_is_as_sure_as_it_says() -> None:
    drawn = draw_patches_field(500, noise=0.1, seed=20260, stream="test").arrays
    mechanisms = {name: drawn[name] for name in ("patch", "position", "age")}
    loader = Loader(choose_device("cpu", intra_op_threads=1, gpu_memory_bytes=0), 256, make_fixed={"mechanism": make_fixed})
    loaded = loader.load(FOLDER / "patches_start" / "1")
    parts = [
        loaded.runtimes["predict.float32"].run({name: each[start : start + 100] for name, each in mechanisms.items()}) for start in range(0, 500, 100)
    ]
    told = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # Four kinds of patch, four levels of its part, each kind its own.
    classes = told["latents"][:, :4].argmax(axis=1)
    assert class_agreement(classes, drawn["labels"], 4, matched=True).accuracy >= 0.995
    sd = np.std(drawn["truth_f"])
    assert np.sqrt(np.mean((told["total_mean"] - drawn["truth_f"]) ** 2)) <= 0.25 * sd
    section = loaded.manifest.mechanism
    assert section is not None
    inside = np.abs(drawn["y"] - told["total_mean"]) <= 1.645 * np.sqrt(told["total_variance"] + section.noise.variance)
    assert 0.82 <= inside.mean() <= 0.95


def test_dune_prior_tells_fresh_transitions_nearly_as_the_truth_does() -> None:
    """Issue 5: mean KL of at most 0.001 nats, told by the graph itself; and rates that turned and reflected states permute to 1e-6."""
    drawn = draw_dune(4000, rates="prior", seed=20260, stream="test").arrays
    bundle = read_bundle(FOLDER / "dune-prior" / "1")
    declared = bundle.manifest.signatures["predict"]
    runner = GraphRunner(bundle.files[declared.graph], bundle.files["weights.safetensors"], [spec.name for spec in declared.outputs])
    states = {spec.name: drawn[spec.name] for spec in declared.inputs}
    found = runner.run(states)
    sites = found["occupancy_mean"]
    told = np.concatenate([sites[:, :4], sites[:, 4:].sum(axis=1, keepdims=True)], axis=1)
    context = np.stack([drawn["current_na"], drawn["voltage_kv"]], axis=1)
    asked = drawn["beam_xy_angstrom"], drawn["neighbours_xy_angstrom"], drawn["dwell_s"], context
    truth = outcome_probabilities(HumanPrior(scaling=ContextScaling()), *asked)
    assert np.sum(truth * np.log(np.maximum(truth, 1e-300) / told), axis=1).mean() <= 0.001
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])  # a reflection in a line that is no axis
    moved = runner.run(states | {"beam_xy_angstrom": asked[0] @ turn, "neighbours_xy_angstrom": (asked[1] @ turn)[:, [2, 0, 1]]})
    assert np.abs(moved["rates_mean"] - found["rates_mean"][:, [2, 0, 1]]).max() <= 1e-6


def test_patch_spectrum_predicts_loops_drawn_anew() -> None:
    drawn = draw_patch_spectra(300, seed=20260, stream="test").arrays
    content = answers("encode.float32", drawn["images"], "patch_spectrum")["content"]
    bundle = read_bundle(FOLDER / "patch_spectrum" / "1")
    runner = GraphRunner(bundle.files[bundle.manifest.signatures["decode"].graph], bundle.files["weights.safetensors"], ["spectra"])
    predicted = runner.run({"content": content})["spectra"]
    residual = np.square(predicted - drawn["spectra"]).sum() / np.square(drawn["spectra"] - drawn["spectra"].mean(axis=0)).sum()
    assert 1 - residual >= 0.97  # the drawn noise alone leaves 0.986
