"""From a recipe and a file to the pictures, and the committed image → spectrum bundle on patches it never saw."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.training.latent.recipes import FILES, write_recipe
from tests.training.latent.test_columns import CONDITIONS, OF_SPECTRA, TARGETS, TO_SPECTRA
from tests.training.report.records import report_words
from training.__main__ import main
from training.data.patch_spectra import draw_patch_spectra
from training.latent.target_metrics import r2, target_figures
from training.report.answers import answer
from training.report.graphs import LatentGraphs
from training.report.regression import coverage
from training.report.settings import told_to
from training.report.subjects import fresh_subjects

PATCH_SPECTRUM = Path(__file__).parents[3] / "bundles" / "patch_spectrum"
COUNT = 80


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of everything, the same at random in every row: whatever is held out, the means in training are nearly the file's."""
    random, number = np.random.default_rng(0), np.arange(COUNT)
    path = tmp_path_factory.mktemp("data") / "a.npz"
    targets = np.where(number % 4 == 0, random.random(COUNT) + 5, np.nan)[:, None]
    conditions = np.stack([random.normal(3, 0.5, COUNT), number % 2], axis=1)
    images, spectra = random.random((COUNT, 12, 12), dtype=np.float32), random.random((COUNT, 20), dtype=np.float32)
    np.savez(path, images=images, spectra=spectra, conditions=conditions, targets=targets)
    return path


def fitted(folder: Path, data: Path, model: str, extra: str) -> Path:
    recipe = write_recipe(folder, FILES, model, extra)
    assert main(["fit", str(recipe), "--out", str(folder / "bundles"), "--device", "cpu", "--data", str(data)]) == 0
    return folder / "bundles" / "toy"


def test_a_conditional_regression_to_spectra_is_drawn_at_its_training_means(tmp_path: Path, data: Path) -> None:
    bundle = fitted(tmp_path, data, TO_SPECTRA, 'output_unit = "nA"\n' + CONDITIONS + TARGETS)
    told = told_to(LatentGraphs(bundle))  # without any data
    assert not told.unknown
    with np.load(data) as arrays:
        assert told.conditions[0].mean == pytest.approx(arrays["conditions"][:, 0].mean(), abs=0.15)
        assert told.conditions[0].sd == pytest.approx(arrays["conditions"][:, 0].std(), rel=0.2)
        assert told.targets[0].mean == pytest.approx(np.nanmean(arrays["targets"]), abs=0.15)
    found = report_words(bundle, tmp_path / "figures", "--data", str(data))
    own = {"predictions", "errors", "regression"}
    assert {name.removesuffix(".png") for name in found} == own | {
        "manifold-phase_a",
        "manifold-phase_b",
        "traversals",
        "conditions",
        "targets",
        "elbo",
    }
    assert f"voltage {told.conditions[0].mean:.3g} V, strain {told.targets[0].mean:.3g} % (means in training)" in found["traversals.png"]
    assert "value (nA)" in found["traversals.png"]
    assert "predicted from images of a.npz (training rows among them)" in found["predictions.png"]
    assert "held out at the fit: R²" in found["regression.png"]


def test_poses_of_conditional_spectra_are_told_in_points(tmp_path: Path, data: Path) -> None:
    bundle = fitted(tmp_path, data, OF_SPECTRA, CONDITIONS)
    found = report_words(bundle, tmp_path / "figures", "--data", str(data))
    assert "shift towards higher points (points)" in found["poses.png"]
    assert "each at its own conditions" in found["poses.png"]
    assert "shift ±1.9 points" in found["traversals.png"]
    assert "nats per spectrum" in found["elbo.png"]
    assert "spectra" in found["errors.png"]


def test_loops_of_fresh_patches_are_predicted_as_well_as_the_card_says() -> None:
    graphs = LatentGraphs(PATCH_SPECTRUM)
    subjects = fresh_subjects(graphs, seed=3)
    assert subjects is not None
    expected = draw_patch_spectra(400, seed=3, stream="test")
    np.testing.assert_array_equal(subjects.values, expected.arrays["images"])
    np.testing.assert_array_equal(subjects.outputs, expected.arrays["spectra"])  # type: ignore[arg-type]
    answers = answer(graphs, subjects)
    assert answers.measured is not None
    card = next(metric.value for metric in graphs.manifest.metrics if metric.name == "output_r2")
    assert r2(answers.drawn, answers.measured) == pytest.approx(card, abs=0.003)


def test_the_committed_bundle_is_drawn(tmp_path: Path) -> None:
    assert main(["report", str(PATCH_SPECTRUM), "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elbo.png", "errors.png", "manifold.png", "predictions.png", "traversals.png"]
    for path in tmp_path.iterdir():
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.02  # something is drawn


def test_coverage_is_the_level_where_the_sd_is_right_and_below_where_it_is_small() -> None:
    random = np.random.default_rng(0)
    mean, truth = random.normal(size=20000), random.normal(size=20000)
    truth = mean + 2 * truth
    levels = np.array([0.2, 0.5, 0.9])
    assert coverage(mean, np.full(20000, 2.0), truth, levels) == pytest.approx(levels, abs=0.02)
    assert (coverage(mean, np.full(20000, 1.0), truth, levels) < levels - 0.05).all()
    assert coverage(mean, np.full(20000, 1.0), truth, np.array([0.9]))[0] == target_figures(mean, np.full(20000, 1.0), truth).coverage
