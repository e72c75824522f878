from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.transition.recipes import DRAWN, FILES, HEAD, MODEL, STUDENT, TRAINING, transition_recipe, write_transition_recipe
from training.errors import InputError
from training.recipe import read_any_recipe, read_recipe
from training.recipe_transition import DuneData, TransitionFiles, TransitionRecipe

RECIPES = Path(__file__).parents[2] / "recipes"
SERVED_STUDENT = MODEL + 'spread = "student"\n'


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_any_recipe(path)
    return caught.value


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    recipe = transition_recipe(tmp_path, model="", more="")
    assert isinstance(recipe.data, DuneData)
    assert (recipe.data.rates, recipe.data.dwell_s, recipe.data.beam_radius_angstrom) == ("prior", (0.0, 5.0), 3.0)
    assert (recipe.model.kind, recipe.model.spread, recipe.model.shells) == ("equivariant", "ensemble", 2)
    assert recipe.training.steps is None


def test_own_files_need_a_licence_and_say_what_outcomes_are(tmp_path: Path) -> None:
    recipe = transition_recipe(tmp_path, data=FILES + "first_hop = true\n", more="")
    assert isinstance(recipe.data, TransitionFiles)
    assert recipe.data.first_hop
    assert "data.licence" in refused(write_transition_recipe(tmp_path, data=FILES.replace('licence = "MIT"', ""))).message


def test_a_student_has_a_lesson(tmp_path: Path) -> None:
    assert transition_recipe(tmp_path, model=SERVED_STUDENT, more=TRAINING + STUDENT).training.student.places == 2


def test_a_transition_recipe_is_no_latent_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write_transition_recipe(tmp_path))
    assert caught.value.reason == "RECIPE_INVALID"
    assert "kind 'transition'" in caught.value.message


@pytest.mark.parametrize("name", ["dune-prior", "dune-mixture"])
def test_the_projects_recipes_can_be_read(name: str) -> None:
    recipe = read_any_recipe(RECIPES / f"{name}.toml")
    assert isinstance(recipe, TransitionRecipe)
    assert isinstance(recipe.data, DuneData)
    assert recipe.name == name
    assert recipe.data.rates == name.removeprefix("dune-")
    assert recipe.data.test_transitions >= 100_000


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": DRAWN + "transition = 30\n"}, ("transition", "transitions", "[data]")),
        ({"data": FILES + 'file = ["a.npz"]\n'}, ("file", "files", "[data]")),
        ({"model": MODEL + "member = 3\n"}, ("member", "members", "[model]")),
        ({"more": TRAINING + "stepz = 3\n"}, ("stepz", "steps", "[training]")),
        ({"model": SERVED_STUDENT, "more": TRAINING + STUDENT + "place = 3\n"}, ("place", "places", "[training.student]")),
        ({"head": HEAD + "seeds = 3\n"}, ("seeds", "seed", "the top level")),
    ],
)
def test_typo_is_told_with_its_place_and_the_nearest_right_key(tmp_path: Path, given: dict[str, str], told: tuple[str, str, str]) -> None:
    key, near, where = told
    error = refused(write_transition_recipe(tmp_path, **given))
    assert error.reason == "RECIPE_UNKNOWN_KEY"
    assert f"'{key}'" in error.message
    assert f"did you mean '{near}'" in error.message
    assert where in error.message


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "unknown rates": ({"data": DRAWN + 'rates = "wishful"\n'}, "rates is one of prior, mixture, simple, beyond_carbon"),
    "a mixture's seed without a mixture": ({"data": DRAWN + "mixture = 3\n"}, "mixture is the seed of rates"),
    "dwells the wrong way round": ({"data": DRAWN + "dwell_s = [5.0, 1.0]\n"}, "dwell_s is the least and the greatest"),
    "no current": ({"data": DRAWN + "current_na = [0.0, 1.0]\n"}, "current_na is above 0"),
    "no disc": ({"data": DRAWN + "beam_radius_angstrom = 0.0\n"}, "data.beam_radius_angstrom"),
    "too few transitions": ({"data": DRAWN.replace("3000", "30")}, "data.transitions"),
    "an unknown source": ({"data": '\n[data]\nsource = "thin air"\n'}, "data"),
    "everything held out": ({"data": FILES + "held_out_fraction = 1.0\n"}, "data.held_out_fraction"),
    "one member": ({"model": MODEL.replace("3", "1", 1)}, "model.members"),
    "one shell": ({"model": MODEL + "shells = 1\n"}, "model.shells"),
    "a network of nothing": ({"model": MODEL.replace("[16, 16]", "[]")}, "model.widths"),
    "a canonical student": ({"model": SERVED_STUDENT + 'kind = "canonical"\n'}, "a student is equivariant"),
    "a lesson for nobody": ({"more": TRAINING + STUDENT}, '[training.student] is for model.spread = "student"'),
    "no steps": ({"more": "\n[training]\nfirst_hop_steps = 0\nsteps = 0\n"}, "nothing would be learned"),
    "first hops on the end of the dwell": ({"data": DRAWN + "first_hop = true\n"}, "of first hops there are first_hop_steps alone"),
    "no steps of first hops": ({"data": DRAWN + "first_hop = true\n", "more": "\n[training]\nfirst_hop_steps = 0\n"}, "nothing would be learned"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_model_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    given, words = REFUSED[case]
    error = refused(write_transition_recipe(tmp_path, **given))
    assert error.reason == "RECIPE_INVALID"
    assert words in error.message
    assert "Value error" not in error.message
