"""One thread: the same numbers on every machine, and no fight for cores with other test workers. And bundles of two kinds, each written once."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.toy_mechanism import Made, make_toy_mechanism
from tests.training.mechanism.recipes import PHASE, POSITION, write_mechanism_recipe
from tests.training.transition.recipes import MODEL, STUDENT, TRAINING, write_transition_recipe
from training.__main__ import main

torch.set_num_threads(1)

ToyMechanism = Callable[[str], Made]


@pytest.fixture(scope="session")
def toy_mechanism(tmp_path_factory: pytest.TempPathFactory) -> ToyMechanism:
    """toy_mechanism("additive"), whose noise has outliers, or "scaled"."""

    @cache
    def make(form: str) -> Made:
        return make_toy_mechanism(tmp_path_factory.mktemp(form), form, outliers=form == "additive")

    return make


@dataclass(frozen=True)
class FittedByCommand:
    """What `python -m training fit` made of points with known parts: its folder, what it printed with --json, and the points' file."""

    folder: Path
    said: dict[str, Any]
    points: Path
    recipe: Path


@pytest.fixture(scope="session")
def fitted_mechanism(tmp_path_factory: pytest.TempPathFactory) -> FittedByCommand:
    """Of a smooth field and two phases, no image: the posterior comes in low rank."""
    home = tmp_path_factory.mktemp("fitted")
    rng = np.random.default_rng(0)
    position, phase = rng.random((150, 2)), rng.integers(0, 2, 150)
    field, level = np.sin(2 * position[:, 0]) + position[:, 1], np.array([0.0, 1.0])[phase]
    arrays = {"position": position, "phase": np.array(["fresh", "aged"])[phase], "y": field + level + 0.1 * rng.standard_normal(150)}
    np.savez(home / "points.npz", **arrays, truth_f=field + level, truth_position=field, truth_phase=level)
    recipe = write_mechanism_recipe(home, mechanisms=POSITION + PHASE)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main(["fit", str(recipe), "--data", str(home / "points.npz"), "--out", str(home / "bundles"), "--json"]) == 0
    said = json.loads(told.getvalue())
    return FittedByCommand(Path(said["bundle"]), said, home / "points.npz", recipe)


@dataclass(frozen=True)
class FittedTransition:
    """What `python -m training fit` made of 3 000 drawn transitions: its folder, what it printed with --json, and the recipe."""

    folder: Path
    said: dict[str, Any]
    recipe: Path


@pytest.fixture(scope="session")
def fitted_transition(tmp_path_factory: pytest.TempPathFactory) -> FittedTransition:
    """Of the human prior, served by a student."""
    home = tmp_path_factory.mktemp("transition")
    recipe = write_transition_recipe(home, model=MODEL + 'spread = "student"\n', more=TRAINING + STUDENT)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main(["fit", str(recipe), "--out", str(home / "bundles"), "--json"]) == 0
    said = json.loads(told.getvalue())
    return FittedTransition(Path(said["bundle"]), said, recipe)
