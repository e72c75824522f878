from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import CARDS, MODEL, random_images, write_images, write_recipe
from training.__main__ import main
from training.choose import compare as comparing
from training.latent.checkpoint import Checkpoint, CheckpointStore
from training.latent.pipeline import Request
from training.latent.prepared import Prepared

TRIED = ("--invariances", "none", "rotation", "--content-sizes", "1", "2", "--epochs", "2")
SMALL = CARDS + "validation_per_suit = 10\n"


def choose(recipe: Path, out: Path, *more: str) -> int:
    return main(["choose", str(recipe), "--out", str(out), "--device", "cpu", *more])


def facts(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_choose_prints_a_table_a_recommendation_and_keeps_each_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose(write_recipe(tmp_path, SMALL), tmp_path / "out", *TRIED) == 0
    printed = capsys.readouterr().out
    for told in ("40 validation images", "held-out images", "were not looked at", "worse by", "→", "Take ", "one seed"):
        assert told in printed
    kept = {path.name for path in (tmp_path / "out").glob("*.json")}
    assert kept >= {"none_content-1_seed-0.json", "rotation_content-1_seed-0.json", "choose.json"}
    assert len(kept) == 4  # the other content size was tried with the better of both sets alone
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_interrupted_and_resumed_choice_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, SMALL)
    assert choose(recipe, tmp_path / "whole", *TRIED, "--json") == 0
    whole = facts(capsys)
    save, saved = CheckpointStore.save, []

    def save_and_interrupt(store: CheckpointStore, state: Checkpoint) -> None:
        save(store, state)
        saved.append(state.epoch)
        if saved.count(1) == 2 and state.epoch == 1:  # within the second candidate
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", save_and_interrupt)
        assert choose(recipe, tmp_path / "cut", *TRIED) == 130
    told = capsys.readouterr().err
    assert "1 fit is done" in told
    assert "--resume" in told
    assert list((tmp_path / "cut").rglob("*.safetensors"))
    first = next((tmp_path / "cut").glob("*.json"))
    before = first.stat().st_mtime_ns
    loaded: list[int] = []
    load = CheckpointStore.load
    monkeypatch.setattr(CheckpointStore, "load", lambda store: loaded.append(1) or load(store))
    assert choose(recipe, tmp_path / "cut", *TRIED, "--json", "--resume") == 0
    assert facts(capsys) == whole
    assert loaded == [1]  # the fit that was cut went on from its checkpoint
    assert first.stat().st_mtime_ns == before  # what was done was not done again
    assert choose(recipe, tmp_path / "cut", *TRIED, "--json", "--resume") == 0
    assert facts(capsys) == whole


def test_candidates_are_compared_on_images_that_are_neither_trained_on_nor_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    measure = comparing.measure_candidate

    def spy(model: object, prepared: object, *more: object) -> object:
        seen.append(prepared)
        return measure(model, prepared, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "measure_candidate", spy)
    data = write_images(tmp_path / "a.npz", random_images(100))
    assert choose(write_recipe(tmp_path), tmp_path / "out", "--data", str(data), *TRIED, "--json") == 0
    assert facts(capsys)["images"] == 20
    sets = [{image.tobytes() for image in part} for part in (seen[0].train, seen[0].validation, seen[0].held_out.images)]
    assert [len(images) for images in sets] == [60, 20, 20]
    assert len(set.union(*sets)) == 100
    assert all(np.array_equal(prepared.validation, seen[0].validation) for prepared in seen)


def test_what_the_held_out_images_hold_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, tried = write_recipe(tmp_path, SMALL), ("--content-sizes", "1", "2", "--epochs", "1", "--json")
    assert choose(recipe, tmp_path / "whole", *tried) == 0
    whole = facts(capsys)
    prepare = comparing.prepare

    def without_held_out(request: Request) -> Prepared:
        made = prepare(request)
        unknown = replace(made.held_out, images=np.full_like(made.held_out.images, np.nan), truth=None, labels=None)
        return replace(made, held_out=unknown)

    monkeypatch.setattr(comparing, "prepare", without_held_out)
    assert choose(recipe, tmp_path / "without", *tried) == 0
    assert facts(capsys) == whole


def test_measured_data_have_pose_errors_by_movement_and_drawn_data_by_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ("--invariances", "rotation", "rotation+translation", "--epochs", "1", "--json")
    assert choose(write_recipe(tmp_path, SMALL), tmp_path / "drawn", *one) == 0
    drawn = facts(capsys)["candidates"]
    data = write_images(tmp_path / "a.npz", random_images(100))
    assert choose(write_recipe(tmp_path), tmp_path / "measured", *one, "--data", str(data), "--seeds", "0", "1") == 0
    measured = facts(capsys)["candidates"]
    assert {row["pose"]["by"] for row in drawn} == {"truth"}
    assert {row["pose"]["by"] for row in measured} == {"movement"}
    assert all(row["pose"]["angle_deg"] > 0 for row in drawn + measured)


def test_class_counts_of_a_joint_recipe_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint = MODEL.replace("content_size = 1", 'content_size = 1\nclass_source = "joint"\nclasses = 4')
    assert choose(write_recipe(tmp_path, SMALL, joint), tmp_path / "out", "--classes", "2", "3", "--epochs", "1", "--json") == 0
    told = facts(capsys)
    assert {row["candidate"]["classes"] for row in told["candidates"]} == {2, 3}
    assert all(1 <= row["classes_used"] <= 3 and 0 < row["accuracy"] <= 1 for row in told["candidates"])
    assert "classes = " in told["toml"]


def test_a_fit_that_diverges_costs_its_candidate_not_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = comparing.fit_model

    def diverging(recipe: comparing.Recipe, *more: object, **options: object) -> object:
        if not recipe.model.invariances:
            raise comparing.InputError("TRAINING_DIVERGED", "The loss became nan")
        return fit(recipe, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "fit_model", diverging)
    assert choose(write_recipe(tmp_path, SMALL), tmp_path / "out", "--invariances", "none", "rotation", "--epochs", "1") == 0
    printed = capsys.readouterr().out
    assert "Take rotation, content 1" in printed
    assert "The loss became nan" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--invariances", "rotaton"), "did you mean 'rotation'"),
        (("--content-sizes", "two"), "whole number"),
        (("--classes", "1"), "from 2 to 64"),
        (("--content-size", "2", "--epochs", "0"), "from 1"),
    ],
)
def test_a_mistyped_option_exits_two_and_says_what_was_meant(
    tmp_path: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        choose(write_recipe(tmp_path), tmp_path / "out", *words)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_bad_input_exits_two_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = write_recipe(tmp_path, SMALL), tmp_path / "out"
    for words, reason in (
        (("--classes", "2", "3"), "NO_CLASSES"),
        (("--content-sizes", "2"), "TOO_FEW_CANDIDATES"),
        ((*TRIED, "--resume"), "NOTHING_TO_RESUME"),
    ):
        assert choose(recipe, out, *words) == 2, words
        assert reason in capsys.readouterr().err
    assert not out.exists()
    few = write_images(tmp_path / "few.npz", random_images(40))
    assert choose(write_recipe(tmp_path), out, *TRIED, "--data", str(few)) == 2
    assert "TOO_FEW_IMAGES" in capsys.readouterr().err


def test_a_candidate_of_no_latent_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tried = ("--invariances", "rotation", "none", "--content-sizes", "0", "--epochs", "1")
    assert choose(write_recipe(tmp_path, SMALL), tmp_path / "out", *tried) == 0
    told = capsys.readouterr()
    assert "left out: none, content 0" in told.err
    assert "Take rotation, content 0" in told.out


def test_results_are_never_overwritten_nor_mixed_with_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = write_recipe(tmp_path, SMALL), tmp_path / "out"
    tried = ("--content-sizes", "1", "2")
    assert choose(recipe, out, *tried, "--epochs", "1") == 0
    kept = {path: path.read_bytes() for path in out.glob("*.json")}
    assert choose(recipe, out, *tried, "--epochs", "1") == 2
    assert "RESULTS_EXIST" in capsys.readouterr().err
    assert choose(recipe, out, *tried, "--epochs", "2", "--resume") == 2
    assert "RESULTS_MISMATCH" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.glob("*.json")} == kept


def test_interrupted_before_anything_is_kept_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "prepare", interrupt)
    assert choose(write_recipe(tmp_path, SMALL), tmp_path / "out", *TRIED) == 130
    assert "nothing is kept yet" in capsys.readouterr().err
