"""A tiny recipe as text, with changes; and tiny data files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CARD = """
[card]
title = "Toy"
description = "A toy."
limits = "Everything."
published = "Nothing."
ours = "All of it."
"""
MODEL = """
[model]
invariances = ["rotation"]
content_size = 1
likelihood = "gaussian"
encoder = "mlp"
encoder_widths = [8]
decoder_widths = [8]

[training]
epochs = 2
batch_size = 32
threads = 1
"""
FILES = """
name = "toy"
kind = "latent"

[data]
source = "files"
licence = "MIT"
"""
CARDS = """
name = "toy"
kind = "latent"

[data]
source = "cards"
train_per_suit = 20
test_per_suit = 10
side_px = 16
"""


def write_recipe(folder: Path, data: str = FILES, model: str = MODEL, extra: str = "") -> Path:
    """Writes recipe.toml: head and [data], then `extra` keys or sections, then the model and the card."""
    path = folder / "recipe.toml"
    path.write_text(data + extra + model + CARD, encoding="utf-8")
    return path


def write_images(path: Path, images: np.ndarray, **more: np.ndarray) -> Path:
    """An .npz data file."""
    np.savez(path, images=images, **more)
    return path


def random_images(count: int = 60, side: int = 12, seed: int = 0) -> np.ndarray:
    """(count, side, side) float32 in [0, 1)."""
    return np.random.default_rng(seed).random((count, side, side), dtype=np.float32)
