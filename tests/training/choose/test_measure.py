"""Pose errors of an encoder that is right by construction, and of one that is wrong by a known amount."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.choose import measure
from training.choose.measure import movement_errors, truth_errors
from training.latent.model import InvariantVAE, Reading
from training.latent.pose_metrics import PoseTruth
from training.latent.specification import ModelSpecification

POSED = ModelSpecification(12, 12, invariances=("rotation", "translation", "scale"), encoder_widths=(8,), decoder_widths=(8,))
IMAGES = np.random.default_rng(0).random((30, 12, 12, 1), dtype=np.float32)


class Knowing(InvariantVAE):
    """Reads the pose off the first pixels, where `write` below put it; the angle times `turns`."""

    turns = 1.0

    def read(self, images: torch.Tensor, conditions: object = None) -> Reading:
        found = super().read(images)
        told = images[:, 0, :4, 0]
        sampling = replace(found.sampling, angle=self.turns * told[:, 0], shift=told[:, 1:3], scale=torch.exp(told[:, 3]))
        return replace(found, sampling=sampling)


def write(images: torch.Tensor, grid: torch.Tensor, movement: measure.Movement) -> torch.Tensor:
    """In place of moving pixels: of images in the canonical pose, moved by a movement, the pose is the movement."""
    moved = images.clone()
    moved[:, 0, 0, 0], moved[:, 0, 1:3, 0], moved[:, 0, 3, 0] = movement.angle, movement.shift, torch.log(movement.scale)
    return moved


@pytest.fixture
def canonical() -> np.ndarray:
    images = IMAGES.copy()
    images[:, 0, :4] = 0
    return images


def test_an_encoder_that_follows_each_movement_has_no_error(monkeypatch: pytest.MonkeyPatch, canonical: np.ndarray) -> None:
    monkeypatch.setattr(measure, "move_images", write)
    found = movement_errors(Knowing(POSED), canonical, seed=0)
    assert found.by == "movement"
    assert found.angle_deg == pytest.approx(0, abs=1e-3)
    assert found.shift_px == pytest.approx(0, abs=1e-4)
    assert found.scale_percent == pytest.approx(0, abs=1e-3)


def test_an_angle_that_turns_half_as_far_is_off_by_half(monkeypatch: pytest.MonkeyPatch, canonical: np.ndarray) -> None:
    monkeypatch.setattr(measure, "move_images", write)
    monkeypatch.setattr(Knowing, "turns", 0.5)
    found = movement_errors(Knowing(POSED), canonical, seed=0)
    assert found.angle_deg == pytest.approx(7.5, abs=2.5)  # half of the median of |uniform in ±30°|


def test_an_encoder_that_sees_nothing_is_off_by_the_whole_movement(canonical: np.ndarray) -> None:
    blind = Knowing(POSED)
    blind.turns = 0.0
    still = np.zeros_like(canonical)
    found = movement_errors(blind, still, seed=0)
    assert found.angle_deg == pytest.approx(15, abs=5)
    assert found.shift_px is not None
    assert 0.3 < found.shift_px < 0.8  # of up to 0.55 px in each axis


def test_only_what_the_model_reports_is_moved_and_measured() -> None:
    turned = movement_errors(InvariantVAE(replace(POSED, invariances=("rotation",))), IMAGES, seed=0)
    assert turned.angle_deg is not None
    assert (turned.shift_px, turned.scale_percent) == (None, None)


def test_truth_errors_take_each_classs_offset_out_and_tell_the_worst() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    angle = random.uniform(-1, 1, 400)
    down, right = random.uniform(-3, 3, 400), random.uniform(-3, 3, 400)
    truth = PoseTruth(labels, angle, np.ones(400), down, right, (1, 2))
    off = np.where(labels == 1, np.radians(random.uniform(-8, 8, 400)), 0)
    told = {"angle_rad": angle + np.where(labels == 1, 2.0, -1.0) + off, "scale": np.full(400, 0.8), "shift_down_px": down, "shift_right_px": right}
    found = truth_errors(told, truth)
    assert found.angle_deg == pytest.approx(4, abs=0.6)  # the other class's is 0
    assert found.shift_px == pytest.approx(0, abs=1e-9)
    assert found.scale_percent is None  # the drawn size does not vary
