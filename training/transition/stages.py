"""A fit of transitions in stages, each of which is kept on disk: one that was interrupted goes on after the last stage that was finished."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.mechanism.checkpoint import FitFile
from training.recipe_transition import RateTraining, TransitionRecipe
from training.transition.distil import Lesson, Student, distil
from training.transition.ensemble import Trained, Training
from training.transition.networks import RateNetwork
from training.transition.pipeline import MODELS, Fit, Fitted, candidates_for, fit_transition
from training.transition.recalibrate import recalibrate
from training.transition.states import Array, Ranges, Scales, Transitions

_GIVEN = ("first_hop_steps", "first_hop_batch", "steps", "batch", "learning_rate", "checks", "weight_decay")


@dataclass(frozen=True)
class Stages:
    """Where finished stages lie.

    Attributes:
        folder: of their files.
        fingerprint: of recipe and data.
    """

    folder: Path
    fingerprint: str

    def load(self, name: str) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and facts of a finished stage; None where it is not.

        Raises:
            InputError: CHECKPOINT_UNREADABLE or CHECKPOINT_MISMATCH.
        """
        return FitFile(self.folder / f"{name}.safetensors").load(self.fingerprint)

    def save(self, name: str, arrays: dict[str, Array], facts: dict[str, Any]) -> None:
        """Raises InputError (CANNOT_WRITE)."""
        FitFile(self.folder / f"{name}.safetensors").save(self.fingerprint, arrays, facts)

    def clear(self) -> None:
        """Forgets all of them."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink()


def candidates_of(recipe: TransitionRecipe, count: int) -> tuple[Training, ...]:
    """Ways of training so many transitions: those that suit their number, with what the recipe says in place of their own."""
    model, told = recipe.model, recipe.training
    given = {name: getattr(told, name) for name in _GIVEN if getattr(told, name) is not None}
    found = [replace(each, members=model.members, widths=model.widths, shells=model.shells, **given) for each in candidates_for(count)]
    # How long to train is found by trying, unless the recipe says it.
    return tuple(found[-1:] if told.first_hop_steps is not None or told.steps is not None else found)


def fit_in_stages(recipe: TransitionRecipe, arrays: dict[str, Array], stages: Stages) -> Fitted:
    """What `fit_transition` does, candidate by candidate, then recalibration, then the student.

    Raises:
        InputError: as `fit_transition`; those of Stages.
    """
    likelihood, seed = ("first_hop" if recipe.data.first_hop else "end_of_dwell"), recipe.seed
    data = Transitions.read(arrays, first_hop=recipe.data.first_hop)
    tried = []
    for number, training in enumerate(candidates_of(recipe, len(data))):
        name = f"candidate-{number}"
        held = stages.load(name)
        if held is None:
            one = Fit(model=recipe.model.kind, likelihood=likelihood, candidates=(training,), recalibrate=False)
            fitted = fit_transition(one, arrays, seed=seed)
            stages.save(name, *_told(fitted))
        else:
            fitted = _restored(recipe, training, data, held)
        tried.append(fitted)
    best = min(tried, key=lambda each: each.held_out_nll[0])
    shells = best.training.shells
    found = recalibrate(best.network, data, best.trained.left_out, likelihood, shells) if recipe.training.recalibrate else None
    student = _student(recipe.training, best.network, data, best.scales, shells, seed, stages) if recipe.model.spread == "student" else None
    return replace(best, recalibration=found, student=student, held_out_nll=tuple(each.held_out_nll[0] for each in tried))


def _student(told: RateTraining, network: RateNetwork, data: Transitions, scales: Scales, shells: int, seed: int, stages: Stages) -> Student:  # noqa: PLR0917
    lesson = Lesson(**told.student.model_dump())
    held = stages.load("student")
    if held is None:
        student = distil(network, data, scales, shells, lesson=lesson, seed=seed)
        stages.save("student", _weights(student), {})
        return student
    student = Student(scales, float(torch.exp(network.pivot)), lesson, seed)
    _load(student, held[0])
    return student


def _told(fitted: Fitted) -> tuple[dict[str, Array], dict[str, Any]]:
    trained = fitted.trained
    arrays = _weights(fitted.network) | {"trained_left_out": trained.left_out, "trained_held_out": trained.held_out}
    facts = {
        "history": trained.history,
        "constant_rate": fitted.constant_rate,
        "held_out_nll": fitted.held_out_nll,
        "constant_nll": fitted.constant_nll,
    }
    return arrays, facts


def _restored(recipe: TransitionRecipe, training: Training, data: Transitions, held: tuple[dict[str, Array], dict[str, Any]]) -> Fitted:
    arrays, facts = held
    scales = Scales.of(data)
    network = MODELS[recipe.model.kind](training.members, scales, facts["constant_rate"], widths=training.widths, seed=recipe.seed)
    trained = Trained(arrays.pop("trained_left_out"), arrays.pop("trained_held_out"), tuple((step, nll) for step, nll in facts["history"]))
    _load(network, arrays)
    told = tuple(facts["held_out_nll"])
    return Fitted(network, None, training, trained, None, scales, Ranges.of(data), facts["constant_rate"], told, facts["constant_nll"])


def _weights(network: nn.Module) -> dict[str, Array]:
    return {name: np.array(values.detach().numpy()) for name, values in network.state_dict().items()}


def _load(network: nn.Module, arrays: dict[str, Array]) -> None:
    network.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
