"""How well reported poses agree with drawn truth, per class. No labels are used in training; they only group the figures here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def fisher_lee_correlation(first_rad: Array, second_rad: Array) -> float:
    """Fisher and Lee's circular correlation, without a mean direction.

    ρ = Σ_{i<j} sin(a_i − a_j) sin(b_i − b_j) / sqrt(Σ_{i<j} sin²(a_i − a_j) · Σ_{i<j} sin²(b_i − b_j)).

    Args:
        first_rad: (n,) radians.
        second_rad: (n,) radians.

    Returns:
        In [−1, 1]; 1 for equal angles up to a constant, −1 for a reversed sense; 0 when one of them does not vary.
    """
    a, b = np.asarray(first_rad, dtype=np.float64), np.asarray(second_rad, dtype=np.float64)
    # The double sums in closed form: Σ_{i<j} sin(a_i − a_j) sin(b_i − b_j) = Σcc·Σss − Σcs·Σsc, and the squares likewise.
    numerator = np.sum(np.cos(a) * np.cos(b)) * np.sum(np.sin(a) * np.sin(b)) - np.sum(np.cos(a) * np.sin(b)) * np.sum(np.sin(a) * np.cos(b))
    spread = [np.sum(np.cos(x) ** 2) * np.sum(np.sin(x) ** 2) - np.sum(np.cos(x) * np.sin(x)) ** 2 for x in (a, b)]
    # A constant angle leaves rounding of order n² ε in place of 0.
    if min(spread) <= 1e-12 * len(a) ** 2:
        return 0.0
    return float(np.clip(numerator / np.sqrt(spread[0] * spread[1]), -1.0, 1.0))


def concentration(difference_rad: Array) -> float:
    """|mean exp(iδ)| in [0, 1]: 1 when all differences agree. Only beside the correlation: a constant predictor has 0.83 at ±60°."""
    return float(np.abs(np.mean(np.exp(1j * np.asarray(difference_rad)))))


def median_angle_error_deg(predicted_rad: Array, truth_rad: Array, symmetry_order: int = 1) -> float:
    """Median |error| in degrees after one offset (the circular mean difference), modulo the object's symmetry.

    Args:
        predicted_rad: (n,) radians, of one class.
        truth_rad: (n,) radians.
        symmetry_order: m: the object looks the same after a turn by 2π/m.
    """
    difference = symmetry_order * (np.asarray(predicted_rad, dtype=np.float64) - np.asarray(truth_rad, dtype=np.float64))
    # A median-like offset: the mean direction, then refined to the circular median of what is left, so that a few flips do not move it.
    centred = np.angle(np.exp(1j * (difference - np.angle(np.mean(np.exp(1j * difference))))))
    left = np.angle(np.exp(1j * (centred - np.median(centred))))
    return float(np.degrees(np.median(np.abs(left))) / symmetry_order)


def centre_in_frame(down_px: Array, right_px: Array, angle_rad: Array, scale: Array) -> Array:
    """Offsets (n,) down and right as vectors (n, 2) in the object's own frame (right, up), turned back by its angle and divided by its scale."""
    up = -np.asarray(down_px, dtype=np.float64)
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack((cos * right_px + sin * up, -sin * right_px + cos * up), axis=-1) / np.asarray(scale)[:, None]


def shift_r2(predicted_px: tuple[Array, Array], truth_px: tuple[Array, Array], angle_rad: Array, scale: Array) -> float:
    """R² of shifts of one class, after subtracting its constant centre in the object's frame.

    A model may draw an object off the centre of its canonical picture; reported shifts then differ from the truth by R(angle)·scale·o with
    one o for the class, which is taken out here (least squares) with the true angle and scale.

    Args:
        predicted_px: (down (n,), right (n,)) as reported.
        truth_px: (down (n,), right (n,)).
        angle_rad: (n,) the true angle.
        scale: (n,) the true scale.

    Returns:
        1 − SS_left/SS_truth, both axes together; <= 1.
    """
    down, right = (np.asarray(p, dtype=np.float64) - np.asarray(t, dtype=np.float64) for p, t in zip(predicted_px, truth_px, strict=True))
    own = centre_in_frame(down, right, angle_rad, scale)
    weight = np.asarray(scale, dtype=np.float64)[:, None] ** 2
    # Residuals in the image are scale · (own − o), turned; turning keeps lengths.
    left = np.sum(weight * (own - np.sum(weight * own, axis=0) / np.sum(weight)) ** 2)
    spread = sum(np.sum((np.asarray(t, dtype=np.float64) - np.mean(t)) ** 2) for t in truth_px)
    return float(1 - left / spread)


def median_shift_error_px(predicted_px: tuple[Array, Array], truth_px: tuple[Array, Array], angle_rad: Array, scale: Array) -> float:
    """Median distance, pixels, of the shifts of one class from the truth, after its constant centre in the object's frame; as in `shift_r2`."""
    down, right = (np.asarray(p, dtype=np.float64) - np.asarray(t, dtype=np.float64) for p, t in zip(predicted_px, truth_px, strict=True))
    own = centre_in_frame(down, right, angle_rad, scale)
    return float(np.median(np.asarray(scale) * np.linalg.norm(own - np.median(own, axis=0), axis=1)))


def scale_r2(predicted: Array, truth: Array) -> float:
    """R² of log scale of one class, after one constant factor (the canonical picture's own size)."""
    log_truth = np.log(np.asarray(truth, dtype=np.float64))
    left = np.log(np.asarray(predicted, dtype=np.float64)) - log_truth
    return float(1 - np.sum((left - left.mean()) ** 2) / np.sum((log_truth - log_truth.mean()) ** 2))


@dataclass(frozen=True)
class PoseTruth:
    """What was drawn: (n,) each; `labels` int64 index the classes, `symmetry_order` holds one order for each class."""

    labels: Array
    angle_rad: Array
    scale: Array
    shift_down_px: Array
    shift_right_px: Array
    symmetry_order: tuple[int, ...]


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class. None: the model has no such latent, or the truth does not vary."""

    label: int
    count: int
    angle_correlation: float | None
    angle_error_deg: float | None
    angle_concentration: float | None
    shift_r2: float | None
    scale_r2: float | None


def pose_figures(predicted: dict[str, Array], truth: PoseTruth) -> tuple[ClassFigures, ...]:
    """Figures per class.

    Args:
        predicted: outputs of `encode` by name: `angle_rad`, `scale`, `shift_down_px`, `shift_right_px`, (n,) each, those that exist.
        truth: the drawn poses.
    """
    return tuple(_one_class(predicted, truth, int(label)) for label in np.unique(truth.labels))


def _one_class(predicted: dict[str, Array], truth: PoseTruth, label: int) -> ClassFigures:
    rows = np.flatnonzero(truth.labels == label)
    mine = {name: np.asarray(values)[rows] for name, values in predicted.items()}
    angle, scale = truth.angle_rad[rows], truth.scale[rows]
    order = truth.symmetry_order[label]
    shifts = (truth.shift_down_px[rows], truth.shift_right_px[rows])
    turned = "angle_rad" in mine and np.ptp(angle) > 0
    moved = "shift_down_px" in mine and np.ptp(shifts[0]) > 0
    sized = "scale" in mine and np.ptp(scale) > 0
    return ClassFigures(
        label=label,
        count=len(rows),
        angle_correlation=fisher_lee_correlation(order * mine["angle_rad"], order * angle) if turned else None,
        angle_error_deg=median_angle_error_deg(mine["angle_rad"], angle, order) if turned else None,
        angle_concentration=concentration(order * (mine["angle_rad"] - angle)) if turned else None,
        shift_r2=shift_r2((mine["shift_down_px"], mine["shift_right_px"]), shifts, angle, scale) if moved else None,
        scale_r2=scale_r2(mine["scale"], scale) if sized else None,
    )
