"""Topology and class graph in the section [model], from the recipe to the model that is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.latent.recipes import CARDS, FILES, MODEL, random_images, write_images, write_recipe
from training.choose.candidates import Candidate, variant
from training.errors import InputError
from training.latent.pipeline import Request, prepare, specify
from training.recipe import Recipe, read_recipe

JOINT = 'class_source = "joint"\nclasses = 3\n'
SEMI = 'class_source = "semi_supervised"\nclasses = 4\n'


def with_model(lines: str) -> str:
    return MODEL.replace("content_size = 1\n", lines)


def read(folder: Path, lines: str, data: str = FILES, extra: str = "") -> Recipe:
    return read_recipe(write_recipe(folder, data, with_model(lines), extra))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('content_size = 3\ntopology = ["line", "circle"]\n', "topology has 2 entries for content_size = 3"),
        ('content_size = 1\ntopology = ["line", "circle"]\n', "topology has 2 entries for content_size = 1"),
        ('content_size = 2\ntopology = ["line", "torus"]\n', "'line' or 'circle'"),
        ('class_edges = [["a", "b"]]\n', "this model has none"),
        (JOINT + 'class_edges = [["class_1", "class_4"]]\n', "'class_4', which is no class; the classes are class_1, class_2, class_3"),
        (JOINT + 'class_names = ["a", "b", "c"]\nclass_edges = [["class_1", "a"]]\n', "'class_1', which is no class; the classes are a, b, c"),
        (JOINT + 'class_edges = [["class_1", "class_1"]]\n', "from 'class_1' to itself"),
        (JOINT + 'class_edges = [["class_1", "class_2"], ["class_1", "class_2"]]\n', "twice"),
        (JOINT + 'class_edges = [["class_1", "class_2", "class_3"]]\n', "class_edges"),
        (JOINT + "class_edges = [[0, 1]]\n", "class_edges"),
    ],
)
def test_what_is_no_topology_or_no_graph_is_told(tmp_path: Path, lines: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, lines)
    assert caught.value.reason == "RECIPE_INVALID"
    assert told in caught.value.message


def test_the_cards_suits_are_classes_that_edges_may_name(tmp_path: Path) -> None:
    extra = "labelled_per_suit = 5\n"
    recipe = read(tmp_path, SEMI + 'class_edges = [["heart", "spade"]]\n', CARDS, extra)
    assert recipe.model.class_edges == (("heart", "spade"),)
    with pytest.raises(InputError, match="class_1"):
        read(tmp_path, SEMI + 'class_edges = [["class_1", "spade"]]\n', CARDS, extra)


def test_both_directions_are_two_edges(tmp_path: Path) -> None:
    assert len(read(tmp_path, JOINT + 'class_edges = [["class_1", "class_2"], ["class_2", "class_1"]]\n').model.class_edges) == 2


@pytest.mark.parametrize(("given", "found"), [(["line", "circle"], ("line", "circle")), (["line", "line"], ()), ([], ())])
def test_recipe_reaches_the_model_and_lines_alone_are_no_topology(tmp_path: Path, given: list[str], found: tuple[str, ...]) -> None:
    lines = f"content_size = 2\ntopology = {given}\n".replace("'", '"') + JOINT + 'class_edges = [["class_3", "class_1"]]\n'
    recipe = read(tmp_path, lines)
    data = write_images(tmp_path / "images.npz", random_images())
    specification = specify(recipe, prepare(Request(recipe, (data,), None, tmp_path / "out", "cpu", resume=False)))
    assert specification.topology == found
    assert specification.class_edges == ((2, 0),)


def test_other_content_sizes_and_classes_can_be_compared(tmp_path: Path) -> None:
    recipe = read(tmp_path, 'content_size = 2\ntopology = ["circle", "line"]\n' + JOINT + 'class_edges = [["class_1", "class_2"]]\n')
    smaller, larger = (variant(recipe, Candidate((), size, 3), epochs=1, seed=0).model for size in (1, 4))
    assert smaller.topology == ("circle",)
    assert larger.topology == ("circle", "line", "line", "line")
    assert larger.class_edges == (("class_1", "class_2"),)
    assert variant(recipe, Candidate((), 2, 2), epochs=1, seed=0).model.class_edges == ()
