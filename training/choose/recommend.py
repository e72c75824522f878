"""Which candidate to take: the simplest whose evidence is within one standard error, paired over the images, of the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.choose.candidates import Candidate
from training.choose.scores import PoseErrors, Score
from training.data.dataset import Array
from training.errors import InputError


@dataclass(frozen=True)
class Row:
    """A candidate over all its seeds.

    Attributes:
        candidate: which.
        negative_elbo: mean over validation images and seeds, nats per image; None when a fit failed.
        standard_error: of that mean, over images and, of several seeds, over seeds.
        worse_by: mean paired difference to the best candidate, nats per image, >= 0; 0 for the best itself.
        worse_by_standard_error: of that difference; 0 for the best itself.
        pose: errors, mean over seeds.
        classes_used: mean over seeds.
        accuracy: mean over seeds.
        failure: why a fit failed; empty when none did.
    """

    candidate: Candidate
    negative_elbo: float | None
    standard_error: float | None
    worse_by: float | None
    worse_by_standard_error: float | None
    pose: PoseErrors
    classes_used: float | None
    accuracy: float | None
    failure: str = ""

    @property
    def is_as_good(self) -> bool:
        """Within one standard error of the best, or the best."""
        return self.worse_by is not None and self.worse_by_standard_error is not None and self.worse_by <= self.worse_by_standard_error


@dataclass(frozen=True)
class Recommendation:
    """The candidate to take and the reason, one sentence."""

    candidate: Candidate
    sentence: str


def tabulate(scores: Sequence[Score], independent: float) -> tuple[Row, ...]:
    """One row a candidate, the best evidence first, failed ones last.

    Args:
        scores: of all candidates, each with the same seeds and the same validation images.
        independent: share of the validation images that counts in a standard error, in (0, 1]: patches that overlap say the same thing twice.

    Raises:
        InputError: ALL_FAILED.
    """
    groups: dict[Candidate, list[Score]] = {}
    for score in scores:
        groups.setdefault(score.candidate, []).append(score)
    # (seeds, images) of each candidate whose fits all ended well
    evidence = {each: np.array([s.negative_elbo for s in found]) for each, found in groups.items() if not any(s.failure for s in found)}
    if not evidence:
        raise InputError("ALL_FAILED", f"No candidate could be fitted; the first says: {scores[0].failure}")
    best = min(evidence, key=lambda each: (float(evidence[each].mean()), each.simplicity))
    rows = []
    for candidate, found in groups.items():
        if candidate not in evidence:
            rows.append(Row(candidate, None, None, None, None, PoseErrors(), None, None, next(s.failure for s in found if s.failure)))
            continue
        values, apart = evidence[candidate], evidence[candidate] - evidence[best]
        rows.append(
            Row(
                candidate,
                float(values.mean()),
                _standard_error(values, independent),
                float(apart.mean()),
                _standard_error(apart, independent),
                _mean_pose([s.pose for s in found]),
                _mean([s.classes_used for s in found]),
                _mean([s.accuracy for s in found]),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.negative_elbo is None, row.negative_elbo or 0.0, row.candidate.simplicity)))


def recommend(rows: Sequence[Row]) -> Recommendation:
    """The simplest row within one standard error of the best; between equally simple ones the better evidence.

    Args:
        rows: as `tabulate` gives them, the best first.
    """
    best = rows[0]
    equals = [row for row in rows if row.is_as_good]
    taken = min(equals, key=lambda row: (*row.candidate.simplicity, row.negative_elbo or 0.0))
    evidence = f"−ELBO {best.negative_elbo:.2f} ± {best.standard_error:.2f} nats per validation image"
    if taken is best:
        others = "no simpler candidate comes within one standard error of it" if len(rows) > 1 else "it is the only one"
        return Recommendation(taken.candidate, f"Take {taken.candidate.label}: it has the best evidence ({evidence}), and {others}.")
    apart = f"{taken.worse_by:.2f} ± {taken.worse_by_standard_error:.2f} nats"
    sizes = " against ".join(_size(row.candidate) for row in (taken, best))
    return Recommendation(
        taken.candidate,
        f"Take {taken.candidate.label}: it is worse than the best, {best.candidate.label} ({evidence}), by {apart} per image, "
        f"within one standard error, and it is simpler ({sizes}).",
    )


def _size(candidate: Candidate) -> str:
    told = f"{candidate.latents} {'latent' if candidate.latents == 1 else 'latents'}"
    return told + (f" and {candidate.classes} classes" if candidate.classes else "")


def _standard_error(values: Array, independent: float) -> float:
    """Of the mean over (seeds, images): over the images, averaged over seeds first, and over the seeds, added in squares."""
    seeds, images = values.shape
    of_images = float(np.var(values.mean(axis=0), ddof=1)) / max(2.0, independent * images) if images > 1 else 0.0
    of_seeds = float(np.var(values.mean(axis=1), ddof=1)) / seeds if seeds > 1 else 0.0
    return math.sqrt(of_images + of_seeds)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean_pose(poses: Sequence[PoseErrors]) -> PoseErrors:
    return PoseErrors(poses[0].by, _mean([p.angle_deg for p in poses]), _mean([p.shift_px for p in poses]), _mean([p.scale_percent for p in poses]))
