"""A small mechanism bundle with made-up numbers, written by the real exporter: a position, a film's phase, and an image's principal components."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from dichroic.bundle import TrainingData
from dichroic.bundle.manifest import Calibration, CoverageLevel, IntervalCoverage, Metric
from dichroic.bundle.mechanism_section import MeasuredQuantity
from dichroic.bundle.mechanism_section import Mechanism as Declared
from training.export.mechanism_bundle import MechanismFacts, write_mechanism_bundle
from training.export.mechanism_graphs import Standardisation
from training.export.written import Written
from training.mechanism.encoders import Encoder, identity, one_hot, principal_components
from training.mechanism.fit import Fitted
from training.mechanism.measure import held_out, held_out_arrays
from training.mechanism.posterior import Posterior
from training.mechanism.prepare import Points
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, FactorValues, Mechanism, Structure, Term, TermValues, additive, scaled
from training.recipe_sections import Card

PHASES = ("fresh", "aged", "broken")
SIDE = 6
NOISE_VARIANCE = 0.01


@cache
def toy_arrays(count: int = 48, seed: int = 3) -> dict[str, Array]:
    """`patch` (n, 6, 6) float32, `position` (n, 2) float64 in µm, `phase` (n,) int64, `y` (n,) float64."""
    rng = np.random.default_rng(seed)
    patch = rng.normal(0.5, 0.2, (count, SIDE, SIDE)).astype(np.float32)
    position, phase = rng.random((count, 2)) * 4, rng.integers(0, len(PHASES), count)
    y = 2 + np.sin(position[:, 0]) + 0.5 * phase + 0.1 * rng.standard_normal(count)
    return {"patch": patch, "position": position, "phase": phase, "y": y}


def toy_encoders() -> tuple[Encoder, ...]:
    """In the order of the mechanisms."""
    arrays = toy_arrays()
    return (
        principal_components("patch", arrays["patch"], 2, kind="image", unit="nm", meaning="what surrounds the place"),
        identity("position", arrays["position"].min(axis=0), arrays["position"].max(axis=0), unit="um", meaning="where it was measured"),
        one_hot("phase", PHASES, unit="1", meaning="state of the film"),
    )


def toy_fitted(form: str = "additive", *, outliers: bool = False) -> tuple[Fitted, Standardisation]:
    """A posterior with hyperparameters that nobody fitted; `form` is "additive" or "scaled" (the patch scales the position's function)."""
    arrays, encoders = toy_arrays(), toy_encoders()
    raw = raw_latents(encoders, arrays)
    standardisation = Standardisation.of(raw)
    latents = standardisation(raw)
    mechanisms = (Mechanism("patch", 0, 2), Mechanism("position", 2, 2), Mechanism("phase", 4, 3, "matern52"))
    terms = additive("patch", "position", "phase") if form == "additive" else scaled("patch", "position", "phase")
    structure = Structure(mechanisms, tuple(_values(term, mechanisms) for term in terms), 2.2, _factor(latents) if form == "scaled" else {})
    count = len(latents)
    posterior = Posterior(structure, latents, arrays["y"], np.full(count, NOISE_VARIANCE), np.full(count, 1 / count))
    return Fitted(structure, posterior, NOISE_VARIANCE, Outliers(0.1, 1.0) if outliers else None, 0.0, ()), standardisation


def raw_latents(encoders: tuple[Encoder, ...], arrays: dict[str, Array]) -> Array:
    """Latents (n, D), not standardised, of float32 images."""
    import onnxruntime

    found = []
    for encoder in encoders:
        graph = encoder.graphs["float32" if "" not in encoder.graphs else ""]
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(session.run(["latents"], {encoder.name: arrays[encoder.name].astype(encoder.input.dtype)})[0])
    return np.concatenate(found, axis=1)


def toy_facts(standardisation: Standardisation, *, form: str = "additive", name: str = "toy_mechanism") -> MechanismFacts:
    """What goes with the posterior."""
    arrays = toy_arrays()
    patch, position, phase = toy_encoders()
    low, high = (tuple(float(value) for value in ends) for ends in (arrays["position"].min(axis=0), arrays["position"].max(axis=0)))
    return MechanismFacts(
        name=name,
        card=Card(title="Toy", description="Made up.", limits="All.", published="Nothing.", ours="Everything."),
        mechanisms=(
            Declared(name="patch", kind="image", unit="nm", meaning="what surrounds the place", latent_size=2, encoder=patch.told, kernel="rbf"),
            Declared(
                name="position",
                kind="coordinates",
                unit="um",
                meaning="where it was measured",
                columns=("x", "y"),
                trained_low=low,
                trained_high=high,
                latent_size=2,
                encoder=position.told,
                kernel="rbf",
            ),
            Declared(
                name="phase",
                kind="category",
                unit="1",
                meaning="state of the film",
                categories=PHASES,
                latent_size=3,
                encoder=phase.told,
                kernel="matern52",
            ),
        ),
        encoders=(patch, position, phase),
        standardisation=standardisation,
        form="additive" if form == "additive" else "scaled",
        quantity=MeasuredQuantity(name="coercive voltage", unit="V", meaning="half the loop's width", sd=float(arrays["y"].std())),
        training_data=TrainingData(source="toy_arrays()", licence="MIT", sha256=("0" * 64,)),
        notes="",
        metrics=(Metric(name="rmse", value=0.1, unit="V", split="made up", meaning="made up"),),
        calibration=Calibration(interval_coverage=IntervalCoverage(count=10, split="made up", levels=(CoverageLevel(probability=0.9, covered=0.9),))),
        timings_s={},
    )


@dataclass(frozen=True)
class Made:
    """A toy, what was said about it, and its bundle."""

    fitted: Fitted
    facts: MechanismFacts
    written: Written


def make_toy_mechanism(bundles: Path, form: str = "additive", *, outliers: bool = False, name: str = "toy_mechanism") -> Made:
    """Writes `bundles/<name>/1`, with what a report draws of fresh points."""
    fitted, standardisation = toy_fitted(form, outliers=outliers)
    fresh = toy_arrays(60, seed=4)
    found = held_out(fitted, standardisation(raw_latents(toy_encoders(), fresh)), fresh["y"])
    drawn = held_out_arrays(found, [values.term for values in fitted.structure.terms], Points(fresh), Points(toy_arrays()))
    facts = replace(toy_facts(standardisation, form=form, name=name), held_out=drawn)
    return Made(fitted, facts, write_mechanism_bundle(bundles, fitted, facts))


def write_toy_mechanism(bundles: Path, form: str = "additive", *, outliers: bool = False, name: str = "toy_mechanism") -> Written:
    """Writes `bundles/<name>/1`."""
    return make_toy_mechanism(bundles, form, outliers=outliers, name=name).written


def _values(term: Term, mechanisms: tuple[Mechanism, ...]) -> TermValues:
    sizes = {mechanism.name: mechanism.size for mechanism in mechanisms}
    variance = {"patch": 0.3, "position": 1.0, "phase": 0.5}[term.name]
    return TermValues(term, variance, {name: np.linspace(0.8, 1.4, sizes[name]) for name in term.mechanisms})


def _factor(latents: Array) -> dict[str, FactorValues]:
    centres = latents[:5, :2]
    gram = np.exp(-0.5 * np.square(centres[:, None] - centres[None]).sum(axis=2)) + 1e-8 * np.eye(5)
    whitening = np.linalg.inv(np.linalg.cholesky(gram))
    return {"patch": FactorValues(centres, np.ones(2), whitening, np.array([0.3, -0.2, 0.1, 0.0, 0.2]), 1.0, 0.01 * np.eye(5), 0.5)}
