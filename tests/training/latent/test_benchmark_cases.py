from __future__ import annotations

import json

import pytest

from benchmarks.latent_table import BUDGETS, CASES, recipe_facts, table, worst
from training.recipe import Recipe


@pytest.mark.parametrize("budget", sorted(BUDGETS))
@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_of_the_latent_table_is_a_valid_recipe(name: str, budget: str) -> None:
    recipe = Recipe.model_validate_json(json.dumps(recipe_facts(name, budget, 3)))
    assert recipe.seed == 3
    assert recipe.model.classes == 4
    assert recipe != Recipe.model_validate_json(json.dumps(recipe_facts(name, budget, 4)))


def test_table_counts_the_worst_seed() -> None:
    rows = [{"figures": {"class_accuracy": value}, "wall_s": 5.0, "device": "cpu"} for value in (0.999, 0.98, 0.996)]
    assert worst("ss-rvae-shear-1", rows) == {"class_accuracy": 0.98}
    line = table({"ss-rvae-shear-1": rows}).splitlines()[-1]
    assert "| 0.9800 | no |" in line
    assert "| yes |" in table({"ss-rvae-shear-20": rows})
