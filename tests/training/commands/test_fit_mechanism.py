"""`python -m training fit` of a recipe of kind "mechanism"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import read_bundle
from dichroic.bundle.arrays import unpack
from tests.training.conftest import FittedByCommand
from tests.training.mechanism.recipes import PATCH, POSITION, write_mechanism_recipe
from training.__main__ import main
from training.mechanism import pipeline


def fit(recipe: Path, out: Path, *more: str) -> int:
    return main(["fit", str(recipe), "--out", str(out), "--device", "cpu", *more])


def test_fit_says_in_json_what_it_found_and_wrote(fitted_mechanism: FittedByCommand) -> None:
    said = fitted_mechanism.said
    manifest = read_bundle(fitted_mechanism.folder).manifest
    assert (said["name"], said["version"], said["digest"]) == ("toy", 1, manifest.digest)
    found = {metric["name"]: metric["value"] for metric in said["metrics"]}
    assert found["rmse_f"] < 0.2
    assert found["r2_position"] > 0.95
    assert found["r2_phase"] > 0.95
    assert found["noise_sd"] == pytest.approx(0.1, rel=0.3)
    assert {"nlpd", "crps", "coverage_90", "leakage_phase_to_position", "leakage_position_to_phase"} <= set(found)
    levels = said["calibration"]["interval_coverage"]["levels"]
    assert [level["probability"] for level in levels] == [0.5, 0.8, 0.9, 0.95]
    assert set(said["timings_s"]) >= {"data", "encoders", "fit", "measure"}


def test_the_bundle_tells_its_data_and_its_parts_truth_in_the_models_gauge(fitted_mechanism: FittedByCommand) -> None:
    bundle = read_bundle(fitted_mechanism.folder)
    data = bundle.manifest.training_data
    assert (data.source, data.licence, len(data.sha256[0])) == ("points.npz", "MIT", 64)
    section = bundle.manifest.mechanism
    assert section is not None
    assert section.mechanisms[0].trained_high[0] == pytest.approx(1, abs=0.05)
    assert section.points == 120
    held = unpack(bundle.files["held_out.safetensors"], path="held_out.safetensors")
    assert len(held["y"]) == 30
    assert held["latents"].shape == (30, 4)
    with np.load(fitted_mechanism.points) as file:
        rows = np.array([int(np.flatnonzero(file["y"] == y)[0]) for y in held["y"]])
        others = np.setdiff1d(np.arange(150), rows)
        np.testing.assert_allclose(held["truth_position"], file["truth_position"][rows] - file["truth_position"][others].mean(), atol=1e-12)
        np.testing.assert_array_equal(held["input_position"], file["position"][rows])
    assert np.abs(held["part_mean"][:, 1] - held["truth_position"]).max() < 0.3


def test_the_fit_is_the_same_again(fitted_mechanism: FittedByCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    def stop(out: Path, fitted: object, facts: object) -> None:
        raise StopError(fitted)

    monkeypatch.setattr(pipeline, "write_mechanism_bundle", stop)
    with pytest.raises(StopError) as caught:
        fit(fitted_mechanism.recipe, tmp_path, "--data", str(fitted_mechanism.points))
    stored = unpack(read_bundle(fitted_mechanism.folder).files["posterior.safetensors"], path="p")
    np.testing.assert_array_equal(caught.value.args[0].posterior.noise_variance, stored["noise_variance"])


def test_ctrl_c_ends_with_130_and_leaves_no_bundle(
    fitted_mechanism: FittedByCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "fit", interrupted)
    assert fit(fitted_mechanism.recipe, tmp_path / "bundles", "--data", str(fitted_mechanism.points)) == 130
    assert "Interrupted; there is no checkpoint yet" in capsys.readouterr().err
    assert not list((tmp_path / "bundles").glob("toy/*"))


def test_an_interval_that_does_not_hold_what_it_says_is_warned_of(
    fitted_mechanism: FittedByCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "covered", lambda rank, level: 0.17)
    monkeypatch.setattr(pipeline, "write_mechanism_bundle", interrupted)
    fit(fitted_mechanism.recipe, tmp_path, "--data", str(fitted_mechanism.points))
    assert "the 90 % interval holds 17.0% of the held-out points, not 85% to 95%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "none.npz"], "DATA_NOT_FOUND"),
        (["--data", "points.npz", "--channel", "amplitude"], "DATA_NOT_USED"),
        (["--data", "flat.npz"], "CONSTANT_TARGET"),
        (["--data", "bad.npz"], "NON_FINITE"),
    ],
)
def test_bad_input_exits_two_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str) -> None:
    place = np.random.default_rng(0).random((60, 2))
    for name, y in (("points", place[:, 0]), ("flat", np.full(60, 3.0)), ("bad", np.where(np.arange(60) == 3, np.nan, 1.0))):
        np.savez(tmp_path / f"{name}.npz", position=place, y=y)
    recipe = write_mechanism_recipe(tmp_path, mechanisms=POSITION)
    given = [str(tmp_path / word) if word.endswith(".npz") else word for word in words]
    assert fit(recipe, tmp_path / "bundles", *given) == 2
    assert capsys.readouterr().err.startswith(f"{reason}: ")
    assert not (tmp_path / "bundles").exists()


def test_a_typo_is_told_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_mechanism_recipe(tmp_path, more="\n[fit]\nstart = 1\n")
    assert fit(recipe, tmp_path, "--data", "never read.npz") == 2
    assert "RECIPE_UNKNOWN_KEY" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert fit(write_mechanism_recipe(tmp_path), tmp_path / "file", "--data", "never read.npz") == 2
    assert "CANNOT_WRITE" in capsys.readouterr().err


def test_images_of_another_size_than_the_encoders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[3] / "bundles" / "cards_joint" / "1"
    recipe = write_mechanism_recipe(tmp_path, mechanisms=PATCH + f'encoder = "bundle"\npath = "{folder}"\n')
    np.savez(tmp_path / "a.npz", patch=np.zeros((60, 9, 9), np.float32), y=np.arange(60.0))
    assert fit(recipe, tmp_path / "bundles", "--data", str(tmp_path / "a.npz")) == 2
    told = capsys.readouterr().err
    assert "WRONG_SHAPE" in told
    assert "(9, 9)" in told


def test_an_encoders_recipe_is_read_from_the_recipes_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_mechanism_recipe(tmp_path, mechanisms=PATCH + 'encoder = "recipe"\npath = "none.toml"\n')
    np.savez(tmp_path / "a.npz", patch=np.zeros((60, 9, 9), np.float32), y=np.arange(60.0))
    assert fit(recipe, tmp_path / "bundles", "--data", str(tmp_path / "a.npz")) == 2
    assert str(tmp_path / "none.toml") in capsys.readouterr().err


def test_uint8_pictures_are_encoded_in_training_by_the_graph_that_will_serve_them(tmp_path: Path) -> None:
    """A latent bundle of full-scale images reads 255 as its greatest value, and the float32 255.0 as 255 of its unit."""
    from training.mechanism.encoders import from_bundle

    encoder = from_bundle("patch", Path(__file__).parents[3] / "bundles" / "cards_joint" / "1", (), kind="image", meaning="a card")
    images = encoder.examples["uint8"]
    found = pipeline.raw_latents((encoder,), pipeline.Points({"patch": images, "y": np.zeros(len(images))}))
    scaled = pipeline.raw_latents((encoder,), pipeline.Points({"patch": (images / np.float32(255)).astype(np.float32), "y": np.zeros(len(images))}))
    np.testing.assert_allclose(found, scaled, atol=1e-4)
