"""What a fit and its report need of the data, whatever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing
from training.latent.companions import NO_COMPANIONS, Companions, standardised
from training.latent.normalisation import normalised
from training.latent.pose_metrics import PoseTruth
from training.latent.specification import ModelSpecification
from training.recipe_data import Condition, Target

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class EvaluationSet:
    """Images (n, h, w, c) float32, in the data's unit, that nothing was fitted to; `name` says which.

    Spectra (l, c) are images of one row. `beside`: conditions, targets and outputs in their units, where the model has such. `truth` where they were
    drawn; `labels` (n,) int64, −1 unlabelled, where the data has them.
    """

    name: str
    images: Array
    truth: PoseTruth | None = None
    labels: Array | None = None
    beside: Companions = NO_COMPANIONS


@dataclass(frozen=True)
class Prepared:
    """Everything a fit and its report need of the data.

    Attributes:
        train: (n, h, w, c) float32, in `preprocessing.unit`.
        validation: (m, h, w, c) to choose restarts or models by; empty where the recipe wants none.
        held_out: measured on once, at the end; calibration and novelty threshold come from here.
        others: further sets, such as a whole scan that was never trained on.
        preprocessing: unit and normalisation.
        quantity: what was measured; may be empty.
        pixel_size_nm: of all files; None when unknown or not one.
        source: files' names or the generator, with the citation.
        licence: of the data.
        sha256: of each file trained on, or of the generator's arrays.
        notes: about the data, for the model card; may be empty.
        remark: what the card must say before the recipe's texts, when the data are not those they were written for; may be empty.
        labels: (n,) int64 class of each training image, −1 unlabelled; None: not a semi-supervised model.
        beside: conditions, targets and outputs of the training images, in their units.
        validation_beside: likewise of those in `validation`.
        output_preprocessing: unit and normalisation of the outputs; None where what goes in is drawn.
        conditions: what the columns of the conditions are.
        targets: what the columns of the targets are.
        validation_truth: of the validation images, where they were drawn.
        validation_labels: (m,) int64, −1 unlabelled; measured with, never trained on.
    """

    train: Array
    validation: Array
    held_out: EvaluationSet
    others: tuple[EvaluationSet, ...]
    preprocessing: Preprocessing
    quantity: str
    pixel_size_nm: float | None
    source: str
    licence: str
    sha256: tuple[str, ...]
    notes: str = ""
    remark: str = ""
    labels: Array | None = None
    beside: Companions = NO_COMPANIONS
    validation_beside: Companions = NO_COMPANIONS
    output_preprocessing: Preprocessing | None = None
    conditions: tuple[Condition, ...] = ()
    targets: tuple[Target, ...] = ()
    validation_truth: PoseTruth | None = None
    validation_labels: Array | None = None

    @property
    def drawn_preprocessing(self) -> Preprocessing:
        """Of what the model draws."""
        return self.output_preprocessing or self.preprocessing


def beside_for_fit(specification: ModelSpecification, prepared: Prepared, beside: Companions) -> Companions:
    """Companions of a fit: targets standardised, outputs normalised."""
    targets = None if beside.targets is None else standardised(specification, beside.targets)
    outputs = None if beside.outputs is None else normalised(beside.outputs, prepared.drawn_preprocessing)
    return Companions(beside.conditions, targets, outputs)
