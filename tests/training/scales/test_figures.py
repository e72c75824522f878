from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.scales.recipes import MODEL, request
from training.errors import InputError
from training.latent.model import InvariantVAE
from training.latent.pipeline import specify
from training.scales.figures import content_lines, stage_figures, stage_latents, stage_metrics
from training.scales.prepare import Stage, prepare_scales

POSED = MODEL.replace("content_size = 2", 'invariances = ["rotation", "translation"]\ncontent_size = 3\ntopology = ["line", "circle", "line"]')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[InvariantVAE, tuple[Stage, ...]]:
    asked = request(tmp_path_factory.mktemp("recipe"), model=POSED)
    stages = prepare_scales(asked)
    torch.manual_seed(0)
    return InvariantVAE(specify(asked.recipe, stages[0].prepared)).eval(), stages


def test_pose_and_angles_are_no_units(made: tuple[InvariantVAE, tuple[Stage, ...]]) -> None:
    assert made[0].specification.latent_names[:3] == ("rotation", "shift_1", "shift_2")
    assert content_lines(made[0]) == [3, 5]


def test_figures_are_those_of_the_held_out_windows(made: tuple[InvariantVAE, tuple[Stage, ...]]) -> None:
    model, stages = made
    found = stage_figures(model, stages[1], 0)
    prepared = stages[1].prepared
    low, high = prepared.preprocessing.input_low[0], prepared.preprocessing.input_high[0]
    images = ((prepared.held_out.images - low) / (high - low)).astype(np.float32)
    mean, sd = stage_latents(model, images)
    assert mean.shape == (15, 6)
    np.testing.assert_allclose(found.use.variance, mean[:, [3, 5]].astype(np.float64).var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.use.uncertainty, (sd[:, [3, 5]].astype(np.float64) ** 2).mean(axis=0), rtol=1e-5)
    with torch.no_grad():
        drawn = model.images(model.read(torch.from_numpy(images)).sampling).numpy()
    error = ((images - drawn) ** 2).mean()
    assert found.reconstruction_mse == pytest.approx(error, rel=1e-4)
    assert found.explained == pytest.approx(1 - error / images.astype(np.float64).var(axis=0).mean(), rel=1e-3)
    assert found.axes.shape == (2,)


def test_metrics_are_named_by_stage_and_tell_their_window(made: tuple[InvariantVAE, tuple[Stage, ...]]) -> None:
    model, stages = made
    found = {metric.name: metric for metric in stage_metrics([model] * 3, stages, 0)}
    names = {"negative_elbo", "reconstruction_mse", "explained_fraction", "active_units", "second_axis_share"}
    names |= {f"{kind}_content_{index}" for kind in ("variance", "uncertainty", "kl") for index in (1, 3)}
    assert set(found) == {f"{name}_w{stage}" for name in names for stage in (1, 2, 3)}
    assert found["active_units_w2"].split.endswith("windows of 8 px")
    kl = found["kl_content_3_w2"]
    assert (kl.unit, kl.value) == ("nats", pytest.approx(stage_figures(model, stages[1], 0).use.divergence_nats[1]))
    assert found["negative_elbo_w1"].value == pytest.approx(stage_figures(model, stages[0], 0).negative_elbo)


def test_a_model_that_diverged_is_told(made: tuple[InvariantVAE, tuple[Stage, ...]]) -> None:
    model, stages = made
    broken = InvariantVAE(replace(model.specification))
    torch.nn.init.constant_(next(broken.parameters()), float("nan"))
    with pytest.raises(InputError, match=r"stage of 4\.5 px") as caught:
        stage_figures(broken, stages[0], 0)
    assert caught.value.reason == "TRAINING_DIVERGED"
