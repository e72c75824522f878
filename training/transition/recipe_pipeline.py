"""A transition recipe, from data to bundle."""

from __future__ import annotations

import copy
import hashlib
import shutil
import time

import torch

from dichroic.bundle import TrainingData
from dichroic.bundle.manifest import canonical_json
from training.errors import InputError
from training.export.transition_bundle import TransitionFacts, write_transition_bundle
from training.export.written import Written
from training.fit_request import FitRequest
from training.latent.pipeline import Interrupted, check_writable, settle_torch
from training.recipe_transition import TransitionRecipe
from training.transition.figures import Served, held_out_figures
from training.transition.prepare import PreparedTransitions, prepare_transitions
from training.transition.stages import Stages, fit_in_stages


class TransitionRequest(FitRequest[TransitionRecipe]):
    """Of a transition recipe."""


def fit_transition_recipe(request: TransitionRequest) -> Written:
    """Fits, measures, exports, checks and writes.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the finished stages lie.
    """
    recipe = request.recipe
    check_writable(request.out / recipe.name)
    settle_torch(recipe.training.threads)
    began = time.monotonic()
    prepared = prepare_transitions(recipe, request.data, request.channel, request.licence)
    fingerprint = _fingerprint(recipe, prepared)
    stages = Stages(request.out / ".checkpoints" / f"{recipe.name}-{fingerprint[:12]}", fingerprint)
    if not request.resume:
        stages.clear()
    read = time.monotonic()
    try:
        fitted = fit_in_stages(recipe, prepared.train, stages)
        trained = time.monotonic()
        served = Served(copy.deepcopy(fitted.student or fitted.network).double(), fitted, "first_hop" if recipe.data.first_hop else "end_of_dwell")
        metrics, calibration = held_out_figures(served, prepared.held_out, prepared.truth, prepared.split)
    except KeyboardInterrupt as error:
        raise Interrupted(stages.folder) from error
    facts = TransitionFacts(
        name=recipe.name,
        card=recipe.card,
        training_data=TrainingData(source=prepared.source, licence=prepared.licence, sha256=prepared.sha256),
        notes=prepared.notes,
        metrics=metrics,
        calibration=calibration,
        timings_s={"data": read - began, "fit": trained - read, "measure": time.monotonic() - trained},
    )
    try:
        written = write_transition_bundle(request.out, served, facts)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"The bundle cannot be written to {request.out} ({error.strerror}); mend that and run again.") from error
    shutil.rmtree(stages.folder, ignore_errors=True)
    return written


def _fingerprint(recipe: TransitionRecipe, prepared: PreparedTransitions) -> str:
    """Of recipe, seed, data and torch: what decides a fit's numbers on one machine. The card's texts decide none."""
    facts = {"recipe": recipe.model_dump(mode="json", exclude={"card"}), "data": prepared.sha256, "torch": torch.__version__}
    return hashlib.sha256(canonical_json(facts).encode("utf-8")).hexdigest()
