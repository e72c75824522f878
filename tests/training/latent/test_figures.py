from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.latent.recipes import random_images, write_images, write_recipe
from training.errors import InputError
from training.latent.figures import measure, novelty
from training.latent.model import InvariantVAE
from training.latent.pipeline import Request, prepare, specify
from training.recipe import read_recipe


@pytest.mark.parametrize(("count", "rate"), [(5, 1 / 5), (20, 1 / 20), (99, 1 / 99), (100, 0.01), (5000, 0.01)])
def test_false_alarm_rate_is_the_measured_one_where_images_are_too_few(count: int, rate: float) -> None:
    errors = np.random.default_rng(0).random(count).astype(np.float32)
    found = novelty(errors)
    assert found.false_alarm_rate == pytest.approx(rate)
    assert found.threshold == pytest.approx(np.quantile(errors, 0.99), rel=1e-6)


def test_false_alarm_rate_of_equal_errors_is_not_nought() -> None:
    assert novelty(np.full(7, 0.25, np.float32)).false_alarm_rate == pytest.approx(1 / 8)


def test_figures_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    prepared = prepare(Request(recipe, (write_images(tmp_path / "a.npz", random_images()),), None, tmp_path, "cpu", resume=False))
    model = InvariantVAE(specify(recipe, prepared)).eval()
    measure(model, prepared, 0)
    with torch.no_grad():
        model.decoder.output.bias += 1e30
    with pytest.raises(InputError) as caught:
        measure(model, prepared, 0)
    assert caught.value.reason == "TRAINING_DIVERGED"
