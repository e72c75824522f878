from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.scales.recipes import SCALES, request
from training.latent.checkpoint import Checkpoint, CheckpointStore
from training.latent.optimise import Fit
from training.recipe import Equivariance, Orientation, Recipe
from training.recipe_scales import Order
from training.scales import fit as module
from training.scales.fit import Leg, ScalesFit, fit_legs, legs_of, single_leg
from training.scales.prepare import Stage, prepare_scales

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, tuple[Stage, ...]]:
    torch.set_num_threads(1)
    asked = request(tmp_path_factory.mktemp("recipe"))
    return asked.recipe, prepare_scales(asked)


def run(data: tuple[Recipe, tuple[Stage, ...]], folder: Path, legs: tuple[Leg, ...], *, resume: bool = False) -> ScalesFit:
    return fit_legs(*data, legs, folder=folder, fingerprint="x", device=CPU, resume=resume)


def weights(fitted: ScalesFit, stage: int) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in fitted.models[stage].state_dict().values()])


@pytest.mark.parametrize("order", ["progressive", "reverse", "cold", "joint"])
def test_every_order_takes_as_many_steps_and_gives_a_model_for_each_length(
    data: tuple[Recipe, tuple[Stage, ...]], tmp_path: Path, order: Order
) -> None:
    # 60 descriptors in batches of 40 are two steps an epoch, and 180 of all lengths six, though five would do.
    fitted = run(data, tmp_path, legs_of(order, 3, 2))
    assert fitted.steps == 3 * 2 * 2
    assert len(fitted.models) == 3
    assert [epoch.epoch for epoch in fitted.history.epochs] == list(range(1, len(fitted.history.epochs) + 1))
    assert len({id(model) for model in fitted.models}) == (1 if order == "joint" else 3)


def test_one_length_alone_takes_as_many_steps(data: tuple[Recipe, tuple[Stage, ...]], tmp_path: Path) -> None:
    fitted = run(data, tmp_path, single_leg(2, 3, 2))
    assert fitted.steps == 12
    assert len({id(model) for model in fitted.models}) == 1


def test_legs_go_up_or_down_and_only_the_first_is_cold() -> None:
    assert [(leg.stages, leg.warm) for leg in legs_of("progressive", 3, 1)] == [((0,), False), ((1,), True), ((2,), True)]
    assert [(leg.stages, leg.warm) for leg in legs_of("reverse", 3, 1)] == [((2,), False), ((1,), True), ((0,), True)]
    assert not any(leg.warm for leg in legs_of("cold", 3, 1))


def test_a_stage_starts_from_the_weights_of_the_one_before(
    data: tuple[Recipe, tuple[Stage, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, torch.Tensor]] = []
    rates: list[float] = []

    class Watched(Fit):
        def run(self, *, resume: bool) -> module.Fitted:
            begun.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
            rates.append(self.optimiser.param_groups[0]["lr"])
            return super().run(resume=resume)

    monkeypatch.setattr(module, "Fit", Watched)
    fitted = run(data, tmp_path, legs_of("progressive", 3, 1))
    for stage in (1, 2):
        before = fitted.models[stage - 1].state_dict()
        assert all(torch.equal(tensor, before[name]) for name, tensor in begun[stage].items())
        assert not np.array_equal(weights(fitted, stage), weights(fitted, stage - 1))
    assert rates == [data[0].training.learning_rate] * 3


@pytest.mark.parametrize("saves", [1, 3, 4, 7])  # at the start, at a stage's end, at the next one's start, in the last stage
def test_resumed_stages_equal_uninterrupted_ones(
    data: tuple[Recipe, tuple[Stage, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    legs = legs_of("progressive", 3, 2)
    whole = run(data, tmp_path / "whole", legs)
    left = [saves]

    class Interrupting(CheckpointStore):
        def save(self, state: Checkpoint) -> None:
            super().save(state)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "CheckpointStore", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "cut", legs)
    resumed = run(data, tmp_path / "cut", legs, resume=True)
    assert all(np.array_equal(weights(whole, stage), weights(resumed, stage)) for stage in range(3))
    assert resumed.history == whole.history


@pytest.mark.parametrize("lessons", [{"equivariance": Equivariance(epochs=1, weight=1.0)}, {"orientation": Orientation(epochs=1, weight=1.0)}])
def test_only_the_first_stage_is_taught_before_it_is_fitted(tmp_path: Path, lessons: dict[str, object]) -> None:
    asked = request(tmp_path, scales=SCALES.replace("patches_per_scale = 60", "patches_per_scale = 40"))
    model = asked.recipe.model.model_copy(update={"invariances": ("rotation",), "angle_symmetry": 2})
    turned = asked.recipe.model_copy(update={"training": asked.recipe.training.model_copy(update=lessons), "model": model})
    stages = prepare_scales(replace(asked, recipe=turned))
    history = run((turned, stages), tmp_path, legs_of("progressive", 3, 1)).history
    assert history.taught_epochs == 1
    assert [epoch.reconstruction is None for epoch in history.epochs] == [True, False, False, False]
    assert [leg.epoch for leg in history.legs] == [1, 3, 4]


def test_a_fit_begun_anew_forgets_the_stages_of_an_earlier_one(data: tuple[Recipe, tuple[Stage, ...]], tmp_path: Path) -> None:
    run(data, tmp_path, legs_of("progressive", 3, 1))
    run(data, tmp_path, legs_of("progressive", 2, 1))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["stage-1", "stage-2"]
