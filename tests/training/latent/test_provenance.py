"""A bundle says of its data what is true of them, not what its recipe says of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import CARDS, FILES, MODEL, random_images, write_images, write_recipe
from training.data.dataset import DataSet
from training.errors import InputError
from training.latent import pipeline
from training.latent.pipeline import Request, prepare
from training.latent.prepared import Prepared
from training.recipe import read_recipe

OWN = 'files = ["theirs.npz"]\nevaluate_only = ["later.npz"]\ncitation = "their paper"\nnotes = "About their scan."\n'


def prepared(recipe: Path, *data: Path, licence: str | None = None) -> Prepared:
    return prepare(Request(read_recipe(recipe), data, None, recipe.parent / "out", "cpu", resume=False, licence=licence))


def reason(recipe: Path, *data: Path) -> str:
    with pytest.raises(InputError) as caught:
        prepared(recipe, *data)
    return caught.value.reason


def named(path: Path, quantity: str, unit: str = "m", **more: np.ndarray) -> Path:
    np.savez(path, images=random_images(), quantity=np.array(quantity), unit=np.array(unit), **more)
    return path


def test_files_the_recipe_names_carry_its_licence_citation_and_notes(tmp_path: Path) -> None:
    made = prepared(write_recipe(tmp_path, extra=OWN), write_images(tmp_path / "theirs.npz", random_images()))
    assert (made.licence, made.source, made.notes, made.remark) == ("MIT", "theirs.npz; their paper", "About their scan.", "")


def test_other_files_get_nothing_of_the_recipes_provenance_and_the_card_says_so(tmp_path: Path) -> None:
    made = prepared(write_recipe(tmp_path, extra=OWN), write_images(tmp_path / "mine.npz", random_images()))
    assert (made.licence, made.source, made.notes) == ("not stated", "mine.npz", "")
    assert "mine.npz" in made.remark
    assert "other data (theirs.npz, later.npz)" in made.remark


def test_licence_given_is_the_licence(tmp_path: Path) -> None:
    mine = write_images(tmp_path / "mine.npz", random_images())
    assert prepared(write_recipe(tmp_path, extra=OWN), mine, licence="CC BY 4.0").licence == "CC BY 4.0"
    with pytest.raises(InputError) as caught:
        prepared(write_recipe(tmp_path, CARDS), licence="MIT")
    assert caught.value.reason == "DATA_NOT_USED"


def test_recipe_that_names_no_file_was_written_for_whatever_it_is_given(tmp_path: Path) -> None:
    made = prepared(write_recipe(tmp_path), write_images(tmp_path / "mine.npz", random_images()))
    assert (made.licence, made.remark) == ("MIT", "")


def test_only_what_was_trained_on_is_listed_as_training_data(tmp_path: Path) -> None:
    first = write_images(tmp_path / "theirs.npz", random_images())
    later = write_images(tmp_path / "later.npz", random_images(seed=1))
    recipe = write_recipe(tmp_path, extra=OWN)
    assert prepared(recipe, first, later).sha256 == prepared(recipe, first).sha256
    assert len(prepared(write_recipe(tmp_path, CARDS)).sha256) == 1
    chosen = write_recipe(tmp_path, CARDS, MODEL.replace("epochs = 2", "epochs = 2\nrestarts = 2"))
    assert len(prepared(chosen).sha256) == 2  # the validation images choose between restarts


def test_files_of_different_quantities_are_not_mixed_even_in_one_unit(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    height, amplitude = named(tmp_path / "a.npz", "Height"), named(tmp_path / "b.npz", "Amplitude")
    assert reason(recipe, height, amplitude) == "QUANTITIES_DIFFER"
    assert reason(recipe, height, named(tmp_path / "c.npz", "Height", unit="V")) == "UNITS_DIFFER"
    assert prepared(recipe, height, named(tmp_path / "d.npz", "")).quantity == "Height"


@pytest.mark.parametrize("size", [np.inf, np.nan, 0.0, -3.0])
def test_pixel_size_that_is_none_is_told_before_training(tmp_path: Path, size: float) -> None:
    assert reason(write_recipe(tmp_path), write_images(tmp_path / "a.npz", random_images(), pixel_size_nm=np.array(size))) == "INVALID_PIXEL_SIZE"


@pytest.mark.parametrize(("sizes", "known"), [((7.8, 7.8), 7.8), ((7.8, 3.9), None), ((7.8, None), None)])
def test_pixel_size_is_told_when_all_files_agree(tmp_path: Path, sizes: tuple[float | None, ...], known: float | None) -> None:
    paths = [
        write_images(tmp_path / f"{index}.npz", random_images(), **({} if size is None else {"pixel_size_nm": np.array(size)}))
        for index, size in enumerate(sizes)
    ]
    assert prepared(write_recipe(tmp_path, FILES), *paths).pixel_size_nm == known


def test_how_a_file_was_read_is_noted_on_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = DataSet({"images": random_images()}, "m", "Height", "scan.ibw", "0" * 64, notes=("its pixel size is not known",))
    monkeypatch.setattr(pipeline, "read_data", lambda path, channel: made)
    prepared(write_recipe(tmp_path), tmp_path / "scan.ibw")
    printed = capsys.readouterr()
    assert printed.err == "note: scan.ibw: its pixel size is not known\n"
    assert printed.out == ""
