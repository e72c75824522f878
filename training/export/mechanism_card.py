"""The README.md of a mechanism bundle: what the model is and what it is not, its figures, written from the manifest's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dichroic.bundle import MechanismSection, Metric, TrainingData
from dichroic.bundle.manifest import Calibration
from dichroic.bundle.mechanism_section import Mechanism
from training.export.model_card import data_section, framed, metrics_table
from training.recipe_sections import Card

_FORMS = {
    "additive": "a sum of one function of each mechanism",
    "product": "one function of all mechanisms together",
    "mixed": "a sum of one function of each mechanism and one of all",
    "scaled": "a function of one mechanism multiplied by a factor that another sets, and a function of each other mechanism",
    "offset_scaled": "a function of one mechanism, its factor on another mechanism's function, and a function of each other mechanism",
}

_REST = ", and a function of all mechanisms together that takes what these leave"


def mechanism_card(  # noqa: PLR0917 - one order, one caller
    card: Card,
    name: str,
    section: MechanismSection,
    training_data: TrainingData,
    notes: str,
    metrics: Sequence[Metric],
    calibration: Calibration,
) -> str:
    """Markdown. Holds no date, version or timing: those are no part of what a bundle answers."""
    quantity = section.quantity
    rest = _REST if any(part.kind == "residual" for part in section.parts) else ""
    use = [
        f"- Model `{name}` tells {quantity.name} ({quantity.unit}): {quantity.meaning}.",
        f"- Form: {_FORMS[section.form]}{rest}. Parts: {', '.join(part.name for part in section.parts)}.",
        *(f"- {_mechanism(each)}" for each in section.mechanisms),
        f"- Gauge: {section.gauge}",
    ]
    return framed(
        card,
        use="\n".join(use),
        data=data_section(training_data, notes),
        measured_on="points",
        figures=metrics_table(metrics),
        calibration=_calibration(calibration, section),
    )


def _mechanism(mechanism: Mechanism) -> str:
    told = f"Mechanism `{mechanism.name}`, {mechanism.kind} in {mechanism.unit}: {mechanism.meaning}."
    if mechanism.columns:
        columns = zip(mechanism.columns, mechanism.trained_low, mechanism.trained_high, strict=True)
        told += " Trained range: " + ", ".join(f"{column} {low:.4g} to {high:.4g}" for column, low, high in columns) + "."
    if mechanism.categories:
        told += f" Categories, from 0: {', '.join(mechanism.categories)}."
    kernel = {"rbf": "RBF", "matern52": "Matérn-5/2"}[mechanism.kernel]
    return f"{told} Encoder: {mechanism.encoder}; {mechanism.latent_size} latents under a kernel of the family {kernel}."


def _calibration(calibration: Calibration, section: MechanismSection) -> str:
    coverage = calibration.interval_coverage
    assert coverage is not None  # noqa: S101 - the manifest refuses such a bundle
    levels = ", ".join(f"{level.probability:.0%}: {level.covered:.1%}" for level in coverage.levels)
    told = f"Of {coverage.count} points ({coverage.split}), y lay inside its central interval, noise included: {levels}."
    noise = section.noise
    told += f" The noise of a measurement has the standard deviation {noise.variance**0.5:.3g} {section.quantity.unit}"
    if noise.outlier_variance is not None:
        told += f"; a share of {noise.outlier_share:.1%} is outliers, of {noise.outlier_variance**0.5:.3g} {section.quantity.unit}"
    if section.truncation is not None:
        told += f". Variances are told in rank {section.truncation.rank} of {section.points}, within {section.truncation.bound:.1e} of the prior's"
    return told + "."
