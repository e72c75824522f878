"""A latent recipe with [scales], from data to bundle."""

from __future__ import annotations

import torch

from training.export.frame_models import FrameModels, StageModel
from training.export.written import Written
from training.latent.checkpoint import CheckpointStore
from training.latent.pipeline import FitPrepared, Ready, Request, carry_through
from training.latent.prepared import Prepared
from training.scales.figures import stage_metrics
from training.scales.fit import fit_legs, legs_of
from training.scales.prepare import prepare_scales


def fit_scales(request: Request) -> Written:
    """Trains stage by stage, measures each, exports, checks and writes one bundle.

    All models read windows of frames; the longest window's also encodes, reconstructs and decodes descriptors, as any latent bundle.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the checkpoints lie.
    """
    return carry_through(request, lambda: _prepared(request))


def _prepared(request: Request) -> tuple[Prepared, FitPrepared]:
    recipe, scales = request.recipe, request.recipe.scales
    assert scales is not None  # noqa: S101 (a recipe with [scales])
    stages = prepare_scales(request)

    def fit(store: CheckpointStore, device: torch.device) -> Ready:
        legs = legs_of(scales.order, len(stages), recipe.training.epochs)
        fitted = fit_legs(recipe, stages, legs, folder=store.folder, fingerprint=store.fingerprint, device=device, resume=request.resume)
        models = tuple(StageModel(model, stage.window_px, stage.window_nm) for model, stage in zip(fitted.models, stages, strict=True))
        frames = FrameModels(models, standardised=scales.standardise == "image")
        return Ready(fitted.models[-1], fitted.history, frames, lambda: stage_metrics(fitted.models, stages, recipe.seed))

    return stages[-1].prepared, fit
