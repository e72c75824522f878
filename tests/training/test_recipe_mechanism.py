from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.mechanism.recipes import ARRAYS, DRAWN, FIT, HEAD, LOOP, PATCH, PHASE, POSITION, mechanism_recipe, write_mechanism_recipe
from training.errors import InputError
from training.recipe import read_any_recipe, read_recipe

LOOPS = '\n[data]\nsource = "loops"\nlicence = "MIT"\n'
FERROSIM = '\n[data]\nsource = "ferrosim"\n'
SCALED = '\n[structure]\nform = "scaled"\nfactor = "phase"\nof = "position"\n'


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_any_recipe(path)
    return caught.value


def test_defaults_are_filled_in_by_the_kind_of_a_mechanism(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, mechanisms=POSITION + PHASE + PATCH + LOOP)
    assert [each.encoding for each in recipe.mechanisms] == ["identity", "one-hot", "pca", "pca"]
    assert [each.source_array for each in recipe.mechanisms] == ["position", "phase", "patch", "loop"]
    assert recipe.structure.form == "additive"


def test_a_mechanism_may_have_an_array_of_another_name(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, mechanisms=POSITION + 'array = "position_um"\n')
    assert (recipe.mechanisms[0].name, recipe.mechanisms[0].source_array) == ("position", "position_um")


def test_a_latent_recipe_is_no_mechanism_recipe_and_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write_mechanism_recipe(tmp_path))
    assert caught.value.reason == "RECIPE_INVALID"
    assert "kind 'mechanism'" in caught.value.message


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": DRAWN + "noize = 0.2\n"}, ("noize", "noise", "[data]")),
        ({"data": LOOPS + "half_width = 3\n"}, ("half_width", "half_width_px", "[data]")),
        ({"data": FERROSIM + "site = 8\n"}, ("site", "sites", "[data]")),
        ({"data": ARRAYS + 'file = ["a.npz"]\n'}, ("file", "files", "[data]")),
        ({"mechanisms": POSITION + 'kernal = "rbf"\n'}, ("kernal", "kernel", "[mechanisms")),
        ({"more": FIT + "start = 3\n"}, ("start", "starts", "[fit]")),
        ({"more": SCALED + 'factors = "phase"\n'}, ("factors", "factor", "[structure]")),
        ({"head": HEAD + "seeds = 3\n"}, ("seeds", "seed", "the top level")),
    ],
)
def test_typo_is_told_with_its_place_and_the_nearest_right_key(tmp_path: Path, given: dict[str, str], told: tuple[str, str, str]) -> None:
    key, near, where = told
    error = refused(write_mechanism_recipe(tmp_path, **given))
    assert error.reason == "RECIPE_UNKNOWN_KEY"
    assert f"'{key}'" in error.message
    assert f"did you mean '{near}'" in error.message
    assert where in error.message


REFUSED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "a reserved name": ({"mechanisms": POSITION.replace('"position"', '"latents"')}, ("'latents' is the name of something else",)),
    "a name with a space": ({"mechanisms": POSITION.replace('"position"', '"my place"')}, ("mechanisms", "name")),
    "a name twice": ({"mechanisms": POSITION + POSITION}, ("named twice",)),
    "no mechanism": ({"mechanisms": "", "head": HEAD + "mechanisms = []\n"}, ("mechanisms",)),
    "an encoder that does not suit": ({"mechanisms": POSITION + 'encoder = "pca"\n'}, ("'coordinates' is encoded by identity, not by 'pca'",)),
    "a bundle without a path": ({"mechanisms": PATCH + 'encoder = "bundle"\n'}, ("mechanism 'patch'", "have a path")),
    "a path without a bundle": ({"mechanisms": PATCH + 'path = "cards/1"\n'}, ("mechanism 'patch'", "have a path")),
    "latents of a pca": ({"mechanisms": PATCH + 'latents = ["content"]\n'}, ("mechanism 'patch'", "leave them out")),
    "a latent twice": (
        {"mechanisms": PATCH + 'encoder = "bundle"\npath = "cards/1"\nlatents = ["content", "content"]\n'},
        ("a name stands twice in its latents",),
    ),
    "coordinates without columns": ({"mechanisms": POSITION.replace('columns = ["x", "y"]', "")}, ("name their columns",)),
    "a column twice": ({"mechanisms": POSITION.replace('"y"]', '"x"]')}, ("a name stands twice in its columns",)),
    "an image with columns": ({"mechanisms": PATCH + 'columns = ["a"]\n'}, ("name their columns",)),
    "a category without categories": ({"mechanisms": PHASE.replace('categories = ["fresh", "aged"]', "")}, ("names its categories",)),
    "coordinates with categories": ({"mechanisms": POSITION + 'categories = ["a", "b"]\n'}, ("names its categories",)),
    "one category": ({"mechanisms": PHASE.replace(', "aged"', "")}, ("one category says nothing",)),
    "a category twice": ({"mechanisms": PHASE.replace('"aged"', '"fresh"')}, ("a name stands twice in its categories",)),
    "scaled by nothing": ({"more": '\n[structure]\nform = "scaled"\n'}, ("need factor and of", "structure")),
    "a factor of a sum": ({"more": '\n[structure]\nfactor = "phase"\nof = "position"\n'}, ("need factor and of",)),
    "a factor of nothing": ({"more": '\n[structure]\nform = "scaled"\nfactor = "phase"\n'}, ("need factor and of",)),
    "a residual of a sum": ({"more": "\n[structure]\nresidual = true\n"}, ("residual is for the forms",)),
    "a factor of itself": ({"more": SCALED.replace('of = "position"', 'of = "phase"')}, ("factor and of are two mechanisms",)),
    "a factor that is no mechanism": ({"more": SCALED.replace('"phase"', '"mood"')}, ("'mood', which is no mechanism", "position, phase")),
    "an unknown form": ({"more": SCALED.replace('"scaled"', '"twisted"')}, ("structure.form",)),
    "an unknown source": ({"data": '\n[data]\nsource = "thin air"\n'}, ("data",)),
    "an unknown mode": ({"data": FERROSIM + 'mode = "cubic"\n'}, ("mode is one of", "'cubic'")),
    "an unknown target of a simulation": ({"data": FERROSIM + 'target = "mood"\n'}, ("target is one of", "'mood'")),
    "an unknown figure of a loop": ({"data": LOOPS + 'target = "mood"\n'}, ("a figure of a loop is one of", "'mood'")),
    "unknown neighbours": ({"data": LOOPS + 'neighbours = "mood"\n'}, ("a figure of a loop is one of", "'mood'")),
    "loops of two files": ({"data": LOOPS + 'files = ["a.h5", "b.h5"]\n'}, ("data.files",)),
    "no licence": ({"data": ARRAYS.replace('licence = "MIT"', "")}, ("data.licence",)),
    "too few points": ({"data": DRAWN.replace("60", "10")}, ("data.points",)),
    "everything held out": ({"data": ARRAYS + "held_out_fraction = 1.0\n"}, ("data.held_out_fraction",)),
    "no start": ({"more": "\n[fit]\nstarts = 0\n"}, ("fit.starts",)),
    "half for validation": ({"more": "\n[fit]\nvalidation_fraction = 0.5\n"}, ("fit.validation_fraction",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_model_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    given, words = REFUSED[case]
    error = refused(write_mechanism_recipe(tmp_path, **given))
    assert error.reason == "RECIPE_INVALID"
    assert [word for word in words if word not in error.message] == [], error.message
    assert "Value error" not in error.message
