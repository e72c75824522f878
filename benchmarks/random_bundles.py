"""Bundles with the demo's architecture and random weights: how fast a graph runs does not depend on what it learned."""

from __future__ import annotations

from pathlib import Path

import torch

from dichroic.bundle import Preprocessing, TrainingData
from dichroic.bundle.manifest import Calibration
from training.export.frame_models import FrameModels, StageModel
from training.export.latent_bundle import Facts, write_latent_bundle
from training.latent.model import InvariantVAE
from training.latent.specification import ModelSpecification
from training.recipe import read_recipe
from training.recipe_sections import Card

ROOT = Path(__file__).parents[1]
SIDE_PX = 64


def write_random_bundles(bundles: Path, side_px: int = SIDE_PX) -> None:
    """Writes `conv` (the convolutional encoder of recipes/domains.toml) and `mlp` (the family's usual two times 128), for square patches."""
    recipe = read_recipe(ROOT / "recipes" / "domains.toml")
    for name, channels, widths in (("conv", recipe.model.encoder_channels, recipe.model.encoder_widths), ("mlp", (), (128, 128))):
        torch.manual_seed(0)
        specification = ModelSpecification(
            side_px,
            side_px,
            invariances=("rotation", "translation"),
            encoder_channels=tuple(channels),
            encoder_widths=tuple(widths),
            decoder_widths=tuple(recipe.model.decoder_widths),
        )
        write_latent_bundle(bundles, InvariantVAE(specification), _facts(name))


def write_random_frames(bundles: Path, window_px: int = SIDE_PX) -> None:
    """Writes `dense`: an encoder without padding, its head the moments of the domains recipe's channels, for windows of whole images."""
    recipe = read_recipe(ROOT / "recipes" / "domains.toml")
    torch.manual_seed(0)
    specification = ModelSpecification(
        window_px,
        window_px,
        invariances=("rotation", "translation"),
        encoder_channels=tuple(recipe.model.encoder_channels),
        encoder_widths=tuple(recipe.model.encoder_widths),
        decoder_widths=tuple(recipe.model.decoder_widths),
        dense_head="moments",
    )
    model = InvariantVAE(specification)
    write_latent_bundle(bundles, model, _facts("dense"), FrameModels((StageModel(model, float(window_px)),)))


def _facts(name: str) -> Facts:
    text = "Random weights, for timing only."
    return Facts(
        name=name,
        card=Card(title=text, description=text, limits=text, published=text, ours=text),
        preprocessing=Preprocessing(unit="1", input_low=(0.0,), input_high=(1.0,), clip=True, integer_images="full_scale"),
        training_data=TrainingData(source="none", licence="MIT", sha256=("0" * 64,)),
        notes="",
        quantity="",
        pixel_size_nm=None,
        metrics=(),
        calibration=Calibration(),
        novelty_threshold=None,
        novelty_false_alarm_rate=None,
        timings_s={},
    )
