"""From a recipe to the arrays of a fit, for data that is drawn here: every part comes from a random stream of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.data.cards import SUITS, SYMMETRY_ORDER, draw_cards
from training.data.dataset import DataSet
from training.data.patch_spectra import STREAMS, draw_patch_spectra
from training.latent.companions import Companions
from training.latent.normalisation import preprocessing_of
from training.latent.pose_metrics import PoseTruth
from training.latent.prepare import with_channels
from training.latent.prepared import EvaluationSet, Prepared
from training.recipe import CardsData, Recipe
from training.recipe_data import Condition, PatchSpectrumData, Target

_SUIT = Condition(name="suit", meaning="which suit is on the card", categories=SUITS)
_HIDDEN = {
    "coercive_voltage": (Target(name="coercive_voltage", unit="V", meaning="half the width of the patch's loop"), "truth_coercive_v"),
    "imprint": (Target(name="imprint", unit="V", meaning="by how much the patch's loop is shifted to lower voltages"), "truth_imprint_v"),
    "amplitude": (Target(name="amplitude", unit="pm", meaning="half the height of the patch's loop"), "truth_amplitude_pm"),
    "sharpness": (Target(name="sharpness", unit="V", meaning="range of voltages in which the patch switches"), "truth_sharpness_v"),
}
_UNITS = {"images": "1", "spectra": "pm"}


@dataclass(frozen=True)
class _Drawn:
    """What was drawn: `made` by the generator, stream by stream, and the rows that come of it."""

    made: dict[str, DataSet]
    train: EvaluationSet
    validation: EvaluationSet
    held_out: EvaluationSet
    conditions: tuple[Condition, ...] = ()
    targets: tuple[Target, ...] = ()


def prepare_drawn(recipe: Recipe, data: CardsData | PatchSpectrumData) -> Prepared:
    """Draws training, validation and test rows from independent streams; nothing but the recipe decides what comes."""
    drawn = _draw_cards(data) if isinstance(data, CardsData) else _draw_patches(recipe, data)
    train, validation, made = drawn.train, drawn.validation, drawn.made
    chosen, clip = recipe.training.wants_validation, recipe.model.likelihood != "gaussian"
    outputs = train.beside.outputs
    return Prepared(
        train=train.images,
        validation=validation.images if chosen else validation.images[:0],
        held_out=drawn.held_out,
        others=(),
        preprocessing=preprocessing_of(recipe.normalisation, train.images, _UNITS[recipe.model.input_kind], clip=clip),
        quantity=made["train"].quantity,
        pixel_size_nm=None,
        source="; ".join(made[stream].source for stream in ("train", "labelled") if stream in made),
        licence="MIT (drawn by this project)",
        sha256=tuple(made[stream].sha256 for stream in ("train", *(("validation",) if chosen else ()), "labelled") if stream in made),
        labels=train.labels,
        beside=train.beside,
        validation_beside=validation.beside,
        output_preprocessing=None
        if outputs is None
        else preprocessing_of(recipe.output_normalisation, outputs, _UNITS[recipe.model.output_kind], clip=clip),
        conditions=drawn.conditions,
        targets=drawn.targets,
        validation_truth=validation.truth if chosen else None,
        validation_labels=validation.labels if chosen else None,
    )


def _draw_cards(data: CardsData) -> _Drawn:
    """Cards with their suits and true poses; labelled ones, if wanted, stand behind the unlabelled ones that are trained on."""
    counts = {"train": data.train_per_suit, "validation": data.validation_per_suit, "test": data.test_per_suit}
    made = {
        stream: draw_cards(
            count,
            angle_deg=data.angle_deg,
            shear_deg=data.shear_deg,
            shift=data.shift,
            scale=data.scale,
            side=data.side_px,
            noise=data.noise,
            seed=data.seed,
            stream=stream,
        )
        for stream, count in counts.items()
    }
    train, validation, held_out = (_cards(each, data) for each in made.values())
    train = replace(train, labels=None)
    if data.labelled_per_suit:
        made["labelled"] = draw_cards(
            data.labelled_per_suit,
            angle_deg=data.labelled_angle_deg,
            shear_deg=data.labelled_shear_deg,
            shift=data.labelled_shift,
            scale=data.labelled_scale,
            side=data.side_px,
            noise=data.noise,
            seed=data.seed,
            stream="labelled",
        )
        images, labels = with_channels(made["labelled"].arrays["images"]), made["labelled"].arrays["labels"]
        train = replace(
            train, images=np.concatenate([train.images, images]), labels=np.concatenate([np.full(len(train.images), -1, np.int64), labels])
        )
    return _Drawn(made, train, validation, held_out, conditions=(_SUIT,) if data.condition_on_suit else ())


def _cards(made: DataSet, data: CardsData) -> EvaluationSet:
    arrays = made.arrays
    truth = PoseTruth(
        labels=arrays["labels"],
        angle_rad=arrays["truth_angle_rad"],
        scale=arrays["truth_scale"],
        shift_down_px=arrays["truth_shift_down_px"],
        shift_right_px=arrays["truth_shift_right_px"],
        symmetry_order=tuple(SYMMETRY_ORDER[suit] for suit in SUITS),
    )
    beside = Companions(arrays["labels"][:, None].astype(np.float32)) if data.condition_on_suit else Companions()
    return EvaluationSet("drawn cards, test stream", with_channels(arrays["images"]).astype(np.float32), truth, arrays["labels"], beside)


def _draw_patches(recipe: Recipe, data: PatchSpectrumData) -> _Drawn:
    """Patches or their loops, with the loop or the patch where the model draws the other, and hidden parameters where it is to tell them."""
    counts = dict(zip(STREAMS, (data.train, data.validation, data.test), strict=True))
    made = {
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
    # Every patch that is measured on tells its targets; of those trained on, the first few (patches come in no order).
    known = {**counts, "train": data.targets_known}
    parts = [_patches(recipe, data, each, known[stream]) for stream, each in made.items()]
    if data.targets:
        told = f"; {' and '.join(data.targets)} told of the first {min(data.targets_known, data.train)}"
        made["train"] = replace(made["train"], source=made["train"].source + told)
    return _Drawn(made, *parts, targets=tuple(_HIDDEN[name][0] for name in data.targets))


def _patches(recipe: Recipe, data: PatchSpectrumData, made: DataSet, known: int) -> EvaluationSet:
    sides = {"images": with_channels(made.arrays["images"]), "spectra": with_channels(made.arrays["spectra"][:, None])}
    targets = None
    if data.targets:
        targets = np.stack([made.arrays[_HIDDEN[name][1]] for name in data.targets], axis=1)
        targets[known:] = np.nan
    beside = Companions(targets=targets, outputs=sides[recipe.model.output_kind] if recipe.translates else None)
    return EvaluationSet("drawn patches, test stream", sides[recipe.model.input_kind], beside=beside)
