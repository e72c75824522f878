from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.latent.recipes import CARDS, FILES, MODEL, write_recipe
from training.errors import InputError
from training.recipe import CardsData, read_any_recipe, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    return caught.value


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_of_the_project_is_valid_and_named_as_its_file(path: Path) -> None:
    assert read_any_recipe(path).name == path.stem


def test_values_are_read(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, CARDS))
    assert isinstance(recipe.data, CardsData)
    assert recipe.data.train_per_suit == 20
    assert recipe.model.encoder_widths == (8,)


@pytest.mark.parametrize(
    ("data", "model", "extra", "told"),
    [
        (FILES, MODEL.replace("epochs", "epoch"), "", ("epoch", "epochs", "[training]")),
        (FILES, MODEL.replace("content_size", "content_sise"), "", ("content_sise", "content_size", "[model]")),
        (FILES, MODEL, "window = 32\n", ("window", "window_px", "[data]")),
        (CARDS, MODEL, "sidepx = 32\n", ("sidepx", "side_px", "[data]")),
        (FILES, MODEL + "[training.equivariance]\nwieght = 1.0\n", "", ("wieght", "weight", "[training.equivariance]")),
        ("seeds = 3\n" + FILES, MODEL, "", ("seeds", "seed", "the top level")),
    ],
)
def test_typo_is_told_with_its_place_and_the_nearest_right_key(tmp_path: Path, data: str, model: str, extra: str, told: tuple[str, str, str]) -> None:
    key, near, where = told
    error = refused(write_recipe(tmp_path, data, model, extra))
    assert error.reason == "RECIPE_UNKNOWN_KEY"
    assert f"'{key}'" in error.message
    assert f"did you mean '{near}'" in error.message
    assert where in error.message


def test_key_without_a_near_one_lists_those_that_are_known(tmp_path: Path) -> None:
    error = refused(write_recipe(tmp_path, extra="qqqq = 1\n"))
    assert "window_px" in error.message


@pytest.mark.parametrize(
    "model",
    [
        MODEL.replace("epochs = 2", "epochs = 0"),
        MODEL.replace('["rotation"]', '["rotation", "rotation"]'),
        MODEL.replace('["rotation"]', '["spin"]'),
        MODEL.replace('["rotation"]', "[]").replace("content_size = 1", "content_size = 0"),
        MODEL.replace("batch_size = 32", 'batch_size = "many"'),
    ],
)
def test_value_out_of_range_is_told_with_its_place(tmp_path: Path, model: str) -> None:
    error = refused(write_recipe(tmp_path, model=model))
    assert error.reason == "RECIPE_INVALID"
    assert "model" in error.message or "training" in error.message


def test_missing_and_broken_files_are_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml").reason == "RECIPE_NOT_FOUND"
    (tmp_path / "broken.toml").write_text("name = ", encoding="utf-8")
    assert refused(tmp_path / "broken.toml").reason == "RECIPE_NOT_TOML"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("epochs = 2", "epochs = true"),
        ("epochs = 2", 'epochs = "2"'),
        ("epochs = 2", "epochs = 2.0"),
        ("batch_size = 32", 'learning_rate = "1e-3"'),
        ("batch_size = 32", "beta = true"),
        ("batch_size = 32", "beta = nan"),
        ("batch_size = 32", "beta = inf"),
        ("batch_size = 32", "beta = 2020-01-01"),
        ("content_size = 1", "content_size = true"),
        ("encoder_widths = [8]", 'encoder_widths = ["8"]'),
    ],
)
def test_a_number_is_a_number(tmp_path: Path, right: str, wrong: str) -> None:
    error = refused(write_recipe(tmp_path, model=MODEL.replace(right, wrong)))
    assert error.reason == "RECIPE_INVALID"
    assert wrong.partition(" ")[0] in error.message


def test_a_whole_number_may_stand_for_a_real_one(tmp_path: Path) -> None:
    assert read_recipe(write_recipe(tmp_path, model=MODEL + "beta = 4\n")).training.beta == 4.0


def in_model(*lines: str) -> str:
    return MODEL.replace("content_size = 1", "\n".join(("content_size = 1", *lines)))


JOINT = ('class_source = "joint"', "classes = 3")
SEMI = ('class_source = "semi_supervised"', "classes = 4")


@pytest.mark.parametrize(
    ("data", "model", "extra", "told"),
    [
        (FILES, in_model('class_source = "joint"', "classes = 1"), "", "2 or more"),
        (FILES, in_model('class_source = "joint"'), "", "given together"),
        (FILES, in_model("classes = 3"), "", "given together"),
        (FILES, in_model(*JOINT, 'class_names = ["a", "b"]'), "", "2 class_names for 3 classes"),
        (FILES, in_model(*JOINT, 'class_names = ["a", "b", "a"]'), "", "named twice"),
        (FILES, in_model("angle_bins = 6"), "", "multiple of 4"),
        (
            FILES,
            MODEL.replace('"rotation"', '"scale"').replace("content_size", "angle_bins = 8\ncontent_size"),
            "",
            "only a model with the invariance",
        ),
        (FILES, in_model("angle_bins = 8", "angle_symmetry = 2"), "", "give one of them"),
        (FILES, in_model(*JOINT, "angle_symmetry = 2"), "", "leave out angle_symmetry"),
        (FILES, in_model("angle_bins = 8") + "[training.equivariance]\nepochs = 2\n", "", "have several"),
        (FILES, MODEL + "[training.classes]\nusage_weight = 1.0\n", "", "is for models with"),
        (FILES, in_model(*JOINT), "window_px = 16\n", "not of patches"),
        (CARDS, in_model(*SEMI), "", "they need it"),
        (CARDS, in_model(*JOINT), "labelled_per_suit = 5\n", "is for semi-supervised"),
        (CARDS, in_model('class_source = "semi_supervised"', "classes = 3"), "labelled_per_suit = 5\n", "classes = 4"),
    ],
)
def test_classes_and_bins_that_make_no_model_are_refused(tmp_path: Path, data: str, model: str, extra: str, told: str) -> None:
    error = refused(write_recipe(tmp_path, data, model, extra))
    assert error.reason == "RECIPE_INVALID"
    assert told in error.message


def test_classes_are_joint_or_learned_from_few_labels_with_or_without_bins(tmp_path: Path) -> None:
    joint = read_recipe(write_recipe(tmp_path, CARDS, in_model(*JOINT, "angle_bins = 12") + "[training.classes]\nusage_weight = 100.0\n"))
    assert (joint.model.classes, joint.model.angle_bins, joint.training.classes.usage_weight) == (3, 12, 100.0)
    assert read_recipe(write_recipe(tmp_path, CARDS, in_model(*SEMI), "labelled_per_suit = 5\n")).model.class_source == "semi_supervised"
