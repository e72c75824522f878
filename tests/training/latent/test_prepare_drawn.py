"""Drawn patches of which a few tell hidden parameters of their loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import MODEL, write_recipe
from tests.training.latent.test_columns import TO_SPECTRA
from training.data.patch_spectra import draw_patch_spectra
from training.errors import InputError
from training.latent.pipeline import Request, prepare, specify
from training.latent.prepared import Prepared
from training.recipe import read_recipe

PATCHES = """
name = "toy"
kind = "latent"

[data]
source = "patch_spectra"
train = 40
validation = 10
test = 20
side_px = 12
points = 16
"""
TOLD = 'targets = ["coercive_voltage", "imprint"]\ntargets_known = 7\n'


def prepared(folder: Path, extra: str, model: str = MODEL) -> Prepared:
    return prepare(Request(read_recipe(write_recipe(folder, PATCHES, model, extra)), (), None, folder / "out", "cpu", resume=False))


@pytest.mark.parametrize("model", [MODEL, TO_SPECTRA])
def test_a_few_training_patches_tell_their_targets_and_all_that_are_measured_on(tmp_path: Path, model: str) -> None:
    made = prepared(tmp_path, TOLD, model.replace("threads = 1", "threads = 1\nkeep_validation = true"))
    for stream, count, known, beside in (
        ("train", 40, 7, made.beside),
        ("validation", 10, 10, made.validation_beside),
        ("test", 20, 20, made.held_out.beside),
    ):
        truth = draw_patch_spectra(count, side=12, points=16, seed=0, stream=stream).arrays
        assert beside.targets is not None
        np.testing.assert_array_equal(beside.targets[:known], np.stack([truth["truth_coercive_v"], truth["truth_imprint_v"]], axis=1)[:known])
        assert np.isnan(beside.targets[known:]).all()
    assert made.source.endswith("; coercive_voltage and imprint told of the first 7")
    specification = specify(read_recipe(tmp_path / "recipe.toml"), made)
    assert [(column.name, column.unit) for column in specification.targets] == [("coercive_voltage", "V"), ("imprint", "V")]


def test_without_targets_nothing_is_told_of_them(tmp_path: Path) -> None:
    made = prepared(tmp_path, "")
    assert (made.targets, made.beside.targets, made.held_out.beside.targets) == ((), None, None)
    assert "told" not in made.source


@pytest.mark.parametrize(
    ("extra", "model", "told"),
    [
        ('targets = ["imprint", "imprint"]\n', MODEL, "named twice"),
        ('targets = ["coercive"]\n', MODEL, "'coercive_voltage', 'imprint', 'amplitude' or 'sharpness'"),
        ("targets_known = 7\n", MODEL, "name some in targets"),
        (TOLD, MODEL.replace("content_size = 1", 'content_size = 1\nclass_source = "joint"\nclasses = 2'), "classes or targets, not both"),
        (TOLD, MODEL + "[training.equivariance]\nepochs = 1\n", "one with targets sees those too"),
        ("", MODEL + "[training.regression]\nlabel_weight = 3.0\n", "is for models with targets"),
    ],
)
def test_targets_that_make_no_model_are_refused(tmp_path: Path, extra: str, model: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write_recipe(tmp_path, PATCHES, model, extra))
    assert caught.value.reason == "RECIPE_INVALID"
    assert told in caught.value.message
