"""Models at several window lengths, fitted in turn: what the paper calls progressive training, and what it is compared with at equal steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import torch

from training.latent.checkpoint import Array, CheckpointStore
from training.latent.history import History, LegStart
from training.latent.model import InvariantVAE
from training.latent.normalisation import normalised
from training.latent.optimise import Fit, Fitted
from training.latent.pipeline import specify
from training.recipe import Recipe, Training
from training.recipe_scales import Order
from training.scales.prepare import Stage


@dataclass(frozen=True)
class Leg:
    """One fit out of several.

    Attributes:
        stages: whose descriptors are learned from; several: of one model for all.
        epochs: how long; the learning rate starts anew.
        warm: from the weights of the leg before.
    """

    stages: tuple[int, ...]
    epochs: int
    warm: bool = False


@dataclass(frozen=True)
class ScalesFit:
    """What the legs of an order gave.

    Attributes:
        models: one for each window length, on the CPU; of one model for all lengths, the same each time.
        history: of all legs, one after another.
        steps: of the optimiser, over all legs.
    """

    models: tuple[InvariantVAE, ...]
    history: History
    steps: int


def legs_of(order: Order, stages: int, epochs: int) -> tuple[Leg, ...]:
    """The legs of an order over `stages` lengths of equally many descriptors, `epochs` for each: stages × epochs in total, whatever the order."""
    every = range(stages)
    if order == "joint":
        return (Leg(tuple(every), epochs),)
    path = reversed(every) if order == "reverse" else every
    return tuple(Leg((stage,), epochs, warm=order != "cold" and number > 0) for number, stage in enumerate(path))


def single_leg(stage: int, stages: int, epochs: int) -> tuple[Leg, ...]:
    """One length alone, from first weights, for as many steps as the orders take over all lengths."""
    return (Leg((stage,), stages * epochs),)


def fit_legs(
    recipe: Recipe, stages: Sequence[Stage], legs: Sequence[Leg], *, folder: Path, fingerprint: str, device: torch.device, resume: bool
) -> ScalesFit:
    """Fits leg after leg, each with a checkpoint of its own.

    Args:
        recipe: [model] and [training], whose epochs the legs replace.
        stages: descriptors of every length.
        legs: in this order.
        folder: takes a folder of each leg's checkpoint; a finished leg is not fitted again by `resume`.
        fingerprint: of recipe and data.
        device: where.
        resume: go on from the last checkpoint.

    Raises:
        InputError: TRAINING_DIVERGED; those of CheckpointStore.
        KeyboardInterrupt: as it comes; the checkpoints are on disk.
    """
    fits: list[Fitted] = []
    models: dict[int, InvariantVAE] = {}
    steps = 0
    if not resume:  # a later leg's checkpoint of an earlier run would be gone on from
        CheckpointStore(folder, fingerprint).clear()
    for number, leg in enumerate(legs):
        store = CheckpointStore(folder / f"stage-{number + 1}", f"{fingerprint}-{number + 1}")
        # A leg that had not begun when the fit was interrupted has nothing to go on from; the first must have.
        goes_on = resume and (number == 0 or store.is_there)
        title = f"fit {number + 1} of {len(legs)}, {_lengths(stages, leg)}"
        fit = _fit(recipe, stages, leg, title=title, store=store, device=device, before=fits[-1].model if leg.warm else None)
        fits.append(fit.run(resume=goes_on))
        steps += fit.epochs * fit.steps
        models |= dict.fromkeys(leg.stages, fits[-1].model)
    last = fits[-1].model
    return ScalesFit(tuple(models.get(index, last) for index in range(len(stages))), _joined(fits, [_lengths(stages, leg) for leg in legs]), steps)


def _fit(
    recipe: Recipe, stages: Sequence[Stage], leg: Leg, *, title: str, store: CheckpointStore, device: torch.device, before: InvariantVAE | None
) -> Fit:
    parts = [stages[index].prepared for index in leg.stages]
    first = parts[0]
    images = normalised(np.concatenate([part.train for part in parts]), first.preprocessing)
    return Fit(
        specify(recipe, first),
        _training(recipe.training, leg),
        _whole_steps(images, [len(part.train) for part in parts], recipe.training.batch_size),
        normalised(np.concatenate([part.validation for part in parts]), first.preprocessing),
        # One stream for each length, wherever in the order it stands; one for all of them together.
        seed=int(np.random.SeedSequence(recipe.seed, spawn_key=leg.stages).generate_state(1)[0]) >> 1,
        store=store,
        device=device,
        initial=None if before is None else {name: tensor.numpy() for name, tensor in before.state_dict().items()},
        title=title,
    )


def _training(training: Training, leg: Leg) -> Training:
    """The recipe's for one leg: an encoder that comes with weights has had its lessons."""
    update: dict[str, object] = {"epochs": leg.epochs}
    if leg.warm:
        update |= {name: getattr(training, name).model_copy(update={"epochs": 0}) for name in ("equivariance", "orientation")}
    return training.model_copy(update=update)


def _whole_steps(images: Array, counts: list[int], batch_size: int) -> Array:
    """Descriptors of several lengths, some of them twice, so that an epoch has as many steps as one of each length would have together."""
    steps = sum(math.ceil(count / batch_size) for count in counts)
    least = (steps - 1) * batch_size + 1
    return images if len(images) >= least else np.resize(images, (least, *images.shape[1:]))


def _lengths(stages: Sequence[Stage], leg: Leg) -> str:
    return stages[leg.stages[0]].label if len(leg.stages) == 1 else "all lengths"


def _joined(fits: list[Fitted], names: list[str]) -> History:
    """Epochs are counted on from leg to leg."""
    epochs = chain.from_iterable(fitted.history.epochs for fitted in fits)
    numbered = tuple(replace(epoch, epoch=index) for index, epoch in enumerate(epochs, start=1))
    before = accumulate((len(fitted.history.epochs) for fitted in fits[:-1]), initial=0)
    legs = tuple(LegStart(epoch + 1, name) for epoch, name in zip(before, names, strict=True)) if len(fits) > 1 else ()
    return History(0, fits[0].history.taught_epochs, numbered, legs)
