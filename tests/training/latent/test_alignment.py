from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.data.cards import draw_cards
from training.latent.alignment import Search, align, movement_between
from training.latent.class_metrics import class_agreement
from training.latent.coordinates import object_centre, pixel_grid, wrap_angle
from training.latent.equivariance import Movement, move_images
from training.latent.pose_metrics import fisher_lee_correlation

CIRCLE = Search(rotation=True, shift=0.0, scale=(1.0, 1.0))


def cards(per_suit: int, seed: int = 0, stream: str = "train", **pose: float) -> dict[str, np.ndarray]:
    options = {"angle_deg": 180.0, "shear_deg": 1.0, "shift": 0.0} | pose
    return draw_cards(per_suit, side=32, seed=seed, stream=stream, **options).arrays


def pictures(drawn: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(drawn["images"])[..., None]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_suits_at_any_angle_are_told_apart_without_labels_and_their_angles_found(seed: int) -> None:
    drawn = cards(40, seed)
    found = align(pictures(drawn), 4, CIRCLE, seed=seed, restarts=8)
    assert class_agreement(found.classes.numpy(), drawn["labels"], 4, matched=True).accuracy == 1.0
    for suit, symmetry in ((0, 1), (1, 1), (2, 2), (3, 1)):
        of = drawn["labels"] == suit
        angle = found.poses.angle.numpy()[of]
        assert fisher_lee_correlation(symmetry * angle, symmetry * drawn["truth_angle_rad"][of]) > 0.97


def test_shifts_are_found_in_the_images_own_frame() -> None:
    drawn = cards(20, shift=0.1)
    found = align(pictures(drawn), 4, Search(rotation=True, shift=0.2, scale=(1.0, 1.0)), seed=0, restarts=3)
    row, column = object_centre(found.poses.angle, found.poses.shift, found.poses.scale)
    half_px = 31 / 2
    for name, told in (("truth_shift_down_px", row * half_px), ("truth_shift_right_px", -column * half_px)):
        of = drawn["labels"] == 2
        apart = told.numpy()[of] - drawn[name][of]
        assert np.abs(apart - np.median(apart)).mean() < 1.0


def test_labelled_images_keep_their_class_and_give_it_its_upright() -> None:
    labelled, unlabelled = cards(20, stream="labelled", angle_deg=12.0), cards(30, angle_deg=120.0, shear_deg=20.0)
    images = torch.cat((pictures(labelled), pictures(unlabelled)))
    labels = torch.cat((torch.from_numpy(labelled["labels"]), torch.full((120,), -1)))
    found = align(images, 4, CIRCLE, seed=0, restarts=1, labels=labels)
    assert torch.equal(found.classes[:80], labels[:80])
    assert np.mean(found.classes[80:].numpy() == unlabelled["labels"]) == 1.0
    apart = wrap_angle(found.poses.angle - torch.from_numpy(np.concatenate([labelled["truth_angle_rad"], unlabelled["truth_angle_rad"]])))
    hearts = np.concatenate([labelled["labels"], unlabelled["labels"]]) == 1
    assert float(apart[hearts].abs().median()) < math.radians(10)


def test_same_seed_gives_the_same_answer_and_without_poses_it_is_plain_clustering() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand((3, 1, 9, 12, 2), generator=generator)
    truth = torch.arange(60) % 3
    images = kinds[truth, 0] + 0.05 * torch.rand((60, 9, 12, 2), generator=generator)  # neither square nor of one channel
    first, again = (align(images, 3, Search(rotation=False, shift=0.0, scale=(1.0, 1.0)), seed=4, restarts=5) for _ in range(2))
    assert torch.equal(first.classes, again.classes)
    assert torch.equal(first.averages, again.averages)
    assert class_agreement(first.classes.numpy(), truth.numpy(), 3, matched=True).accuracy == 1.0
    assert not first.poses.angle.any()


def test_an_image_moved_to_a_pose_is_the_picture_drawn_in_that_pose() -> None:
    grid = pixel_grid(41, 41)
    blob = torch.exp(-20 * ((grid - torch.tensor([0.1, -0.2])) ** 2).sum(dim=1)) + 0.5 * torch.exp(-30 * ((grid + 0.15) ** 2).sum(dim=1))
    picture = blob.reshape(1, 41, 41, 1).repeat(20, 1, 1, 1)
    search, generator = Search(rotation=True, shift=0.15, scale=(0.9, 1.1)), torch.Generator().manual_seed(1)
    before = search.draw(Movement(torch.zeros(20), torch.zeros(20, 2), torch.ones(20)), generator)
    wanted = search.draw(before, generator)
    moved = move_images(move_images(picture, grid, before), grid, movement_between(before, wanted))
    drawn = move_images(picture, grid, wanted)
    assert float((moved - drawn).abs().max()) < 0.05  # twice resampled
    assert float((moved - picture).abs().max()) > 0.3


def test_poses_are_drawn_over_all_that_is_searched_and_nothing_else_moves() -> None:
    generator = torch.Generator().manual_seed(2)
    before = Movement(torch.full((4000,), 0.3), torch.full((4000, 2), 0.1), torch.full((4000,), 0.8))
    drawn = Search(rotation=True, shift=0.2, scale=(0.8, 1.25)).draw(before, generator)
    rows, columns = object_centre(drawn.angle, drawn.shift, drawn.scale)
    for values, low, high in ((drawn.angle, -math.pi, math.pi), (rows, -0.2, 0.2), (columns, -0.2, 0.2), (torch.log(drawn.scale), -0.2231, 0.2231)):
        width = high - low
        assert low - 1e-4 <= float(values.min()) < low + 0.01 * width
        assert high - 0.01 * width < float(values.max()) <= high + 1e-4
        assert abs(float(values.mean()) - (low + high) / 2) < 0.03 * width
    alone = Search(rotation=False, shift=0.0, scale=(1.0, 1.0)).draw(before, generator)
    assert torch.equal(alone.angle, before.angle)
    assert torch.equal(alone.scale, before.scale)
    assert torch.allclose(alone.shift, before.shift, atol=1e-6)
