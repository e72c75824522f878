"""From a recipe to the arrays of a fit, for data that is drawn here: every part comes from a random stream of its own."""

from __future__ import annotations

import numpy as np

from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import Array, DataSet
from training.data.patch_spectra import STREAMS, draw_patch_spectra
from training.latent.companions import Companions
from training.latent.normalisation import preprocessing_of
from training.latent.pose_metrics import PoseTruth
from training.latent.prepare import with_channels
from training.latent.prepared import EvaluationSet, Prepared
from training.recipe import CardsData, Recipe
from training.recipe_data import Condition, PatchSpectrumData

_SUIT = Condition(name="suit", meaning="which suit is on the card", categories=SUITS)
_UNITS = {"images": "1", "spectra": "pm"}


def prepare_cards(recipe: Recipe, data: CardsData) -> Prepared:
    """Draws the cards: training, validation and test images from three independent streams."""
    counts = {"train": data.train_per_suit, "validation": data.validation_per_suit, "test": data.test_per_suit}
    drawn = {
        stream: draw_cards(
            count,
            angle_deg=data.angle_deg,
            shear_deg=data.shear_deg,
            shift=data.shift,
            scale=data.scale,
            side=data.side_px,
            seed=data.seed,
            stream=stream,
        )
        for stream, count in counts.items()
    }
    images = {stream: with_channels(made.arrays["images"]).astype(np.float32) for stream, made in drawn.items()}
    labels = None
    if data.labelled_per_suit:
        made = _labelled_cards(data)
        images["train"] = np.concatenate([images["train"], with_channels(made.arrays["images"])])
        labels = np.concatenate([np.full(4 * data.train_per_suit, -1), made.arrays["labels"]])
        drawn["labelled"] = made
    suits = {stream: _suits(made) if data.condition_on_suit else Companions() for stream, made in drawn.items()}
    chosen = recipe.training.wants_validation
    fitted = ("train", "validation") if chosen else ("train",)
    return Prepared(
        train=images["train"],
        validation=images["validation"] if chosen else images["validation"][:0],
        held_out=EvaluationSet("drawn cards, test stream", images["test"], _truth(drawn["test"]), drawn["test"].arrays["labels"], suits["test"]),
        others=(),
        preprocessing=preprocessing_of(recipe.normalisation, images["train"], "1", clip=recipe.model.likelihood != "gaussian"),
        quantity="brightness",
        pixel_size_nm=None,
        source="; ".join(drawn[stream].source for stream in ("train", "labelled") if stream in drawn),
        licence="MIT (drawn by this project)",
        sha256=tuple(drawn[stream].sha256 for stream in (*fitted, *(("labelled",) if labels is not None else ()))),
        labels=labels,
        beside=suits["train"],
        validation_beside=suits["validation"],
        conditions=(_SUIT,) if data.condition_on_suit else (),
        validation_truth=_truth(drawn["validation"]) if chosen else None,
        validation_labels=drawn["validation"].arrays["labels"] if chosen else None,
    )


def _suits(made: DataSet) -> Companions:
    return Companions(made.arrays["labels"][:, None].astype(np.float32))


def _labelled_cards(data: CardsData) -> DataSet:
    return draw_cards(
        data.labelled_per_suit,
        angle_deg=data.labelled_angle_deg,
        shear_deg=data.labelled_shear_deg,
        shift=data.labelled_shift,
        scale=data.labelled_scale,
        side=data.side_px,
        seed=data.seed,
        stream="labelled",
    )


def _truth(made: DataSet) -> PoseTruth:
    arrays = made.arrays
    return PoseTruth(
        labels=arrays["labels"],
        angle_rad=arrays["truth_angle_rad"],
        scale=arrays["truth_scale"],
        shift_down_px=arrays["truth_shift_down_px"],
        shift_right_px=arrays["truth_shift_right_px"],
        symmetry_order=tuple(SYMMETRY_ORDER[suit] for suit in SUITS),
    )


def prepare_patch_spectra(recipe: Recipe, data: PatchSpectrumData) -> Prepared:
    """Draws patches and their loops: training, validation and test rows from three independent streams."""
    counts = dict(zip(STREAMS, (data.train, data.validation, data.test), strict=True))
    drawn = {
        stream: draw_patch_spectra(
            count,
            side=data.side_px,
            points=data.points,
            image_noise=data.image_noise,
            spectrum_noise=data.spectrum_noise,
            seed=data.seed,
            stream=stream,
        )
        for stream, count in counts.items()
    }
    sides = {"images": {name: _images_of(made) for name, made in drawn.items()}, "spectra": {name: _spectra_of(made) for name, made in drawn.items()}}
    inputs, outputs = sides[recipe.model.input_kind], sides[recipe.model.output_kind] if recipe.translates else None
    beside = {name: Companions(outputs=None if outputs is None else outputs[name]) for name in STREAMS}
    several, clip = recipe.training.wants_validation, recipe.model.likelihood != "gaussian"
    return Prepared(
        train=inputs["train"],
        validation=inputs["validation"] if several else inputs["validation"][:0],
        held_out=EvaluationSet("drawn patches, test stream", inputs["test"], beside=beside["test"]),
        others=(),
        preprocessing=preprocessing_of(recipe.normalisation, inputs["train"], _UNITS[recipe.model.input_kind], clip=clip),
        quantity="piezoresponse",
        pixel_size_nm=None,
        source=drawn["train"].source,
        licence="MIT (drawn by this project)",
        sha256=tuple(drawn[stream].sha256 for stream in (("train", "validation") if several else ("train",))),
        beside=beside["train"],
        validation_beside=beside["validation"],
        output_preprocessing=None
        if outputs is None
        else preprocessing_of(recipe.output_normalisation, outputs["train"], _UNITS[recipe.model.output_kind], clip=clip),
    )


def _images_of(made: DataSet) -> Array:
    return with_channels(made.arrays["images"])


def _spectra_of(made: DataSet) -> Array:
    return with_channels(made.arrays["spectra"][:, None])
