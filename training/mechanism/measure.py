"""A fitted mechanism model on held-out points: errors, densities, calibration, parts against their truth, leakage, and baselines beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from dichroic.bundle.manifest import Calibration, CoverageLevel, IntervalCoverage, Metric
from training.mechanism import figures
from training.mechanism.fit import Fitted
from training.mechanism.fit_inducing import FittedInducing
from training.mechanism.leakage import leakage
from training.mechanism.posterior import Prediction
from training.mechanism.prepare import Points
from training.mechanism.structure import Array, Structure, Term

LEVELS = (0.5, 0.8, 0.9, 0.95)
# Outside it the fit command warns: an interval of 90 % that holds less, or more, is not what it says.
NOMINAL_90 = (0.85, 0.95)
_MOST_HELD_OUT = 500


@dataclass(frozen=True)
class HeldOut:
    """What the model says of points it never saw.

    Attributes:
        told: parts and total.
        y: (n,) as measured.
        rank: (n,) probability that a measurement is no more than y, by the model, noise and outliers included: uniform where it is calibrated.
        log_density: (n,) of y, nats.
        latents: (n, D) of the points.
    """

    told: Prediction
    y: Array
    rank: Array
    log_density: Array
    latents: Array


def held_out(fitted: Fitted | FittedInducing, latents: Array, y: Array) -> HeldOut:
    """Predicts points with the latents (n, D) and the measured y (n,)."""
    told = fitted.posterior.predict(latents)
    if fitted.outliers is None:
        of_y = norm(told.total_mean, np.sqrt(told.total_variance + fitted.noise_variance))
        rank, density = of_y.cdf(y), of_y.logpdf(y)
    else:
        asked = told.total_mean, told.total_variance, y, fitted.noise_variance
        rank, density = fitted.outliers.rank(*asked), fitted.outliers.log_density(*asked)
    return HeldOut(told, y, rank, density, latents)


def covered(rank: Array, probability: float) -> float:
    """The share of points (n,) inside the central interval that should hold `probability` of them."""
    return float(np.mean(np.abs(rank - 0.5) <= probability / 2))


def calibration_of(found: HeldOut, split: str) -> Calibration:
    """How often central intervals held y."""
    levels = tuple(CoverageLevel(probability=level, covered=covered(found.rank, level)) for level in LEVELS)
    return Calibration(interval_coverage=IntervalCoverage(count=len(found.y), split=split, levels=levels))


def metrics_of(
    found: HeldOut, fitted: Fitted | FittedInducing, points: Points, reference: Points, *, split: str, unit: str, seed: int
) -> tuple[Metric, ...]:
    """The manifest's figures.

    Args:
        found: of the held-out points.
        fitted: the model.
        points: held out; `truth_…` where the data is drawn.
        reference: the training points, whose means the gauge takes.
        split: the held-out points, in words.
        unit: of y.
        seed: of the forests that measure leakage.
    """
    told, y = found.told, found.y
    observed = told.total_variance + fitted.noise_variance
    rows = [
        ("rmse_y", figures.rmse(told.total_mean, y), unit, "root mean square error of y, its noise included"),
        ("r2_y", figures.r_squared(told.total_mean, y), "1", "1 - the error's share of y's variance, noise included"),
        ("nlpd", -float(np.mean(found.log_density)), "nat", f"mean negative log predictive density of y, with y in {unit}"),
        ("crps", figures.crps(told.total_mean, observed, y), unit, "continuous ranked probability score of y, of a Gaussian"),
        *(
            (f"coverage_{level:.0%}".replace("%", ""), covered(found.rank, level), "1", f"share of y in its central {level:.0%} interval")
            for level in LEVELS
        ),
        ("noise_sd", float(np.sqrt(fitted.noise_variance)), unit, "standard deviation of a measurement's noise, as fitted"),
    ]
    if "truth_f" in points.arrays:
        truth = points.arrays["truth_f"]
        rows.append(("rmse_f", figures.rmse(told.total_mean, truth) / float(np.std(truth)), "1", "root mean square error of f, over sd(f)"))
        rows.append(("coverage_90_f", figures.coverage(told.total_mean, told.total_variance, truth, 0.9), "1", "share of f in its own 90% interval"))
    terms = [values.term for values in fitted.posterior.structure.terms]
    for name, part, truth in parts_beside_truth(told, terms, points, reference):
        rows.append((f"r2_{name}", figures.r_squared(part, truth), "1", f"R² of the part of {name} against its truth, in the model's gauge"))
    rows.extend(
        (f"leakage_{other}_to_{part_name}", value, "1", f"R² that the latents of {other} tell of the part of {part_name}")
        for part_name, other, value in _leaks(found, fitted.posterior.structure, seed)
    )
    return tuple(Metric(name=name, value=value, unit=each, split=split, meaning=meaning) for name, value, each, meaning in rows)


def held_out_arrays(found: HeldOut, terms: Sequence[Term], points: Points, reference: Points) -> dict[str, Array]:
    """What a report draws, of up to 500 held-out points.

    `y`, `rank`, `total_mean`, `total_variance` (n,), `part_mean`, `part_variance`, `factor` (n, P), `latents` (n, D); each mechanism that is no image
    and no curve as `input_<name>`; what is known of parts as `truth_<name>`, in the model's gauge; and `truth_f`.
    """
    kept = slice(0, _MOST_HELD_OUT)
    told = found.told
    arrays = {
        "y": found.y,
        "rank": found.rank,
        "total_mean": told.total_mean,
        "total_variance": told.total_variance,
        "part_mean": told.mean,
        "part_variance": np.einsum("npp->np", told.covariance),
        "factor": told.factor,
        "latents": found.latents,
    }
    for name in {name for term in terms for name in (*term.mechanisms, *term.factors)}:
        values = points.arrays[name]
        if values.ndim == 1 or (values.ndim == 2 and values.dtype == np.float64):
            arrays[f"input_{name}"] = values
    arrays |= {f"truth_{name}": truth for name, _, truth in parts_beside_truth(told, terms, points, reference)}
    if "truth_f" in points.arrays:
        arrays["truth_f"] = points.arrays["truth_f"]
    return {name: np.ascontiguousarray(values[kept]) for name, values in sorted(arrays.items())}


def parts_beside_truth(told: Prediction, terms: Sequence[Term], points: Points, reference: Points) -> list[tuple[str, Array, Array]]:
    """Name, told part (n,) and its truth (n,), in the model's gauge, of each part whose truth the data has."""
    found = []
    for index, term in enumerate(terms, start=1):
        truth_name = f"truth_{term.name}"
        if truth_name not in points.arrays:
            continue
        if any(f"truth_{factor}" not in points.arrays for factor in term.factors):
            continue  # what the factor's gauge is, is not known
        truth, mean = points.arrays[truth_name], float(np.mean(reference.arrays[truth_name]))
        root = 1.0
        for factor in term.factors:
            own = reference.arrays[f"truth_{factor}"]
            root *= float(np.sqrt(np.mean(own**2))) * (1.0 if np.mean(own) >= 0 else -1.0)
            found.append((factor, told.factor[:, index], points.arrays[f"truth_{factor}"] / root))
        # A centred part is told less its mean; a function that a factor multiplies, times the factor's root mean square.
        found.append((term.name, told.mean[:, index], truth - mean if term.centred else truth * root))
    return found


def _leaks(found: HeldOut, structure: Structure, seed: int) -> list[tuple[str, str, float]]:
    """Of each part of one mechanism, what the other mechanisms' latents tell of it.

    Latents, not pixels: a forest finds so little in turned pictures that it would call a leak of a tenth none.
    """
    leaks = []
    for index, values in enumerate(structure.terms, start=1):
        if len(values.term.mechanisms) > 1:
            continue
        others = [each for each in structure.mechanisms if each.name not in values.term.mechanisms]
        part = found.told.mean[:, index]
        leaks += [(values.term.name, other.name, leakage(part, other.of(found.latents), seed=seed)) for other in others]
    return leaks
