"""Puts a mechanism model's bundle together, checks its graphs against the float64 reference, and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from dichroic.bundle import README_NAME, MechanismSection, Metric, TrainingData
from dichroic.bundle.arrays import pack
from dichroic.bundle.files import GOLDEN_NAME, POSTERIOR_NAME, WEIGHTS_NAME
from dichroic.bundle.manifest import Calibration
from dichroic.bundle.mechanism_section import Form, MeasuredQuantity, Mechanism, Noise, Part, PartKind, Truncation
from training.export.mechanism_card import mechanism_card
from training.export.mechanism_golden import golden_answers
from training.export.mechanism_graphs import Standardisation, dtypes_of, encode_graph, joined
from training.export.mechanism_parity import check_mechanism_parity
from training.export.mechanism_specs import signatures
from training.export.weights import share_weights
from training.export.written import Written, write
from training.mechanism.encoders import Encoder
from training.mechanism.export_graph import posterior_onnx
from training.mechanism.fit import Fitted
from training.mechanism.fit_inducing import FittedInducing
from training.mechanism.graph import posterior_arrays
from training.mechanism.inducing import InducingPosterior
from training.mechanism.posterior import Posterior
from training.mechanism.side_graphs import features_onnx, rows_onnx
from training.mechanism.structure import CONSTANT, INTERACTION, RESIDUAL, Term
from training.mechanism.truncate import LowRank, low_rank
from training.recipe_sections import Card

Array = np.ndarray[Any, np.dtype[Any]]

_PACKAGES = ("gpytorch", "numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "scipy", "torch")
HELD_OUT_NAME = "held_out.safetensors"
GAUGE = (
    "Means of parts are taken over the training points, frozen with the model: a centred part is told less its mean, which the constant holds. "
    "A factor is told with E[b²] = 1 and E[b] > 0 over the same points, and what it multiplies is scaled accordingly. "
    "An interaction, and the function of an offset-scaled form, have the mean zero over each of their mechanisms' training latents."
)


@dataclass(frozen=True)
class MechanismFacts:
    """What the manifest says beside what can be read off the fit.

    Attributes:
        name: the bundle's name.
        card: the recipe's texts.
        mechanisms: as the manifest names them, in the order of `encoders`.
        encoders: of the mechanisms.
        standardisation: of all their latents.
        form: the declared form.
        quantity: what y is.
        training_data: source, licence and hashes.
        notes: about the data, for the card; may be empty.
        metrics: figures on held-out data.
        calibration: with `interval_coverage`.
        timings_s: how long each step took; no part of the digest.
        held_out: what a report draws of held-out points, by `measure.held_out_arrays`; None: the bundle has no held_out.safetensors.
    """

    name: str
    card: Card
    mechanisms: tuple[Mechanism, ...]
    encoders: tuple[Encoder, ...]
    standardisation: Standardisation
    form: Form
    quantity: MeasuredQuantity
    training_data: TrainingData
    notes: str
    metrics: tuple[Metric, ...]
    calibration: Calibration
    timings_s: dict[str, float]
    held_out: dict[str, Array] | None = None


def write_mechanism_bundle(bundles: Path, fitted: Fitted | FittedInducing, facts: MechanismFacts) -> Written:
    """Exports the graphs, checks them against the posterior, and writes `bundles/<name>/<version>/`.

    Raises:
        ParityError: a graph disagrees with the posterior; nothing is written.
        OSError: the folder cannot be written.
    """
    posterior = fitted.posterior
    truncated = low_rank(posterior) if isinstance(posterior, Posterior) else None
    section = mechanism_section(fitted, facts, truncated)
    declared = signatures(section, facts.encoders, len(posterior.latents), facts.quantity.unit)
    graphs, weights = export_graphs(posterior, facts, truncated)
    fixed = posterior_arrays(posterior, truncated)
    parity = check_mechanism_parity(posterior, truncated, facts.encoders, declared, graphs, weights, fixed, facts.quantity.sd)
    files = {declared[name].graph: data for name, data in graphs.items()}
    files[WEIGHTS_NAME] = weights
    files[POSTERIOR_NAME] = pack(stored_posterior(posterior))
    scales = zip(posterior.structure.terms, posterior.factor_scales, strict=True)
    prior = sum(values.variance * float(scale) ** 2 for values, scale in scales)
    files[GOLDEN_NAME] = golden_answers(facts.encoders, declared, graphs, weights, fixed, sd=facts.quantity.sd, prior=prior)
    files[README_NAME] = mechanism_card(facts.card, facts.name, section, facts.training_data, facts.notes, facts.metrics, facts.calibration).encode(
        "utf-8"
    )
    if facts.held_out is not None:
        files[HELD_OUT_NAME] = pack(facts.held_out)
    return write(
        bundles,
        files,
        parity,
        kind="mechanism",
        name=facts.name,
        packages=_PACKAGES,
        timings_s=facts.timings_s,
        signatures=declared,
        metrics=facts.metrics,
        calibration=facts.calibration,
        training_data=facts.training_data,
        mechanism=section,
    )


def stored_posterior(posterior: Posterior | InducingPosterior) -> dict[str, Array]:
    """The contents of posterior.safetensors, float64: what a server makes the graph's arrays from."""
    if isinstance(posterior, InducingPosterior):
        return {"points": posterior.latents, "inverse": posterior.inverse, "alpha": posterior.alpha, "reference": posterior.reference}
    return {
        "points": posterior.latents,
        "residual": posterior.y - posterior.structure.mean,
        "noise_variance": posterior.noise_variance,
        "reference": posterior.reference,
    }


def export_graphs(posterior: Posterior | InducingPosterior, facts: MechanismFacts, truncated: LowRank | None) -> tuple[dict[str, bytes], bytes]:
    """The bytes of every signature's graph, and of the weights they share."""
    # Of an exact posterior the root is a triangle, which takes half the products.
    behind = onnx.load_from_string(posterior_onnx(posterior, truncated=truncated is not None or isinstance(posterior, InducingPosterior)))
    graphs = {"rows": rows_onnx(posterior), "features": features_onnx(posterior)}
    for dtype in dtypes_of(facts.encoders):
        encode = encode_graph(facts.encoders, facts.standardisation, dtype)
        graphs[f"encode.{dtype}"] = encode
        graphs[f"predict.{dtype}"] = joined(encode, behind)
    named: dict[str, Array] = {}
    for encoder in facts.encoders:
        named |= encoder.weights
    return share_weights(graphs, named)


def mechanism_section(fitted: Fitted | FittedInducing, facts: MechanismFacts, truncated: LowRank | None) -> MechanismSection:
    """The manifest's section about the model itself."""
    noise = Noise(variance=fitted.noise_variance)
    if fitted.outliers is not None:
        noise = Noise(variance=fitted.noise_variance, outlier_share=fitted.outliers.share, outlier_variance=fitted.outliers.variance)
    terms = [values.term for values in fitted.posterior.structure.terms]
    return MechanismSection(
        mechanisms=facts.mechanisms,
        quantity=facts.quantity,
        form=facts.form,
        parts=(Part(name=CONSTANT, kind="constant"), *(_part(term) for term in terms)),
        gauge=GAUGE,
        noise=noise,
        posterior="inducing" if isinstance(fitted.posterior, InducingPosterior) else "exact",
        points=len(fitted.posterior.latents),
        truncation=None if truncated is None else Truncation(rank=truncated.rank, bound=truncated.bound),
    )


def _part(term: Term) -> Part:
    kind: PartKind = "interaction" if term.name == INTERACTION else "residual" if term.name == RESIDUAL else "mechanism"
    return Part(name=term.name, kind=kind, mechanisms=term.mechanisms, factors=term.factors, centred=term.centred)
