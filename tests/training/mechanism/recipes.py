"""A tiny mechanism recipe as text, with changes."""

from __future__ import annotations

from pathlib import Path

from tests.training.latent.recipes import CARD
from training.recipe import read_any_recipe
from training.recipe_mechanism import MechanismRecipe

HEAD = """
name = "toy"
kind = "mechanism"
"""
ARRAYS = """
[data]
source = "arrays"
licence = "MIT"
"""
DRAWN = """
[data]
source = "patches_field"
points = 60
test_points = 40
"""
POSITION = """
[[mechanisms]]
name = "position"
kind = "coordinates"
unit = "um"
meaning = "where"
columns = ["x", "y"]
"""
PHASE = """
[[mechanisms]]
name = "phase"
kind = "category"
meaning = "state of the film"
categories = ["fresh", "aged"]
"""
PATCH = """
[[mechanisms]]
name = "patch"
kind = "image"
unit = "nm"
meaning = "what is around"
"""
LOOP = """
[[mechanisms]]
name = "loop"
kind = "spectrum"
meaning = "what was measured before"
"""
QUANTITY = """
[quantity]
name = "response"
unit = "V"
meaning = "what is measured"
"""
FIT = """
[fit]
starts = 1
baselines = []
"""


def write_mechanism_recipe(folder: Path, data: str = ARRAYS, mechanisms: str = POSITION + PHASE, more: str = FIT, head: str = HEAD) -> Path:
    """Writes recipe.toml."""
    path = folder / "recipe.toml"
    path.write_text(head + data + mechanisms + QUANTITY + more + CARD, encoding="utf-8")
    return path


def mechanism_recipe(folder: Path, data: str = ARRAYS, mechanisms: str = POSITION + PHASE, more: str = FIT) -> MechanismRecipe:
    """The same, read."""
    recipe = read_any_recipe(write_mechanism_recipe(folder, data, mechanisms, more))
    assert isinstance(recipe, MechanismRecipe)
    return recipe
