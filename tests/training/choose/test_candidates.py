from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.training.latent.recipes import CARDS, MODEL, write_recipe
from training.choose.candidates import (
    INVARIANCES,
    Candidate,
    make_plan,
    own_candidate,
    parse_invariances,
    possible_invariances,
    toml_changes,
    variant,
)
from training.errors import InputError
from training.recipe import Recipe, read_recipe

JOINT = MODEL.replace("content_size = 1", 'content_size = 1\nangle_bins = 4\nclass_source = "joint"\nclasses = 4')
SEMI = JOINT.replace('"joint"', '"semi_supervised"')


def recipe(folder: Path, model: str = MODEL, extra: str = "") -> Recipe:
    return read_recipe(write_recipe(folder, CARDS, model, extra))


def reason(*arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        make_plan(*arguments)  # type: ignore[arg-type]
    assert len(caught.value.message) > 30
    return caught.value.reason


def test_sets_are_read_in_any_order_and_a_typo_names_the_right_word() -> None:
    assert parse_invariances("none") == ()
    assert parse_invariances("scale+rotation") == ("rotation", "scale")
    with pytest.raises(ValueError, match="did you mean 'rotation'"):
        parse_invariances("rotaton+scale")
    with pytest.raises(ValueError, match="known: none"):
        parse_invariances("xyz")
    with pytest.raises(ValueError, match="twice"):
        parse_invariances("scale+scale")


def test_by_default_all_sets_then_sizes_about_the_recipes_own(tmp_path: Path) -> None:
    plan = make_plan(recipe(tmp_path), INVARIANCES)
    assert len(plan.invariances) == len(set(plan.invariances)) == 8
    assert plan.invariances[0] == ()
    assert plan.content_sizes == (1, 2)
    assert plan.classes == (0,)
    joint = make_plan(recipe(tmp_path, JOINT), INVARIANCES)
    assert joint.classes == (3, 4, 5)


def test_options_given_leave_the_rest_at_the_recipes_own(tmp_path: Path) -> None:
    plan = make_plan(recipe(tmp_path), INVARIANCES, content_sizes=(4, 2, 4))
    assert (plan.invariances, plan.content_sizes, plan.classes) == ((("rotation",),), (4, 2), (0,))
    assert plan.begin(recipe(tmp_path)) == Candidate(("rotation",), 4)


def test_a_model_without_latents_is_no_default(tmp_path: Path) -> None:
    plan = make_plan(recipe(tmp_path, MODEL.replace("content_size = 1", "content_size = 0")), INVARIANCES)
    assert () not in plan.invariances
    assert plan.content_sizes == (0, 1, 2)


def test_what_cannot_be_compared_is_refused_with_its_reason(tmp_path: Path) -> None:
    plain, joint = recipe(tmp_path), recipe(tmp_path, JOINT)
    semi = recipe(tmp_path, SEMI, "labelled_per_suit = 3\n")
    assert reason(plain, INVARIANCES, (), (), (2, 3)) == "NO_CLASSES"
    assert reason(semi, INVARIANCES, (), (), (2, 3)) == "CLASSES_ARE_LABELS"
    assert reason(plain, possible_invariances(1), (("translation",), ("rotation",))) == "INVARIANCE_NOT_POSSIBLE"
    assert reason(plain, INVARIANCES, (("rotation",),), (1,)) == "TOO_FEW_CANDIDATES"
    assert make_plan(joint, INVARIANCES, (), (), (2, 3)).classes == (2, 3)


def test_a_variant_keeps_images_for_validation_and_shortens_lessons_with_the_fit(tmp_path: Path) -> None:
    model = MODEL.replace("epochs = 2", "epochs = 10") + "\n[training.equivariance]\nepochs = 5\n"
    made = variant(recipe(tmp_path, model), Candidate(("scale",), 3), epochs=4, seed=9)
    assert (made.model.invariances, made.model.content_size, made.seed) == (("scale",), 3, 9)
    assert (made.training.epochs, made.training.equivariance.epochs, made.training.keep_validation) == (4, 2, True)


def test_a_variant_without_rotation_asks_nothing_of_an_angle(tmp_path: Path) -> None:
    base = recipe(tmp_path, MODEL.replace("content_size = 1", "content_size = 1\nangle_bins = 8") + "\n[training.classes]\nbeta_start = 3.0\n")
    made = variant(base, Candidate(("translation",), 1), epochs=1, seed=0)
    assert made.model.angle_bins == 0
    assert "angle_bins = 0" in toml_changes(base, Candidate(("translation",), 1))


def test_class_names_go_with_their_number(tmp_path: Path) -> None:
    base = recipe(tmp_path, JOINT.replace("classes = 4", 'classes = 4\nclass_names = ["a", "b", "c", "d"]'))
    assert variant(base, Candidate(("rotation",), 1, 4), epochs=1, seed=0).model.class_names == ("a", "b", "c", "d")
    assert variant(base, Candidate(("rotation",), 1, 3), epochs=1, seed=0).model.class_names == ()


def test_a_candidate_that_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latent") as caught:
        variant(recipe(tmp_path), Candidate((), 0), epochs=1, seed=0)
    assert caught.value.reason == "INVALID_CANDIDATE"


def test_the_lines_to_change_are_toml_and_only_what_differs(tmp_path: Path) -> None:
    base = recipe(tmp_path)
    assert toml_changes(base, own_candidate(base)) == ""
    told = tomllib.loads(toml_changes(base, Candidate(("rotation", "translation"), 1)))
    assert told == {"model": {"invariances": ["rotation", "translation"]}}
