"""A tiny recipe with [scales], and what it asks for."""

from __future__ import annotations

from pathlib import Path

from tests.training.latent.recipes import CARD
from training.latent.pipeline import Request
from training.recipe import read_recipe

STRIPES = """
name = "toy"
kind = "latent"

[data]
source = "stripes"
images = 3
side_px = 64
period_px = 12.0
"""
FILES = """
name = "toy"
kind = "latent"

[data]
source = "files"
licence = "MIT"
"""
SCALES = """
[scales]
windows_px = [4.5, 8.0, 12.0]
descriptor_px = 8
patches_per_scale = 60
"""
MODEL = """
[model]
content_size = 2
likelihood = "gaussian"
encoder = "mlp"
encoder_widths = [8]
decoder_widths = [8]

[training]
epochs = 2
batch_size = 40
threads = 1
"""


def write(folder: Path, data: str = STRIPES, scales: str = SCALES, model: str = MODEL) -> Path:
    """Writes recipe.toml."""
    path = folder / "recipe.toml"
    path.write_text(data + scales + model + CARD, encoding="utf-8")
    return path


def request(folder: Path, *files: Path, data: str = STRIPES, scales: str = SCALES, model: str = MODEL, resume: bool = False) -> Request:
    """What the command line would ask for."""
    return Request(read_recipe(write(folder, data, scales, model)), files, None, folder / "bundles", "cpu", resume)
