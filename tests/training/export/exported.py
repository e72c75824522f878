"""Small bundles of several kinds of model, each exported once for all tests."""

from __future__ import annotations

import functools
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dichroic.bundle import Bundle, Metric, Preprocessing, TrainingData, read_bundle
from dichroic.bundle.manifest import Calibration
from training.export.latent_bundle import Facts, write_latent_bundle
from training.export.written import Written
from training.latent.model import InvariantVAE
from training.latent.specification import ModelSpecification
from training.recipe_sections import Card

CARD = Card(title="Toy title", description="A toy.", limits="Everything.", published="Nothing.", ours="All of it.")
SPECIFICATIONS = {
    "rotation-translation": ModelSpecification(
        12, 16, invariances=("rotation", "translation"), encoder_channels=(4, 8), encoder_widths=(16,), decoder_widths=(24, 24)
    ),
    "plain-three-channels": ModelSpecification(12, 12, channels=3, content_size=4, likelihood="gaussian", encoder_widths=(16,), decoder_widths=(16,)),
    "tall-translation-two-channels": ModelSpecification(
        16, 10, channels=2, invariances=("translation",), content_size=1, encoder_channels=(4,), encoder_widths=(8,), decoder_widths=(24, 8)
    ),
    "scale-alone-no-content": ModelSpecification(
        12, 12, invariances=("scale",), content_size=0, likelihood="continuous_bernoulli", encoder_widths=(16,), decoder_widths=(20,)
    ),
    "everything": ModelSpecification(
        12, 12, channels=2, invariances=("rotation", "translation", "scale"), likelihood="gaussian", encoder_widths=(16,), decoder_widths=(20,)
    ),
    "joint-full-circle": ModelSpecification(
        12,
        12,
        invariances=("rotation", "translation"),
        rotation_prior_sd_rad=math.pi / 8,
        angle_bins=8,
        class_source="joint",
        class_names=("class_1", "class_2", "class_3"),
        encoder_channels=(4,),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
    ),
    "semi-supervised-full-circle": ModelSpecification(
        12,
        12,
        channels=2,
        invariances=("rotation", "scale"),
        rotation_prior_sd_rad=math.pi / 4,
        angle_bins=4,
        class_source="semi_supervised",
        class_names=("disc", "ring"),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
    ),
    "joint-plain": ModelSpecification(
        12, 16, class_source="joint", class_names=("a", "b"), content_size=2, likelihood="gaussian", encoder_widths=(16,), decoder_widths=(16,)
    ),
}
# An export takes seconds: the others are tried with --long.
TRIED = ("everything", "joint-full-circle", "rotation-translation", "semi-supervised-full-circle")
KINDS = [kind if kind in TRIED else pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(SPECIFICATIONS)]


@dataclass(frozen=True)
class Exported:
    """A model, what was said about it, and its bundle, read back and checked."""

    model: InvariantVAE
    facts: Facts
    written: Written
    bundle: Bundle


def facts_for(specification: ModelSpecification, integer_images: str = "full_scale") -> Facts:
    """Facts with a range like that of a measured amplitude."""
    channels = specification.channels
    preprocessing = Preprocessing(
        unit="m",
        input_low=tuple(1e-11 * (index + 1) for index in range(channels)),
        input_high=tuple(6e-10 * (index + 1) for index in range(channels)),
        clip=specification.likelihood != "gaussian",
        integer_images="value" if integer_images == "value" else "full_scale",
    )
    return Facts(
        name="toy",
        card=CARD,
        preprocessing=preprocessing,
        training_data=TrainingData(source="drawn by a test", licence="MIT", sha256=("0" * 64,)),
        notes="A note about the data.",
        quantity="amplitude",
        pixel_size_nm=7.8,
        metrics=(Metric(name="negative_elbo", value=12.5, unit="nats/image", split="held-out", meaning="mean -ELBO"),),
        calibration=Calibration(),
        novelty_threshold=0.02,
        novelty_false_alarm_rate=0.01,
        timings_s={"fit": 1.0},
    )


def make_model(specification: ModelSpecification, seed: int = 0) -> InvariantVAE:
    """Untrained."""
    torch.manual_seed(seed)
    return InvariantVAE(specification).eval()


@functools.cache
def exported(kind: str) -> Exported:
    """One of SPECIFICATIONS as a bundle. A cache, since an export takes seconds."""
    torch.set_num_threads(1)
    model = make_model(SPECIFICATIONS[kind])
    facts = facts_for(SPECIFICATIONS[kind])
    with tempfile.TemporaryDirectory() as folder:
        written = write_latent_bundle(Path(folder), model, facts)
        return Exported(model, facts, written, read_bundle(written.folder))
