"""A latent recipe with [scales], from data to bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from dichroic.bundle import TrainingData
from training.errors import InputError
from training.export.frame_models import FrameModels, StageModel
from training.export.latent_bundle import Facts, write_latent_bundle
from training.export.written import Written
from training.latent.checkpoint import CheckpointStore
from training.latent.figures import measure
from training.latent.pipeline import Interrupted, Request, check_writable, choose_device, fingerprint_of, settle_torch
from training.scales.figures import stage_metrics
from training.scales.fit import ScalesFit, fit_legs, legs_of
from training.scales.prepare import Stage, prepare_scales


def fit_scales(request: Request) -> Written:
    """Trains stage by stage, measures each, exports, checks and writes one bundle.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the checkpoints lie.
    """
    recipe = request.recipe
    check_writable(request.out / recipe.name)
    device = choose_device(request.device)
    settle_torch(recipe.training.threads)
    began = time.monotonic()
    stages = prepare_scales(request)
    fingerprint = fingerprint_of(recipe, stages[-1].prepared)
    store = CheckpointStore(request.out / ".checkpoints" / f"{recipe.name}-{fingerprint[:12]}", fingerprint)
    try:
        written = _fit_and_write(request, stages, store, device, time.monotonic() - began)
    except KeyboardInterrupt as error:
        raise Interrupted(store.folder) from error
    store.clear()
    return written


def _fit_and_write(request: Request, stages: Sequence[Stage], store: CheckpointStore, device: torch.device, data_s: float) -> Written:
    recipe = request.recipe
    assert recipe.scales is not None  # noqa: S101 (a recipe with [scales])
    began = time.monotonic()
    legs = legs_of(recipe.scales.order, len(stages), recipe.training.epochs)
    fitted = fit_legs(recipe, stages, legs, folder=store.folder, fingerprint=store.fingerprint, device=device, resume=request.resume)
    trained = time.monotonic()
    prepared = stages[-1].prepared
    metrics, calibration, novelty = measure(fitted.models[-1], prepared, recipe.seed)
    facts = Facts(
        name=recipe.name,
        card=recipe.card,
        preprocessing=prepared.preprocessing,
        training_data=TrainingData(source=prepared.source, licence=prepared.licence, sha256=prepared.sha256),
        notes=prepared.notes,
        remark=prepared.remark,
        quantity=prepared.quantity,
        pixel_size_nm=prepared.pixel_size_nm,
        metrics=metrics + stage_metrics(fitted.models, stages, recipe.seed),
        calibration=calibration,
        novelty_threshold=None if novelty is None else novelty.threshold,
        novelty_false_alarm_rate=None if novelty is None else novelty.false_alarm_rate,
        history=fitted.history,
        timings_s={"data": data_s, "fit": trained - began, "measure": time.monotonic() - trained},
    )
    try:
        return _write(request, fitted, stages, facts)
    except OSError as error:
        raise InputError(
            "CANNOT_WRITE", f"The bundle cannot be written to {request.out} ({error.strerror}); mend that and run again with --resume."
        ) from error


def _write(request: Request, fitted: ScalesFit, stages: Sequence[Stage], facts: Facts) -> Written:
    """All models read windows of frames; the longest window's also encodes, reconstructs and decodes descriptors, as any latent bundle."""
    scales = request.recipe.scales
    assert scales is not None  # noqa: S101 (a recipe with [scales])
    models = zip(fitted.models, stages, strict=True)
    frames = FrameModels(
        tuple(StageModel(model, stage.window_px, stage.window_nm) for model, stage in models), standardised=scales.standardise == "image"
    )
    return write_latent_bundle(request.out, fitted.models[-1], facts, frames)
