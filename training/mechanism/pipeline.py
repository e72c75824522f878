"""A mechanism recipe, from data to bundle."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.bundle import TrainingData, versions_in
from dichroic.bundle.manifest import canonical_json
from dichroic.bundle.mechanism_section import MeasuredQuantity
from dichroic.bundle.mechanism_section import Mechanism as Declared
from training.data.places import by_group
from training.errors import InputError
from training.export.mechanism_bundle import MechanismFacts, write_mechanism_bundle
from training.export.mechanism_graphs import Standardisation
from training.export.sessions import GraphRunner
from training.export.written import Written
from training.fit_request import FitRequest
from training.latent.pipeline import Interrupted, Request, check_writable, fit_latent, settle_torch
from training.mechanism.beside import baseline_metrics
from training.mechanism.checkpoint import FitFile
from training.mechanism.encoders import Encoder, from_bundle, identity, moments, one_hot, principal_components
from training.mechanism.fit import Fitted, fit
from training.mechanism.fit_inducing import FittedInducing, fit_inducing
from training.mechanism.measure import NOMINAL_90, calibration_of, covered, held_out, held_out_arrays, metrics_of
from training.mechanism.prepare import Points, PreparedPoints, prepare_points
from training.mechanism.structure import RESIDUAL, Array, Mechanism, Term, additive, mixed, offset_scaled, product, scaled
from training.recipe import read_recipe
from training.recipe_mechanism import MechanismRecipe, MechanismSpec, Structured

# Points with an exact posterior; beyond, inducing points stand for them (decision 0013).
MOST_EXACT = 5000
_ENCODED_AT_ONCE = 256
_FEWEST_VALIDATION = 5


@dataclass(frozen=True)
class MechanismRequest(FitRequest[MechanismRecipe]):
    """Of a mechanism recipe.

    Attributes:
        folder: of the recipe's file, from which its paths count.
    """

    folder: Path = field(kw_only=True)


def fit_mechanism(request: MechanismRequest) -> Written:
    """Fits encoders and Gaussian process, measures, exports, checks and writes.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the checkpoint lies.
    """
    recipe = request.recipe
    check_writable(request.out / recipe.name)
    settle_torch(recipe.fit.threads)
    began = time.monotonic()
    prepared = prepare_points(recipe, request.data, request.channel, request.licence)
    drawn = time.monotonic()
    store = request.out / ".checkpoints" / f"{recipe.name}-{_fingerprint(request, prepared)}"
    try:
        encoders = tuple(_encoder(each, prepared.train, request, store) for each in recipe.mechanisms)
        encoded = time.monotonic()
        raw = raw_latents(encoders, prepared.train)
        standardisation = Standardisation.of(raw)
        file = FitFile(store / "fit.safetensors")
        if not request.resume:
            file.clear()
        latents, mechanisms, validation = standardisation(raw), gp_mechanisms(recipe, encoders), _validation(recipe, prepared)
        fitted = _fit(recipe, mechanisms, latents, prepared.train.y, validation, file)
    except Interrupted:
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(store) from error
    trained = time.monotonic()
    new = standardisation(raw_latents(encoders, prepared.held_out))
    found = held_out(fitted, new, prepared.held_out.y)
    unit = recipe.quantity.unit
    metrics = metrics_of(found, fitted, prepared.held_out, prepared.train, split=prepared.split, unit=unit, seed=recipe.seed)
    metrics += baseline_metrics(recipe, prepared, mechanisms, (latents, new), validation)
    low, high = NOMINAL_90
    share = covered(found.rank, 0.9)
    if not low <= share <= high:
        print(f"warning: the 90 % interval holds {share:.1%} of the held-out points, not {low:.0%} to {high:.0%}; the card says so.", file=sys.stderr)
    terms = [values.term for values in fitted.structure.terms]
    facts = MechanismFacts(
        name=recipe.name,
        card=recipe.card,
        mechanisms=tuple(_declared(spec, encoder, prepared.train) for spec, encoder in zip(recipe.mechanisms, encoders, strict=True)),
        encoders=encoders,
        standardisation=standardisation,
        form=recipe.structure.form,
        quantity=MeasuredQuantity(name=recipe.quantity.name, unit=unit, meaning=recipe.quantity.meaning, sd=float(np.std(prepared.train.y))),
        training_data=TrainingData(source=prepared.source, licence=prepared.licence, sha256=prepared.sha256),
        notes=prepared.notes,
        metrics=metrics,
        calibration=calibration_of(found, prepared.split),
        held_out=held_out_arrays(found, terms, prepared.held_out, prepared.train),
        timings_s={"data": drawn - began, "encoders": encoded - drawn, "fit": trained - encoded, "measure": time.monotonic() - trained},
    )
    try:
        written = write_mechanism_bundle(request.out, fitted, facts)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"The bundle cannot be written to {request.out} ({error.strerror}); mend that and run again.") from error
    shutil.rmtree(store, ignore_errors=True)
    return written


def _fit(  # noqa: PLR0917 - one order, one caller
    recipe: MechanismRecipe, mechanisms: tuple[Mechanism, ...], latents: Array, y: Array, validation: Array, file: FitFile
) -> Fitted | FittedInducing:
    """Exact up to MOST_EXACT points, which takes minutes; by inducing points beyond, with a checkpoint."""
    terms, wanted = terms_of(recipe.structure, [each.name for each in recipe.mechanisms]), recipe.fit
    how: dict[str, Any] = {"seed": recipe.seed, "validation": validation, "starts": wanted.starts, "outliers": wanted.outliers}
    if len(latents) > MOST_EXACT:
        return fit_inducing(mechanisms, terms, latents, y, inducing=wanted.inducing, file=file, **how)
    return fit(mechanisms, terms, latents, y, **how)


def terms_of(structured: Structured, names: list[str]) -> tuple[Term, ...]:
    """The terms of a declared form over these mechanisms."""
    if structured.factor is not None and structured.of is not None:
        rest = [name for name in names if name not in (structured.factor, structured.of)]
        terms = (scaled if structured.form == "scaled" else offset_scaled)(structured.factor, structured.of, *rest)
        return (*terms, Term(RESIDUAL, tuple(names))) if structured.residual else terms
    return {"additive": additive, "product": product, "mixed": mixed}[structured.form](*names)


def gp_mechanisms(recipe: MechanismRecipe, encoders: tuple[Encoder, ...]) -> tuple[Mechanism, ...]:
    """The mechanisms as columns of z."""
    found, start = [], 0
    for spec, encoder in zip(recipe.mechanisms, encoders, strict=True):
        found.append(Mechanism(spec.name, start, encoder.size, spec.kernel, shortest=spec.least_lengthscale))
        start += encoder.size
    return tuple(found)


def raw_latents(encoders: tuple[Encoder, ...], points: Points) -> Array:
    """(n, D), not standardised, by the graphs that will be served."""
    return np.concatenate([_encoded(encoder, points.arrays[encoder.name]) for encoder in encoders], axis=1)


def _encoded(encoder: Encoder, values: Array) -> Array:
    """(n, d) of one mechanism; images by the graph for their dtype."""
    runner = GraphRunner(encoder.graphs["" if "" in encoder.graphs else values.dtype.name].SerializeToString(), None, ["latents"])
    starts = range(0, len(values), _ENCODED_AT_ONCE)
    return np.concatenate([runner.run({encoder.name: np.ascontiguousarray(values[at : at + _ENCODED_AT_ONCE])})["latents"] for at in starts])


def _encoder(spec: MechanismSpec, train: Points, request: MechanismRequest, store: Path) -> Encoder:
    values = train.arrays[spec.name]
    if spec.encoding == "identity":
        return identity(spec.name, values.min(axis=0), values.max(axis=0), unit=spec.unit, meaning=spec.meaning)
    if spec.encoding == "one-hot":
        return one_hot(spec.name, spec.categories, unit=spec.unit, meaning=spec.meaning)
    if spec.encoding == "pca":
        return principal_components(spec.name, values, spec.components, kind=spec.kind, unit=spec.unit, meaning=spec.meaning)
    if spec.encoding == "moments":
        return moments(spec.name, values, unit=spec.unit, meaning=spec.meaning)
    assert spec.path is not None  # noqa: S101 - the recipe refuses others
    path = request.folder / spec.path
    folder = path if spec.encoding == "bundle" else _fitted_encoder(path, request, store)
    made = from_bundle(spec.name, folder, spec.latents, kind=spec.kind, meaning=spec.meaning)
    if values.shape[1:] != made.input.row_shape:
        raise InputError(
            "WRONG_SHAPE",
            f"{spec.name} has rows of {values.shape[1:]}; its encoder {folder.parent.name} takes {made.input.row_shape}. Cut or resize them.",
        )
    return made


def _fitted_encoder(path: Path, request: MechanismRequest, store: Path) -> Path:
    """The folder of the latent bundle that a recipe gives; one that an interrupted run has finished is not fitted again."""
    recipe = read_recipe(path)
    home = store / "encoders"
    if not versions_in(home / recipe.name):
        print(f"fitting the encoder {recipe.name} ...", file=sys.stderr)
        # The seed of this recipe, so that a fit with another seed is another one throughout.
        fit_latent(Request(recipe.model_copy(update={"seed": request.recipe.seed}), (), None, home, request.device, request.resume))
    return home / recipe.name / str(versions_in(home / recipe.name)[-1])


def _declared(spec: MechanismSpec, encoder: Encoder, train: Points) -> Declared:
    ends: tuple[tuple[float, ...], tuple[float, ...]] = (), ()
    if spec.columns:
        values = train.arrays[spec.name]
        ends = tuple(values.min(axis=0).tolist()), tuple(values.max(axis=0).tolist())
    return Declared(
        name=spec.name,
        kind=spec.kind,
        unit=spec.unit,
        meaning=spec.meaning,
        columns=spec.columns,
        categories=spec.categories,
        trained_low=ends[0],
        trained_high=ends[1],
        latent_size=encoder.size,
        encoder=encoder.told,
        kernel=spec.kernel,
    )


def _validation(recipe: MechanismRecipe, prepared: PreparedPoints) -> Array:
    """(N,) bool: whole groups where there are some, as the held-out points are."""
    rng, fraction, count = np.random.default_rng(recipe.seed), recipe.fit.validation_fraction, len(prepared.train)
    if prepared.group is not None and len(np.unique(prepared.group)) > 2:
        return by_group(prepared.group, fraction, rng)
    return rng.permutation(count) < max(_FEWEST_VALIDATION, round(fraction * count))


def _fingerprint(request: MechanismRequest, prepared: PreparedPoints) -> str:
    """Of all that an encoder is fitted by, its own recipe's contents included: another encoder has another folder."""
    recipes = [read_recipe(request.folder / each.path) for each in request.recipe.mechanisms if each.encoding == "recipe" and each.path is not None]
    told = [each.model_dump(mode="json") for each in (request.recipe, *recipes)]
    facts = {"recipes": told, "data": prepared.sha256}
    return hashlib.sha256(canonical_json(facts).encode("utf-8")).hexdigest()[:12]
