"""The report of a mechanism bundle: which figures there are, what they say, and the numbers in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from dichroic.bundle.mechanism_section import Noise
from tests.toy_bundle import rewrite_manifest
from tests.toy_mechanism import Made
from tests.training.conftest import FittedByCommand, ToyMechanism
from tests.training.report.records import report_words
from training.__main__ import main
from training.report.calibration import coverage, quantile
from training.report.components import components, predicted
from training.report.learning import learning_curve, pool_of, sizes_of
from training.report.mechanism_graphs import MechanismGraphs

OF_ALL = ["calibration.png", "learning.png", "predicted.png"]


@pytest.fixture(scope="module")
def scaled(toy_mechanism: ToyMechanism) -> Made:
    return toy_mechanism("scaled")


@pytest.fixture(scope="module")
def graphs(scaled: Made) -> MechanismGraphs:
    return MechanismGraphs(scaled.written.folder)


def test_a_sum_is_drawn_part_by_part_with_its_truth(fitted_mechanism: FittedByCommand, tmp_path: Path) -> None:
    words = report_words(fitted_mechanism.folder, tmp_path)
    assert sorted(words) == sorted(["component-position.png", "component-phase.png", *OF_ALL])
    field = words["component-position.png"]
    for word in (
        "posterior mean",
        "truth at 30 held-out places",
        "posterior sd",
        "x (um)",
        "y (um)",
        "value (V)",
        "its mean over the training points is 0",
    ):
        assert word in field
    for word in ("fresh", "aged", "posterior mean, 90 % interval", "truth"):
        assert word in words["component-phase.png"]
    for word in ("nominal probability", "held-out points at random", "PIT", "the 90 % interval of y holds"):
        assert word in words["calibration.png"]
    assert "RMSE 0." in words["predicted.png"]
    assert "measured (V)" in words["predicted.png"]
    for word in (
        "random, mean and range of 5 orders",
        "greatest sd of f",
        "greatest sd of the part",
        "space-filling",
        "RMSE of f at held-out points (V)",
    ):
        assert word in words["learning.png"]


def test_a_factor_has_a_picture_of_its_own_and_no_truth_is_made_up(scaled: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = report_words(scaled.written.folder, tmp_path)
    assert sorted(words) == sorted(["component-factor-of-patch-on-position.png", "component-position.png", "component-phase.png", *OF_ALL])
    assert "mean square 1 over the training points" in words["component-factor-of-patch-on-position.png"]
    assert all("truth" not in each for each in words.values())
    assert "RMSE of y, noise included, at held-out points (V)" in words["learning.png"]
    assert "greatest sd of the part phase" in words["learning.png"]  # that of position has a factor
    assert "Without a truth beside them: position, phase" in capsys.readouterr().out


def test_pictures_are_written_and_something_is_on_them(fitted_mechanism: FittedByCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(fitted_mechanism.folder.parent), "--out", str(tmp_path / "figures")]) == 0
    printed = capsys.readouterr().out
    for path in (tmp_path / "figures").iterdir():
        assert str(path) in printed
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 400
        assert pixels[..., :3].std() > 0.02


def test_without_held_out_points_parts_are_drawn_and_the_rest_is_explained(
    fitted_mechanism: FittedByCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "toy" / "1"
    shutil.copytree(fitted_mechanism.folder, folder)
    (folder / "held_out.safetensors").unlink()
    files = json.loads((folder / "bundle.json").read_text())["files"]
    rewrite_manifest(folder, files=[entry for entry in files if entry["path"] != "held_out.safetensors"])
    assert sorted(report_words(folder, tmp_path / "out")) == ["component-phase.png", "component-position.png"]
    assert "No calibration, predicted or learning.png" in capsys.readouterr().out


def test_data_is_not_asked_for_and_the_bundle_not_written_to(
    fitted_mechanism: FittedByCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(fitted_mechanism.folder), "--data", "a.npz", "--out", str(tmp_path)]) == 2
    assert "DATA_NOT_USED" in capsys.readouterr().err
    assert main(["report", str(fitted_mechanism.folder), "--out", str(fitted_mechanism.folder / "figures")]) == 2
    assert "CANNOT_WRITE" in capsys.readouterr().err


def test_parts_and_factors_are_predicted_as_the_posterior_does(scaled: Made, graphs: MechanismGraphs) -> None:
    posterior, standardisation = scaled.fitted.posterior, scaled.facts.standardisation
    found = {component.name: component for component in components(graphs)}
    assert list(found) == ["factor of patch on position", "part of position", "part of phase"]
    place = np.random.default_rng(0).random((7, 2)) * 4
    latents = np.zeros((7, 7))
    latents[:, 2:4] = (place - standardisation.mean[2:4]) / standardisation.sd[2:4]
    wanted = posterior.predict(latents)
    mean, sd = predicted(graphs, found["part of position"], place)
    np.testing.assert_allclose(mean, wanted.mean[:, 1], atol=1e-9)
    np.testing.assert_allclose(sd**2, wanted.covariance[:, 1, 1], atol=1e-9)
    mean, _ = predicted(graphs, found["part of phase"], np.arange(3))
    latents = np.zeros((3, 7))
    latents[:, 4:] = (np.eye(3) - standardisation.mean[4:]) / standardisation.sd[4:]
    np.testing.assert_allclose(mean, posterior.predict(latents).mean[:, 2], atol=1e-9)


def test_coverage_counts_ranks_within_the_central_interval() -> None:
    rank = np.array([0.02, 0.3, 0.5, 0.7, 0.97])
    np.testing.assert_allclose(coverage(rank, np.array([0.1, 0.5, 0.9, 0.95])), [0.2, 0.6, 0.6, 0.8])
    uniform = (np.arange(1000) + 0.5) / 1000
    np.testing.assert_allclose(coverage(uniform, np.array([0.25, 0.9])), [0.25, 0.9], atol=2e-3)


def test_quantiles_are_those_of_the_noise_with_its_outliers() -> None:
    mean, variance = np.array([1.0, -2.0]), np.array([0.0, 3.0])
    plain = quantile(mean, variance, Noise(variance=1.0), 0.95)
    np.testing.assert_allclose(plain, mean + 1.6448536 * np.sqrt(variance + 1), atol=1e-6)
    noise = Noise(variance=1.0, outlier_share=0.2, outlier_variance=100.0)
    draws = np.random.default_rng(0).standard_normal(400_000) * np.where(np.random.default_rng(1).random(400_000) < 0.2, 10.0, 1.0)
    assert quantile(mean, variance, noise, 0.95)[0] == pytest.approx(1 + np.quantile(draws, 0.95), abs=0.05)


def test_with_all_points_every_curve_ends_where_the_model_is(scaled: Made, graphs: MechanismGraphs) -> None:
    pool = pool_of(graphs)
    assert pool is not None
    assert not pool.of_f
    held = graphs.held_out
    whole = np.sqrt(np.mean((held["total_mean"] - held["y"]) ** 2))
    sizes = sizes_of(len(pool.latents))
    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (10, 48)
    assert pool.part_name == "phase"
    for strategy in ("random", "space_filling", "total_sd", "part_sd", "mean_variance"):
        assert learning_curve(pool, strategy, sizes)[-1] == pytest.approx(whole, rel=1e-6)
    assert learning_curve(pool, "random", sizes, 1)[0] != learning_curve(pool, "random", sizes, 2)[0]
    np.testing.assert_allclose(pool.kernel, np.sum([_covariance(scaled, values) for values in scaled.fitted.structure.terms], axis=0), atol=1e-10)


def _covariance(made: Made, values: object) -> np.ndarray:
    structure, points = made.fitted.structure, made.fitted.posterior.latents
    found: np.ndarray = structure.covariance(values, points, points)  # type: ignore[arg-type]
    return found


def test_a_damaged_bundle_is_refused(fitted_mechanism: FittedByCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "toy" / "1"
    shutil.copytree(fitted_mechanism.folder, folder)
    (folder / "rows.onnx").write_bytes(b"other")
    assert main(["report", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "BUNDLE_REFUSED" in capsys.readouterr().err
