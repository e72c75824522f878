"""A latent recipe, from data to bundle."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dichroic.bundle import Metric, TrainingData
from dichroic.bundle.manifest import canonical_json
from training.data.dataset import DataSet
from training.data.folder import named_files
from training.data.readers import read_data
from training.errors import InputError
from training.export.frame_models import FrameModels, single_stage
from training.export.latent_bundle import Facts, write_latent_bundle
from training.export.written import Written
from training.fit_request import FitRequest
from training.latent.alignment import Aligned, align, search_of
from training.latent.checkpoint import Array, CheckpointStore
from training.latent.columns import condition_columns, target_columns
from training.latent.dense_encoder import check_dense
from training.latent.figures import measure
from training.latent.history import History
from training.latent.model import InvariantVAE
from training.latent.normalisation import normalised
from training.latent.optimise import Fit, Fitted
from training.latent.prepare import prepare_files
from training.latent.prepare_drawn import prepare_drawn
from training.latent.prepared import Prepared, beside_for_fit
from training.latent.specification import INVARIANCES, ModelSpecification
from training.recipe import FileData, Recipe
from training.recipe_scales import StripesData


class Request(FitRequest[Recipe]):
    """Of a latent recipe."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a fit. `folder`: of its checkpoint, the last finished epoch's, if there is one yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True)
class Ready:
    """What a fit hands over to be measured and written.

    Attributes:
        model: of single images.
        history: what its epochs cost.
        frames: models of windows of whole images; None: the bundle reads no frames.
        further: figures beside the model's own, measured when they are asked for.
    """

    model: InvariantVAE
    history: History
    frames: FrameModels | None
    further: Callable[[], tuple[Metric, ...]] = tuple


# Given where checkpoints go, and the device.
FitPrepared = Callable[[CheckpointStore, torch.device], Ready]


def fit_latent(request: Request) -> Written:
    """Trains, measures, exports, checks and writes.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the checkpoint lies.
    """
    return carry_through(request, lambda: _prepared(request))


def carry_through(request: Request, load: Callable[[], tuple[Prepared, FitPrepared]]) -> Written:
    """From data to bundle, whatever is fitted.

    Args:
        request: what the command line asked for.
        load: reads the data. What it is measured on, and the fit.

    Raises:
        InputError: anything the user can change.
        Interrupted: by Ctrl-C; it says where the checkpoint lies.
    """
    recipe = request.recipe
    check_writable(request.out / recipe.name)
    device = choose_device(request.device)
    settle_torch(recipe.training.threads)
    began = time.monotonic()
    prepared, fit = load()
    fingerprint = fingerprint_of(recipe, prepared)
    # Beside the bundles, under a name no server lists, and another one for each recipe, seed and data: no fit overwrites another's.
    store = CheckpointStore(request.out / ".checkpoints" / f"{recipe.name}-{fingerprint[:12]}", fingerprint)
    loaded = time.monotonic()
    try:
        ready = fit(store, device)
        written = _measure_and_write(request, prepared, ready, {"data": loaded - began, "fit": time.monotonic() - loaded})
    except KeyboardInterrupt as error:
        raise Interrupted(store.folder) from error
    store.clear()
    return written


def settle_torch(threads: int) -> None:
    """The same numbers in each run on one machine."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads memory it has not written


def fit_model(recipe: Recipe, prepared: Prepared, store: CheckpointStore, device: torch.device, *, resume: bool) -> Fitted:
    """The recipe's model fitted to the prepared data.

    Raises:
        InputError: TRAINING_DIVERGED, BINS_NEED_SQUARES; and those of CheckpointStore.
    """
    images, validation = (normalised(part, prepared.preprocessing) for part in (prepared.train, prepared.validation))
    specification = specify(recipe, prepared)
    labels = prepared.labels
    aligned = align_images(recipe, specification, images, labels, device)
    fit = Fit(
        specification,
        recipe.training,
        images,
        validation,
        seed=recipe.seed,
        store=store,
        device=device,
        labels=labels,
        aligned=aligned,
        beside=beside_for_fit(specification, prepared, prepared.beside),
        validation_beside=beside_for_fit(specification, prepared, prepared.validation_beside),
    )
    return fit.run(resume=resume)


def _prepared(request: Request) -> tuple[Prepared, FitPrepared]:
    recipe, prepared = request.recipe, prepare(request)
    window_px = recipe.data.window_px if isinstance(recipe.data, FileData) else None

    def fit(store: CheckpointStore, device: torch.device) -> Ready:
        fitted = fit_model(recipe, prepared, store, device, resume=request.resume)
        return Ready(fitted.model, fitted.history, single_stage(fitted.model, window_px, prepared.pixel_size_nm))

    return prepared, fit


def _measure_and_write(request: Request, prepared: Prepared, ready: Ready, timings_s: dict[str, float]) -> Written:
    recipe, began = request.recipe, time.monotonic()
    metrics, calibration, novelty = measure(ready.model, prepared, recipe.seed)
    facts = Facts(
        name=recipe.name,
        card=recipe.card,
        preprocessing=prepared.preprocessing,
        output_preprocessing=prepared.output_preprocessing,
        training_data=TrainingData(source=prepared.source, licence=prepared.licence, sha256=prepared.sha256),
        notes=prepared.notes,
        remark=prepared.remark,
        quantity=prepared.quantity,
        pixel_size_nm=prepared.pixel_size_nm,
        metrics=metrics + ready.further(),
        calibration=calibration,
        novelty_threshold=None if novelty is None else novelty.threshold,
        novelty_false_alarm_rate=None if novelty is None else novelty.false_alarm_rate,
        history=ready.history,
        timings_s=timings_s | {"measure": time.monotonic() - began},
    )
    try:
        return write_latent_bundle(request.out, ready.model, facts, ready.frames)
    except OSError as error:
        raise InputError(
            "CANNOT_WRITE", f"The bundle cannot be written to {request.out} ({error.strerror}); mend that and run again with --resume."
        ) from error


def prepare(request: Request) -> Prepared:
    """The data of a request.

    Raises:
        InputError: SCALES_NOT_HERE, DATA_NOT_USED, DATA_REQUIRED, DATA_NOT_FOUND, and those of reading and preparing.
    """
    recipe, data = request.recipe, request.recipe.data
    if recipe.scales is not None or isinstance(data, StripesData):
        raise InputError("SCALES_NOT_HERE", f"Recipe {recipe.name!r} has several window lengths ([scales]); only `fit` takes such a recipe.")
    if not isinstance(data, FileData):
        if request.data or request.channel or request.licence:
            raise InputError("DATA_NOT_USED", f"Recipe {recipe.name!r} draws its own data; leave out --data, --channel and --licence.")
        return prepare_drawn(recipe, data)
    trained, kept, others_data = read_files(request, data)
    return prepare_files(
        recipe,
        data,
        trained,
        kept,
        others_data=others_data,
        licence=request.licence,
    )


def read_files(request: Request, data: FileData) -> tuple[list[DataSet], list[DataSet], bool]:
    """The files to train on, those only measured on, and whether any is not one that the recipe was written for.

    Raises:
        InputError: DATA_REQUIRED, DATA_NOT_FOUND, and those of reading.
    """
    paths = request.data or named_files((*data.files, *data.evaluate_only) if data.files else ())
    channel = request.channel or data.channel
    sets = [(path.name in data.evaluate_only, read_data(path, channel)) for path in paths]
    for _, made in sets:
        for note in made.notes:
            print(f"note: {made.source}: {note}", file=sys.stderr)
    trained, kept = ([made for is_kept, made in sets if is_kept is wanted] for wanted in (False, True))
    # A recipe that names no file was written for whatever it is given.
    named = {*data.files, *data.evaluate_only}
    return trained, kept, bool(data.files) and any(path.name not in named for path in paths)


def specify(recipe: Recipe, prepared: Prepared) -> ModelSpecification:
    """The model's specification: the recipe's networks for the data's images.

    Raises:
        InputError: BINS_NEED_SQUARES, DENSE_ENCODER, and those of condition_columns and target_columns.
    """
    _, height, width, channels = prepared.held_out.images.shape  # training patches may be cut wider, to be turned
    if recipe.model.angle_bins and height != width:
        raise InputError(
            "BINS_NEED_SQUARES", f"angle_bins turn images by quarters, which only square ones stand; these have {height} × {width} px: crop them."
        )
    model, outputs = recipe.model, prepared.beside.outputs
    made = ModelSpecification(
        height_px=height,
        width_px=width,
        channels=channels,
        invariances=tuple(name for name in INVARIANCES if name in model.invariances),
        content_size=model.content_size,
        # With bins: of the offset from a bin's centre, half the distance of two bins, so that the whole prior is nearly uniform.
        rotation_prior_sd_rad=math.pi / model.angle_bins if model.angle_bins else model.rotation_prior_sd_rad,
        shift_prior_sd=model.shift_prior_sd,
        scale_prior_log_sd=model.scale_prior_log_sd,
        likelihood=model.likelihood,
        noise_sd=None if model.noise_sd == "learned" else model.noise_sd,
        encoder_channels=() if model.encoder == "mlp" else model.encoder_channels,
        dense_head=model.dense_head if model.encoder == "dense" else "",
        encoder_widths=model.encoder_widths,
        decoder_widths=model.decoder_widths,
        angle_symmetry=model.angle_symmetry,
        angle_bins=model.angle_bins,
        class_source=model.class_source,
        class_names=recipe.class_names,
        input_kind=model.input_kind,
        output_kind=model.output_kind,
        output_shape=None if outputs is None else (outputs.shape[1], outputs.shape[2], outputs.shape[3]),
        conditions=condition_columns(prepared.conditions, prepared.beside.conditions),
        targets=target_columns(prepared.targets, prepared.beside.targets),
        # Lines alone are what a model without a topology has, its bundle's digest included.
        topology=model.topology if "circle" in model.topology else (),
        class_edges=_class_edges(recipe),
    )
    if made.dense_head:
        check_dense(made)
    return made


def _class_edges(recipe: Recipe) -> tuple[tuple[int, int], ...]:
    names = recipe.class_names
    return tuple((names.index(parent), names.index(child)) for parent, child in recipe.model.class_edges)


def align_images(recipe: Recipe, specification: ModelSpecification, images: Array, labels: Array | None, device: torch.device) -> Aligned | None:
    """Classes and poses of the normalised training images (n, h, w, c), where the recipe has [training.alignment]; else None.

    It takes seconds and depends on the seed alone, so a resumed fit does it again.
    """
    wanted = recipe.training.alignment
    if not wanted.is_on:
        return None
    search = search_of(wanted, specification.invariances)
    values = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    known = None if labels is None else torch.from_numpy(np.ascontiguousarray(labels)).to(device)
    return align(values, specification.class_count, search, seed=recipe.seed, restarts=wanted.restarts, labels=known)


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: NO_CUDA: CUDA was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("NO_CUDA", "--device cuda was asked for, but torch finds no CUDA device; use --device auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def check_writable(home: Path) -> None:
    """Raises InputError (CANNOT_WRITE) where a folder, or the one it would be made in, cannot be written."""
    # Before hours of training, not after. Nothing is made yet: a bad recipe leaves no empty folder.
    place = next(folder for folder in (home, *home.absolute().parents) if os.path.lexists(folder))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            "CANNOT_WRITE", f"The bundle cannot be written to {home}: {place} is no folder, or is not yours to write; give another --out."
        )


def fingerprint_of(recipe: Recipe, prepared: Prepared) -> str:
    """Of recipe, seed, data and torch: what decides a fit's numbers on one machine."""
    facts = {"recipe": recipe.model_dump(mode="json"), "data": prepared.sha256, "quantity": prepared.quantity, "torch": torch.__version__}
    return hashlib.sha256(canonical_json(facts).encode("utf-8")).hexdigest()
