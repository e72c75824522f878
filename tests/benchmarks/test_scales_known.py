"""Of drawn stripes and white noise is promised: recipes whose figures are known beforehand. The benchmark varies period and seed alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.scales_known import PERIODS, RECIPES, noise_case, recipe_of, stripes_case
from training.recipe import Recipe, read_recipe
from training.recipe_scales import StripesData
from training.scales.statistics.explained import stripes_second_axis_share

ROOT = Path(__file__).parents[2]


def of_file(kind: str) -> Recipe:
    return read_recipe(ROOT / "recipes" / f"{RECIPES[kind]}.toml")


def windows_of(recipe: Recipe) -> tuple[float, ...]:
    assert recipe.scales is not None
    return recipe.scales.windows_px


def known_shares() -> list[str]:
    """The equation at the stripes recipe's windows, as texts round it."""
    recipe = of_file("stripes")
    assert isinstance(recipe.data, StripesData)
    assert recipe.data.period_px is not None
    return [f"{share:.3f}" for share in stripes_second_axis_share(np.array(windows_of(recipe)), recipe.data.period_px)]


@pytest.mark.parametrize("kind", RECIPES)
def test_a_case_is_the_recipe_with_another_seed_in_fit_and_drawing(kind: str) -> None:
    case, file = recipe_of(kind, 5), of_file(kind)
    assert (case.seed, case.data.model_dump()["seed"]) == (5, 5)
    back = case.model_copy(update={"seed": file.seed, "data": case.data.model_copy(update={"seed": 0})})
    assert back.model_dump() == file.model_dump()


@pytest.mark.parametrize("period", PERIODS)
def test_windows_follow_the_period_and_nothing_else_does(period: float) -> None:
    case, file = recipe_of("stripes", 0, period=period), of_file("stripes")
    assert windows_of(case) == tuple(part * period for part in (0.25, 0.375, 0.5, 0.625, 0.75, 1.0))
    own = {"data": {"period_px"}, "scales": {"windows_px"}}
    assert case.data.model_dump()["period_px"] == period
    assert case.model_dump(exclude=own) == file.model_dump(exclude=own)


def test_stripes_and_noise_are_learned_by_the_same_model() -> None:
    stripes, noise = (of_file(kind).model_dump(include={"model", "training", "normalisation"}) for kind in RECIPES)
    assert stripes == noise


def test_the_card_and_the_page_tell_the_shares_of_the_equation() -> None:
    assert known_shares()[2] == "0.500"
    text = of_file("stripes").card.description
    assert re.findall(r"0\.\d{3}", text) == known_shares()
    row = re.search(r"^\| `second_axis_share` \| (.*) \|$", (ROOT / "docs" / "recipes.md").read_text(), flags=re.MULTILINE)
    assert row is not None
    assert row[1].split(" | ") == known_shares()


@pytest.mark.slow
def test_the_stripes_recipe_finds_its_known_answer() -> None:
    torch.set_num_threads(1)
    stages = stripes_case(16.0, 0, quick=False)["stages"]
    assert [stage["share"] for stage in stages] == pytest.approx([stage["known"] for stage in stages], abs=0.04)
    assert [stage["active"] for stage in stages if stage["window_px"] == 8.0] == [2]


@pytest.mark.slow
def test_the_noise_recipe_finds_nothing_in_windows_that_are_not_enlarged() -> None:
    torch.set_num_threads(1)
    stages = noise_case(0, quick=False)["stages"]
    assert [stage["active"] for stage in stages if stage["window_px"] >= 16] == [0] * 5
