"""What is printed, of a comparison made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.latent.recipes import CARDS, write_recipe
from training.choose.candidates import Candidate
from training.choose.compare import Comparison
from training.choose.recommend import Row, recommend
from training.choose.scores import PoseErrors
from training.choose.table import as_facts, as_text
from training.recipe import Recipe, read_recipe

BOTH, PLAIN, FAILED = Candidate(("rotation", "translation"), 1), Candidate((), 1), Candidate(("scale",), 1)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return read_recipe(write_recipe(tmp_path, CARDS))


def made(angle_deg: float) -> Comparison:
    rows = (
        Row(BOTH, 56.7, 0.5, 0.0, 0.0, PoseErrors("truth", angle_deg, 0.24, None), None, None),
        Row(PLAIN, 74.9, 0.9, 18.2, 0.8, PoseErrors(), None, None),
        Row(FAILED, None, None, None, None, PoseErrors(), None, None, "TRAINING_DIVERGED: too fast"),
    )
    return Comparison(rows, recommend(rows), 300, 1.0, 1, (0,))


def test_the_table_marks_the_best_and_leaves_out_columns_with_nothing_to_say(recipe: Recipe) -> None:
    lines = as_text(recipe, made(3.0)).splitlines()
    head = next(line for line in lines if "candidate" in line)
    assert "angle °" in head
    for absent in ("size %", "used", "accuracy"):
        assert absent not in head
    assert next(line for line in lines if line.startswith("→")).split()[1:4] == ["rotation+translation,", "content", "1"]
    assert any("failed" in line for line in lines)
    assert "scale, content 1: TRAINING_DIVERGED: too fast" in lines


def test_short_fits_one_seed_and_a_useless_angle_are_told(recipe: Recipe) -> None:
    good, bad = as_text(recipe, made(3.0)), as_text(recipe, made(47.4))
    assert "--epochs 2 compares at the recipe's full length" in good
    assert "one seed" in good
    assert "Do not trust its angle" not in good
    assert "Do not trust its angle: it is off by 47°" in bad


def test_json_holds_the_same_with_the_lines_to_change(recipe: Recipe) -> None:
    told = as_facts(recipe, made(3.0))
    assert told["recommended"] == {"invariances": ("rotation", "translation"), "content_size": 1, "classes": 0, "of_spectra": False}
    assert told["toml"] == '[model]\ninvariances = ["rotation", "translation"]'
