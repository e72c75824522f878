"""The comparison: stage by stage, candidate by candidate, each result on disk before the next begins."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from training.choose.candidates import Candidate, Plan, make_plan, possible_invariances, variant
from training.choose.measure import measure_candidate
from training.choose.recommend import Recommendation, Row, recommend, tabulate
from training.choose.scores import Score, ScoreStore, name_of
from training.errors import InputError
from training.latent.checkpoint import CheckpointStore
from training.latent.optimise import Fitted
from training.latent.orientation import crop
from training.latent.pipeline import Request, choose_device, fingerprint_of, fit_model, prepare, settle_torch
from training.latent.prepared import Prepared
from training.recipe import FileData, Recipe

# Of the recipe's epochs, where none are asked for: enough for the order of the candidates, mostly, at half the price.
EPOCHS_SHARE = 0.5
_FEWEST_VALIDATION = 10


@dataclass(frozen=True)
class Options:
    """What is compared; empty tuples: see `candidates.make_plan`. `epochs` None: half the recipe's. `seeds` empty: the recipe's."""

    invariances: tuple[tuple[str, ...], ...] = ()
    content_sizes: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    epochs: int | None = None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        rows: the candidates, the best evidence first.
        recommendation: which to take.
        images: how many validation images.
        independent: share of them that counts in a standard error.
        epochs: of each fit.
        seeds: of the fits.
    """

    rows: tuple[Row, ...]
    recommendation: Recommendation
    images: int
    independent: float
    epochs: int
    seeds: tuple[int, ...]


class ChooseInterrupted(KeyboardInterrupt):
    """Ctrl-C. `done` fits have their result in `folder`; `resumable`: there is a result or a checkpoint to go on from."""

    def __init__(self, folder: Path, done: int, *, resumable: bool) -> None:
        super().__init__(str(folder))
        self.folder, self.done, self.resumable = folder, done, resumable


def compare(request: Request, options: Options) -> Comparison:
    """Fits and scores all candidates. `request.out` is the folder of results.

    Raises:
        InputError: anything the user can change.
        ChooseInterrupted: by Ctrl-C.
    """
    store = ScoreStore(request.out)
    if request.resume and not store.is_begun():
        raise InputError("NOTHING_TO_RESUME", f"There is no result and no checkpoint in {request.out}; run the same command without --resume.")
    if not request.resume and store.is_begun():
        raise InputError("RESULTS_EXIST", f"{request.out} holds results already: go on with them by --resume, or give another --out.")
    work = _Work(request, options, store)
    try:
        return work.run()
    except KeyboardInterrupt as error:
        raise ChooseInterrupted(request.out, work.done, resumable=store.is_begun()) from error


class _Work:
    """One comparison in progress. `done`: fits whose result is on disk."""

    def __init__(self, request: Request, options: Options, store: ScoreStore) -> None:
        self.recipe, self.request, self.store = request.recipe, request, store
        self.epochs = options.epochs or math.ceil(EPOCHS_SHARE * request.recipe.training.epochs)
        self.seeds = tuple(dict.fromkeys(options.seeds)) or (request.recipe.seed,)
        self.tried = (options.invariances, options.content_sizes, options.classes)
        self.device = choose_device(request.device)
        self.done, self.total = 0, 0

    def run(self) -> Comparison:
        settle_torch(self.recipe.training.threads)
        kept = self.recipe.model_copy(update={"training": self.recipe.training.model_copy(update={"keep_validation": True})})
        self.prepared = prepare(dataclasses.replace(self.request, recipe=kept))
        count = len(self.prepared.validation)
        if count < _FEWEST_VALIDATION:
            raise InputError(
                "TOO_FEW_IMAGES", f"{count} validation images are too few to compare by (at least {_FEWEST_VALIDATION}); give more data."
            )
        outputs = self.prepared.beside.outputs
        drawn = self.prepared.held_out.images if outputs is None else outputs
        plan = make_plan(self.recipe, possible_invariances(drawn.shape[1]), *self.tried)
        current, scores = plan.begin(self.recipe), dict[Candidate, list[Score]]()
        independent = independent_share(self.recipe)
        # Each later stage holds the candidate that the one before recommended.
        self.total = (len(plan.invariances) + len(plan.content_sizes) + len(plan.classes) - 2) * len(self.seeds)
        for stage in range(3):
            for candidate in candidates_of(plan, stage, current):
                if candidate not in scores:
                    scores[candidate] = [self._score(candidate, seed) for seed in self.seeds]
            rows = tabulate([each for found in scores.values() for each in found], independent)
            current = recommend(rows).candidate
        return Comparison(rows, recommend(rows), count, independent, self.epochs, self.seeds)

    def _variant(self, candidate: Candidate, seed: int) -> Recipe:
        return variant(self.recipe, candidate, epochs=self.epochs, seed=seed)

    def _score(self, candidate: Candidate, seed: int) -> Score:
        recipe = self._variant(candidate, seed)
        prepared = _seen_by(recipe, self.recipe, self.prepared)
        fingerprint = _fingerprint(recipe, self.prepared)
        score = self.store.load(candidate, seed, fingerprint)
        told = f"{candidate.label}, seed {seed}"
        if score is None:
            print(f"fit {self.done + 1} of {self.total}: {told}", file=sys.stderr, flush=True)
            score = self._fit(recipe, prepared, candidate, fingerprint)
            self.store.save(score, fingerprint)
            CheckpointStore(self.store.checkpoints / name_of(candidate, seed), fingerprint).clear()
        self.done += 1
        result = score.failure or f"−ELBO {sum(score.negative_elbo) / len(score.negative_elbo):.2f} nats per validation image"
        print(f"fit {self.done} of {self.total} is done: {told}: {result}", file=sys.stderr, flush=True)
        return score

    def _fit(self, recipe: Recipe, prepared: Prepared, candidate: Candidate, fingerprint: str) -> Score:
        checkpoint = CheckpointStore(self.store.checkpoints / name_of(candidate, recipe.seed), fingerprint)
        try:
            fitted: Fitted = fit_model(recipe, prepared, checkpoint, self.device, resume=self.request.resume and checkpoint.is_there)
        except InputError as error:
            if error.reason != "TRAINING_DIVERGED":
                raise
            return Score(candidate, recipe.seed, (), failure=f"{error.reason}: {error.message}")
        return measure_candidate(fitted.model, prepared, candidate, recipe.seed)


def candidates_of(plan: Plan, stage: int, current: Candidate) -> Iterator[Candidate]:
    """The candidates of a stage (0 invariances, 1 content sizes, 2 classes) about the best so far; a model of no latent is left out."""
    values: Sequence[object] = (plan.invariances, plan.content_sizes, plan.classes)[stage]
    for value in values:
        found = dataclasses.replace(current, **{("invariances", "content_size", "classes")[stage]: value})
        if found.latents:
            yield found
        else:
            print(f"left out: {found.label}, which has no latent", file=sys.stderr)


def independent_share(recipe: Recipe) -> float:
    """[ours] Share of validation images that count in a standard error: of overlapping patches as many as would fit side by side."""
    data = recipe.data
    if not isinstance(data, FileData) or not data.window_px:
        return 1.0
    return min(1.0, (data.stride_px / data.window_px) ** 2)


def _seen_by(recipe: Recipe, base: Recipe, prepared: Prepared) -> Prepared:
    """The data as a candidate trains on them: a recipe that teaches a direction has patches wide enough to be turned, which others do not want."""
    if base.training.orientation.weight and not recipe.training.orientation.weight:
        return dataclasses.replace(prepared, train=crop(prepared.train, prepared.validation.shape[1]))
    return prepared


def _fingerprint(recipe: Recipe, prepared: Prepared) -> str:
    # The split depends on the recipe's seed, which the seed of a fit need not be.
    validation = hashlib.sha256(prepared.validation.tobytes()).hexdigest()
    return hashlib.sha256(f"{fingerprint_of(recipe, prepared)} {validation} {torch.__version__}".encode()).hexdigest()
