"""The score of one fitted candidate on the validation images."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from training.choose.candidates import Candidate
from training.choose.scores import PoseErrors, Score
from training.latent.checkpoint import Array
from training.latent.class_metrics import class_agreement, used_classes
from training.latent.companions import Companions
from training.latent.coordinates import object_centre, wrap_angle
from training.latent.equivariance import Movement, draw_movement, move_images
from training.latent.evaluate import encode_images, held_out_bound
from training.latent.model import InvariantVAE, Sampling
from training.latent.normalisation import normalised
from training.latent.pose_metrics import PoseTruth, median_shift_error_px, pose_figures
from training.latent.prepared import Prepared, beside_for_fit

# Validation images are turned, shifted (share of the longer side, per axis) and resized by up to this much; only in what the model reports.
_TURN_DEG = 30.0
_SHIFT = 0.05
_SIZE = 1.1
_MOST_MOVED = 500


def measure_candidate(model: InvariantVAE, prepared: Prepared, candidate: Candidate, seed: int) -> Score:
    """Evidence, pose errors and classes of a model on `prepared.validation`; the held-out images are not touched."""
    images = normalised(prepared.validation, prepared.preprocessing)
    beside = beside_for_fit(model.specification, prepared, prepared.validation_beside)
    bound = held_out_bound(model, images, seed=seed, beside=beside).total.astype(np.float64)
    if not np.isfinite(bound).all():
        return Score(candidate, seed, (), failure="TRAINING_DIVERGED: the bound is not finite on the validation images.")
    told = encode_images(model, images, beside.conditions)
    used, accuracy = _classes(model, told, prepared.validation_labels)
    truth = prepared.validation_truth
    pose = PoseErrors()
    if model.spatial and truth is not None:
        pose = truth_errors(told, truth)
    elif model.spatial and not model.specification.translates and images.shape[1] > 1:  # what is drawn is the image that can be moved
        pose = movement_errors(model, images, seed=seed, conditions=beside.conditions)
    return Score(candidate, seed, tuple(bound.tolist()), pose, used, accuracy)


def truth_errors(told: dict[str, Array], truth: PoseTruth) -> PoseErrors:
    """Against drawn poses: the median error of each class after its own offset, centre or factor; of those the worst."""
    angles = [figures.angle_error_deg for figures in pose_figures(told, truth) if figures.angle_error_deg is not None]
    shifts, sizes = [], []
    for label in np.unique(truth.labels):
        rows = np.flatnonzero(truth.labels == label)
        drawn = (truth.shift_down_px[rows], truth.shift_right_px[rows])
        if "shift_down_px" in told and np.ptp(drawn[0]) > 0:
            reported = (told["shift_down_px"][rows], told["shift_right_px"][rows])
            shifts.append(median_shift_error_px(reported, drawn, truth.angle_rad[rows], truth.scale[rows]))
        if "scale" in told and np.ptp(truth.scale[rows]) > 0:
            ratio = np.log(np.asarray(told["scale"][rows], np.float64) / truth.scale[rows])
            sizes.append(_percent(float(np.median(np.abs(ratio - np.median(ratio))))))
    return PoseErrors("truth", *(max(found) if found else None for found in (angles, shifts, sizes)))


@torch.no_grad()
def movement_errors(model: InvariantVAE, images: Array, *, seed: int, conditions: Array | None = None) -> PoseErrors:
    """How well the reported pose follows a known movement of the image: medians over up to 500 images (n, h, w, c), normalised.

    It needs no truth, and it does not see an error that all images share. What moves in at the border is the border's own value, repeated.
    """
    specification = model.specification
    present = specification.invariances
    rows = np.linspace(0, len(images) - 1, min(len(images), _MOST_MOVED)).round().astype(np.int64)
    still = torch.from_numpy(np.ascontiguousarray(images[rows])).to(model.grid.device)
    movement = _movement(len(rows), present, seed, model.grid)
    told = Companions(conditions).at(rows).tensors(model.grid.device).conditions
    before, after = model.read(still, told).sampling, model.read(move_images(still, model.grid, movement), told).sampling
    angle = shift = size = None
    if "rotation" in present:
        symmetry = max(1, specification.angle_symmetry)
        off = wrap_angle(symmetry * (after.angle - before.angle - movement.angle)) / symmetry
        angle = math.degrees(_median(torch.abs(off)))
    if "translation" in present:
        # The moved image has the centre (1/σ)(c − dx) Rᵀ(δ); see equivariance.py.
        expected = torch.stack(object_centre(movement.angle, movement.shift - _centre(before), movement.scale), dim=1)
        shift = _median(torch.linalg.norm(_centre(after) - expected, dim=1)) * (specification.longer_side_px - 1) / 2
    if "scale" in present:
        size = _percent(_median(torch.abs(torch.log(after.scale / (before.scale * movement.scale)))))
    return PoseErrors("movement", angle, shift, size)


def _movement(count: int, present: tuple[str, ...], seed: int, like: Tensor) -> Movement:
    turn = math.radians(_TURN_DEG) if "rotation" in present else 0.0
    shift = 2 * _SHIFT if "translation" in present else 0.0  # grid units: the longer side is 2
    drawn = draw_movement(count, turn, shift, _SIZE if "scale" in present else 1.0, torch.Generator().manual_seed(seed))
    return Movement(*(part.to(like.device) for part in (drawn.angle, drawn.shift, drawn.scale)))


def _centre(sampling: Sampling) -> Tensor:
    return torch.stack(object_centre(sampling.angle, sampling.shift, sampling.scale), dim=1)


def _classes(model: InvariantVAE, told: dict[str, Array], labels: Array | None) -> tuple[int | None, float | None]:
    if "class_probabilities" not in told:
        return None, None
    predicted, count = told["class_probabilities"].argmax(axis=1), model.specification.class_count
    known = labels >= 0 if labels is not None else np.zeros(len(predicted), dtype=bool)
    accuracy = None
    if labels is not None and known.any():
        matched = model.specification.class_source == "joint"
        accuracy = class_agreement(predicted[known], labels[known], count, matched=matched).accuracy
    return used_classes(predicted, count), accuracy


def _median(values: Tensor) -> float:
    return float(np.median(values.cpu().numpy()))


def _percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)
