"""A tiny transition recipe as text, with changes."""

from __future__ import annotations

from pathlib import Path

from tests.training.latent.recipes import CARD
from training.recipe import read_any_recipe
from training.recipe_transition import TransitionRecipe

HEAD = """
name = "toy"
kind = "transition"
"""
DRAWN = """
[data]
source = "dune"
transitions = 3000
test_transitions = 1500
"""
FILES = """
[data]
source = "files"
licence = "MIT"
"""
MODEL = """
[model]
members = 3
widths = [16, 16]
"""
TRAINING = """
[training]
first_hop_steps = 250
first_hop_batch = 300
steps = 20
batch = 300
"""
STUDENT = """
[training.student]
widths = [16, 16]
steps = 400
batch = 128
places = 2
"""


def write_transition_recipe(folder: Path, data: str = DRAWN, model: str = MODEL, more: str = TRAINING, head: str = HEAD) -> Path:
    """Writes recipe.toml."""
    path = folder / "recipe.toml"
    path.write_text(head + data + model + more + CARD, encoding="utf-8")
    return path


def transition_recipe(folder: Path, data: str = DRAWN, model: str = MODEL, more: str = TRAINING) -> TransitionRecipe:
    """The same, read."""
    recipe = read_any_recipe(write_transition_recipe(folder, data, model, more))
    assert isinstance(recipe, TransitionRecipe)
    return recipe
