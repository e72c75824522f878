"""The figures of a fit, measured on data it never saw, as the manifest's metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import Metric
from dichroic.bundle.manifest import Calibration, ErrorCalibration, Quantile
from training.data.cards import SUITS
from training.errors import InputError
from training.latent.class_metrics import class_agreement
from training.latent.companions import Companions
from training.latent.evaluate import HeldOut, encode_images, held_out_bound, predict_outputs, tell_targets
from training.latent.model import InvariantVAE
from training.latent.normalisation import normalised
from training.latent.orientation import SYMMETRY_ORDER, stripe_direction
from training.latent.pose_metrics import ClassFigures, fisher_lee_correlation, median_angle_error_deg, pose_figures
from training.latent.prepared import EvaluationSet, Prepared
from training.latent.target_metrics import r2, target_figures

Array = np.ndarray[Any, np.dtype[Any]]

_PROBABILITIES = (0.5, 0.9, 0.95, 0.99)
# Held-out errors kept in the bundle, from which a server makes p-values.
_SAMPLE = 1000
# The novelty threshold's quantile; its complement is the share of known images called novel.
NOVELTY_QUANTILE = 0.99
NOVELTY_FALSE_ALARM_RATE = 0.01
# With fewer held-out images the quantile lies between the two greatest errors, and the share above it is not the nominal one.
FEWEST_FOR_NOMINAL_RATE = 100

# Patches less coherent than this have no one direction to compare with.
LEAST_COHERENCE = 0.3

_CLASS_FIGURES: tuple[tuple[str, str, Callable[[list[float]], float], str], ...] = (
    (
        "angle_correlation",
        "1",
        min,
        "Fisher-Lee circular correlation of reported and true angle (both times the object's symmetry order), least over the classes",
    ),
    ("angle_error_deg", "deg", max, "median absolute angle error after one offset for each class, modulo the symmetry, greatest over the classes"),
    ("angle_concentration", "1", min, "concentration of reported minus true angle, least over the classes (a constant answer has 0.83 at ±60°)"),
    ("shift_r2", "1", min, "R² of reported shifts after subtracting each class's constant centre in the object's frame, least over the classes"),
    ("scale_r2", "1", min, "R² of reported log scale after one constant factor for each class, least over the classes"),
)


@dataclass(frozen=True)
class Novelty:
    """`threshold` of the reconstruction error above which an image is called novel, and the share of known images that exceed it."""

    threshold: float
    false_alarm_rate: float


def novelty(errors: Array) -> Novelty:
    """The threshold from held-out reconstruction errors (n,); of fewer than 100 the rate is the share measured, kept inside (0, 1)."""
    values = errors.astype(np.float64)
    threshold = float(np.quantile(values, NOVELTY_QUANTILE))
    if len(values) >= FEWEST_FOR_NOMINAL_RATE:
        return Novelty(threshold, NOVELTY_FALSE_ALARM_RATE)
    return Novelty(threshold, max(float(np.mean(values > threshold)), 1 / (len(values) + 1)))


def measure(model: InvariantVAE, prepared: Prepared, seed: int) -> tuple[tuple[Metric, ...], Calibration, Novelty | None]:
    """All figures, the calibration of the reconstruction error on the held-out images, and what counts as novel.

    A model that draws another kind than goes in reconstructs nothing: no calibration, no novelty.

    Raises:
        InputError: TRAINING_DIVERGED: a figure is not a finite number.
    """
    held_out = _bound(model, prepared, prepared.held_out, seed)
    metrics = _common(held_out, prepared.held_out.name, translates=model.specification.translates)
    metrics += _pose(model, prepared) + _orientation(model, prepared, prepared.held_out) + _classes(model, prepared)
    metrics += _outputs(model, prepared, prepared.held_out) + _targets(model, prepared, prepared.held_out)
    if model.specification.translates:
        for other in prepared.others:
            metrics += _common(_bound(model, prepared, other, seed), other.name, translates=True)
            metrics += _outputs(model, prepared, other) + _targets(model, prepared, other)
        return tuple(metrics), Calibration(), None
    found_novelty = novelty(held_out.error)
    for other in prepared.others:
        found = _bound(model, prepared, other, seed)
        metrics += _common(found, other.name, translates=False) + _orientation(model, prepared, other) + _targets(model, prepared, other)
        share = float(np.mean(found.error > found_novelty.threshold))
        metrics.append(Metric(name="novel_share", value=share, unit="1", split=other.name, meaning="share of images above the novelty threshold"))
    quantiles = tuple(Quantile(probability=p, value=float(np.quantile(held_out.error.astype(np.float64), p))) for p in _PROBABILITIES)
    calibration = Calibration(
        reconstruction_error=ErrorCalibration(count=len(held_out.error), split=prepared.held_out.name, quantiles=quantiles),
        reconstruction_error_sample=_sample(held_out.error),
    )
    return tuple(metrics), calibration, found_novelty


def _bound(model: InvariantVAE, prepared: Prepared, images: EvaluationSet, seed: int) -> HeldOut:
    clipped = normalised(images.images, prepared.preprocessing)
    outputs = images.beside.outputs
    drawn = normalised(images.images if outputs is None else outputs, prepared.drawn_preprocessing, clip=False)
    beside = Companions(images.beside.conditions, None, None if outputs is None else normalised(outputs, prepared.drawn_preprocessing))
    found = held_out_bound(model, clipped, seed=seed, unclipped=drawn, beside=beside)
    if not (np.isfinite(found.total).all() and np.isfinite(found.error).all()):
        raise InputError(
            "TRAINING_DIVERGED",
            f"The model's bound or reconstruction error is not finite on {images.name}; lower training.learning_rate in the recipe and run again.",
        )
    return found


def _common(found: HeldOut, split: str, *, translates: bool) -> list[Metric]:
    name, meaning = "reconstruction_mse", "mean squared difference of image and reconstruction, input range scaled to [0, 1], not clipped"
    if translates:
        name, meaning = "output_mse", "mean squared difference of true and predicted output, output range scaled to [0, 1], not clipped"
    metrics = [
        Metric(name="negative_elbo", value=float(found.total.mean()), unit="nats/image", split=split, meaning="mean -ELBO, β = 1, four draws"),
        Metric(name=name, value=float(found.error.mean()), unit="1", split=split, meaning=meaning),
    ]
    if found.excess is not None:
        meaning = "-log p(image | posterior mean) above the entropy of its grey values, which no model can undercut"
        metrics.append(Metric(name="excess_reconstruction", value=float(found.excess.mean()), unit="nats/image", split=split, meaning=meaning))
    return metrics


def _pose(model: InvariantVAE, prepared: Prepared) -> list[Metric]:
    truth, split = prepared.held_out.truth, prepared.held_out.name
    if truth is None or not model.spatial:
        return []
    values = normalised(prepared.held_out.images, prepared.preprocessing)
    classes = pose_figures(encode_images(model, values, prepared.held_out.beside.conditions), truth)
    metrics = []
    for name, unit, worst, meaning in _CLASS_FIGURES:
        values = _values(classes, name)
        if values:
            metrics.append(Metric(name=f"{name}_worst", value=worst(list(values.values())), unit=unit, split=split, meaning=meaning))
            metrics += [
                Metric(name=f"{name}_{suit}", value=value, unit=unit, split=split, meaning=f"the same, {suit} alone")
                for suit, value in values.items()
            ]
    return metrics


def _orientation(model: InvariantVAE, prepared: Prepared, images: EvaluationSet) -> list[Metric]:
    if model.specification.angle_symmetry != SYMMETRY_ORDER or model.specification.input_kind != model.specification.output_kind:
        return []
    values = normalised(images.images, prepared.preprocessing)
    found = stripe_direction(values)
    clear = found.coherence > LEAST_COHERENCE
    if clear.sum() < 2:  # a correlation needs two
        return []
    reported, direction = encode_images(model, values, images.beside.conditions)["angle_rad"][clear], found.angle_rad[clear]
    told = f"over the images with a clear direction (coherence of the structure tensor above {LEAST_COHERENCE})"
    correlation = fisher_lee_correlation(SYMMETRY_ORDER * reported, SYMMETRY_ORDER * direction)
    error = median_angle_error_deg(reported, direction, SYMMETRY_ORDER)
    return [
        Metric(
            name="orientation_correlation",
            value=correlation,
            unit="1",
            split=images.name,
            meaning=f"Fisher-Lee circular correlation of twice the reported angle and twice the stripes' direction, {told}",
        ),
        Metric(
            name="orientation_error_deg",
            value=error,
            unit="deg",
            split=images.name,
            meaning=f"median absolute difference of reported angle and stripes' direction after one offset, modulo 180°, {told}",
        ),
        Metric(name="orientation_share", value=float(clear.mean()), unit="1", split=images.name, meaning="share of images with a clear direction"),
    ]


def _classes(model: InvariantVAE, prepared: Prepared) -> list[Metric]:
    source, labels, split = model.specification.class_source, prepared.held_out.labels, prepared.held_out.name
    if not source or labels is None or not np.any(labels >= 0):
        return []
    known = labels >= 0
    conditions = prepared.held_out.beside.at(known).conditions
    told = encode_images(model, normalised(prepared.held_out.images[known], prepared.preprocessing), conditions)["class_probabilities"]
    found = class_agreement(told.argmax(axis=1), labels[known], model.specification.class_count, matched=source == "joint")
    how = "stands for its label after the best one-to-one matching" if source == "joint" else "is its label"
    rows = (
        ("class_accuracy", found.accuracy, f"share of images whose most probable class {how}"),
        ("class_ari", found.adjusted_rand_index, "adjusted Rand index of most probable classes and labels; 0 by chance"),
        ("class_nmi", found.normalised_mutual_information, "mutual information of most probable classes and labels over their mean entropy"),
        ("classes_used", float(found.used), "classes that at least a tenth of an even portion of the images belongs to"),
    )
    return [Metric(name=name, value=value, unit="1", split=split, meaning=meaning) for name, value, meaning in rows]


def _outputs(model: InvariantVAE, prepared: Prepared, images: EvaluationSet) -> list[Metric]:
    outputs = images.beside.outputs
    if outputs is None:
        return []
    predicted = predict_outputs(model, normalised(images.images, prepared.preprocessing), images.beside.conditions)
    value = r2(predicted, normalised(outputs, prepared.drawn_preprocessing, clip=False))
    meaning = "R² of the output predicted at the posterior mean, against the mean output of these rows, over all points and channels"
    return [Metric(name="output_r2", value=value, unit="1", split=images.name, meaning=meaning)] if np.isfinite(value) else []


def _targets(model: InvariantVAE, prepared: Prepared, images: EvaluationSet) -> list[Metric]:
    columns, truth = model.specification.targets, images.beside.targets
    if not columns or truth is None:
        return []
    mean, sd = tell_targets(model, normalised(images.images, prepared.preprocessing))
    metrics = []
    for index, column in enumerate(columns):
        known = ~np.isnan(truth[:, index])
        if not known.any():
            continue
        found = target_figures(mean[known, index], sd[known, index], truth[known, index])
        rows = (
            ("rmse", found.rmse, column.unit, "root mean square error of the target's mean"),
            ("r2", found.r2, "1", "R² of the target's mean, against the mean truth of these rows"),
            ("nlpd", found.nlpd, "nats", "mean negative log predictive density of the target in its unit"),
            ("coverage_90", found.coverage, "1", "share of truths within the predicted central 90 % interval"),
        )
        over = f"{images.name}, {int(known.sum())} rows with {column.name}"
        metrics += [
            Metric(name=f"target_{name}_{column.name}", value=value, unit=unit, split=over, meaning=meaning)
            for name, value, unit, meaning in rows
            if np.isfinite(value)
        ]
    return metrics


def _sample(errors: Array) -> tuple[float, ...]:
    """Up to 1000 order statistics of the errors (n,) at evenly spaced ranks, ascending, the least and the greatest among them."""
    ordered = np.sort(errors.astype(np.float64))
    ranks = np.unique(np.round(np.linspace(0, len(ordered) - 1, min(len(ordered), _SAMPLE))).astype(np.int64))
    return tuple(float(value) for value in ordered[ranks])


def _values(classes: tuple[ClassFigures, ...], name: str) -> dict[str, float]:
    found = {SUITS[figures.label]: getattr(figures, name) for figures in classes}
    return {suit: float(value) for suit, value in found.items() if value is not None}
