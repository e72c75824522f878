from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.latent.recipes import CARDS, FILES, MODEL, write_recipe
from training.errors import InputError
from training.recipe import Recipe, read_recipe
from training.recipe_scales import StripesData

STRIPES = """
name = "toy"
kind = "latent"

[data]
source = "stripes"
period_px = 12.0
"""
SCALES = """
[scales]
windows_px = [6.0, 12.5]
descriptor_px = 8
patches_per_scale = 40
"""


def read(folder: Path, data: str = STRIPES, scales: str = SCALES, model: str = MODEL) -> Recipe:
    return read_recipe(write_recipe(folder, data, model, scales))


def refused(folder: Path, **parts: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, **parts)
    assert caught.value.reason in ("RECIPE_INVALID", "RECIPE_UNKNOWN_KEY")
    return caught.value.message


def test_lengths_and_defaults_are_read(tmp_path: Path) -> None:
    recipe = read(tmp_path)
    assert recipe.scales is not None
    assert recipe.scales.windows_px == (6.0, 12.5)
    assert (recipe.scales.count, recipe.scales.order, recipe.scales.standardise) == (2, "progressive", "image")
    assert isinstance(recipe.data, StripesData)
    assert recipe.data.period_px == 12
    assert read_recipe(write_recipe(tmp_path)).scales is None


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ("", "give windows_nm"),
        ("windows_px = [6.0, 12.0]\nwindows_nm = [60.0, 120.0]", "and not both"),
        ("windows_px = [12.0, 6.0]", "from the shortest to the longest"),
        ("windows_px = [6.0, 6.0]", "from the shortest to the longest"),
        ("windows_px = [0.0, 6.0]", "greater than 0"),
        ("windows_px = [6.0]", "give two or more"),
        ("windows_nm = [60.0, 120.0]", "needs pixel_size_nm"),
    ],
)
def test_lengths_that_are_no_range_of_scales_are_refused(tmp_path: Path, lengths: str, told: str) -> None:
    assert told in refused(tmp_path, scales=SCALES.replace("windows_px = [6.0, 12.5]", lengths))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"scales": ""}, "add [scales]"),
        ({"data": CARDS}, "needs data from files"),
        ({"data": FILES + "window_px = 16\n"}, "leave out window_px"),
        ({"data": FILES + '[[data.targets]]\nname = "t"\nmeaning = "m"\n'}, "conditions or targets"),
        ({"model": MODEL.replace('"gaussian"', '"gaussian"\nclass_source = "joint"\nclasses = 2')}, "without classes"),
        ({"model": MODEL.replace("epochs = 2", "epochs = 2\nrestarts = 2")}, "leave out training.restarts"),
        (
            {
                "model": MODEL.replace("content_size = 1", 'content_size = 1\ninput_kind = "spectra"\noutput_kind = "spectra"').replace(
                    '["rotation"]', "[]"
                )
            },
            "from images alone",
        ),
        ({"data": STRIPES.replace("period_px = 12.0", "")}, "stripes need period_px"),
        ({"data": STRIPES + 'pattern = "noise"\n'}, "noise alone"),
        ({"scales": SCALES + "windos_px = [1.0]\n"}, "did you mean 'windows_px'"),
        ({"data": STRIPES + "imags = 2\n"}, "did you mean 'images'"),
    ],
)
def test_what_scales_do_not_go_with_is_told(tmp_path: Path, parts: dict[str, str], told: str) -> None:
    assert told in refused(tmp_path, **parts)
