from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dichroic.bundle import read_bundle
from tests.training.latent.recipes import CARDS, FILES, MODEL, random_images, write_images, write_recipe
from training.__main__ import main
from training.latent import pipeline
from training.latent.checkpoint import Checkpoint, CheckpointStore
from training.latent.history import read_history


def fit(recipe: Path, out: Path, *more: str) -> int:
    return main(["fit", str(recipe), "--out", str(out), "--device", "cpu", *more])


def test_fit_writes_a_bundle_prints_a_table_and_leaves_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(write_recipe(tmp_path, CARDS), tmp_path / "bundles") == 0
    printed = capsys.readouterr().out
    for word in ("negative_elbo", "angle_correlation_worst", "excess" if "bernoulli" in MODEL else "reconstruction_mse", "digest"):
        assert word in printed
    bundle = read_bundle(tmp_path / "bundles" / "toy" / "1")
    assert bundle.manifest.metrics
    assert bundle.manifest.calibration.reconstruction_error is not None
    history = read_history(bundle.files["history.json"])
    assert history is not None
    assert [epoch.epoch for epoch in history.epochs] == [1, 2]
    assert not list((tmp_path / "bundles" / ".checkpoints").rglob("*.safetensors"))


def test_interrupted_and_resumed_fit_gives_the_digest_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path)
    data = ("--data", str(write_images(tmp_path / "a.npz", random_images())), "--json")
    assert fit(recipe, tmp_path / "whole", *data) == 0
    whole = json.loads(capsys.readouterr().out)
    assert {metric["name"] for metric in whole["metrics"]} >= {"negative_elbo", "reconstruction_mse"}
    save = CheckpointStore.save

    def save_and_interrupt(store: CheckpointStore, state: Checkpoint) -> None:
        save(store, state)
        if state.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", save_and_interrupt)
        assert fit(recipe, tmp_path / "cut", *data) == 130
    assert "--resume" in capsys.readouterr().err
    assert not list((tmp_path / "cut").glob("toy/*"))
    assert fit(recipe, tmp_path / "cut", *data, "--resume") == 0
    assert json.loads(capsys.readouterr().out)["digest"] == whole["digest"]


def test_bad_input_exits_two_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typo = write_recipe(tmp_path, FILES, MODEL.replace("epochs", "epoch"))
    assert fit(typo, tmp_path) == 2
    assert "RECIPE_UNKNOWN_KEY" in capsys.readouterr().err
    recipe = write_recipe(tmp_path)
    assert fit(recipe, tmp_path, "--data", str(tmp_path / "none.npz")) == 2
    assert "FILE_NOT_FOUND" in capsys.readouterr().err
    flat = write_images(tmp_path / "flat.npz", np.zeros((60, 12, 12), np.float32))
    assert fit(recipe, tmp_path, "--data", str(flat)) == 2
    assert "CONSTANT_IMAGES" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_cuda_where_there_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(write_recipe(tmp_path, CARDS)), "--device", "cuda", "--out", str(tmp_path)]) == 2
    assert "NO_CUDA" in capsys.readouterr().err


def test_resuming_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(write_recipe(tmp_path, CARDS), tmp_path / "bundles", "--resume") == 2
    assert "CHECKPOINT_MISSING" in capsys.readouterr().err


def test_unknown_command_exits_two() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train"])
    assert caught.value.code == 2


def interrupting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fit is interrupted after its first epoch, as by Ctrl-C."""
    save = CheckpointStore.save

    def save_and_interrupt(store: CheckpointStore, state: Checkpoint) -> None:
        save(store, state)
        if state.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointStore, "save", save_and_interrupt)


def test_another_fit_of_the_same_name_leaves_a_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "bundles"
    data = ("--data", str(write_images(tmp_path / "a.npz", random_images())))
    interrupting(monkeypatch)
    assert fit(recipe, out, *data, "--seed", "1") == 130
    first = {path: path.read_bytes() for path in out.rglob("*.safetensors")}
    assert str(next(iter(first)).parent) in capsys.readouterr().err
    assert fit(recipe, out, *data, "--seed", "2") == 130
    assert len(list(out.rglob("*.safetensors"))) == 2
    assert all(path.read_bytes() == content for path, content in first.items())


@pytest.mark.parametrize("place", ["file", "file/inner", "bundles"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "toy").write_text("in the way of the bundle's folder")
    assert fit(write_recipe(tmp_path), tmp_path / place, "--data", str(tmp_path / "never read.npz")) == 2
    assert "CANNOT_WRITE" in capsys.readouterr().err


def test_a_disk_that_fills_up_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "write_latent_bundle", full)
    data = ("--data", str(write_images(tmp_path / "a.npz", random_images())))
    assert fit(write_recipe(tmp_path), tmp_path / "bundles", *data) == 2
    told = capsys.readouterr().err
    assert "CANNOT_WRITE" in told
    assert "--resume" in told
    assert list((tmp_path / "bundles").rglob("*.safetensors"))


def test_own_data_are_not_passed_off_as_the_recipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path, extra='files = ["theirs.npz"]\ncitation = "their paper"\nnotes = "About their scan."\n')
    data = str(write_images(tmp_path / "mine.npz", random_images()))
    assert fit(recipe, tmp_path / "bundles", "--data", data, "--licence", "CC0 1.0") == 0
    assert "exceeded by 0.0833 of the held-out images" in capsys.readouterr().out
    bundle = read_bundle(tmp_path / "bundles" / "toy" / "1")
    assert bundle.manifest.training_data.source == "mine.npz"
    assert bundle.manifest.training_data.licence == "CC0 1.0"
    assert bundle.manifest.latent is not None
    assert bundle.manifest.latent.novelty_false_alarm_rate == pytest.approx(1 / 12)
    assert "Licence of the data: CC0 1.0" in bundle.model_card
    assert "written for other data (theirs.npz)" in bundle.model_card
    for foreign in ("their paper", "About their scan", "data: MIT"):
        assert foreign not in bundle.model_card
