"""What stands in the figures, checked as numbers."""

import numpy as np
import pytest

from training.data.cards import draw_cards
from training.report.canvas import mosaic
from training.report.graphs import LatentGraphs
from training.report.manifold import decoded_manifold, latent_values
from training.report.poses import class_angles
from training.report.subjects import fresh_subjects, in_unit


def test_a_mosaic_keeps_every_tile_in_its_place():
    tiles = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    picture = mosaic(tiles)
    assert picture.shape == (2 * 5 - 1, 3 * 6 - 1)
    assert (picture[5:9, 12:17] == tiles[1, 2]).all()
    assert np.isnan(picture[4]).all()


def test_the_manifold_has_latent_1_to_the_right_and_latent_2_upwards(bundle):
    graphs = LatentGraphs(bundle())
    tiles, across, down = decoded_manifold(graphs)
    assert tiles.shape == (11, 11, 16, 16)
    assert (np.diff(across) > 0).all()
    assert (np.diff(down) < 0).all()
    content = np.array([[across[8], down[2]]])
    assert tiles[2, 8] == pytest.approx(graphs.decode(content)[0], abs=1e-6)


def test_the_manifolds_values_are_quantiles_of_the_prior():
    assert latent_values(11)[5] == 0
    assert latent_values(3) == pytest.approx([-0.9674, 0, 0.9674], abs=1e-4)


def test_batches_of_any_size_give_the_same_answers(bundle):
    graphs = LatentGraphs(bundle())
    images = np.random.default_rng(0).random((20, 16, 16)).astype(np.float32)  # reconstruct takes 7 at once
    together = graphs.reconstruct(images)["error"]
    assert together == pytest.approx(0.01 * (images**2).mean(axis=(1, 2)), rel=1e-5)


def test_fresh_cards_have_the_training_cards_options_and_another_stream(bundle):
    fresh = fresh_subjects(LatentGraphs(bundle()), seed=4)
    expected = draw_cards(100, angle_deg=90, shear_deg=1, shift=0.1, scale=(0.9, 1.1), side=16, seed=4, stream="test")
    assert (fresh.values == expected.arrays["images"]).all()
    assert (fresh.truth["angle_rad"] == expected.arrays["truth_angle_rad"]).all()


@pytest.mark.parametrize("source", ["scan.h5", "draw_other(seed=1)", "draw_cards(nothing=1)", "draw_cards(seed=os.getpid())"])
def test_nothing_is_drawn_for_data_that_was_measured(bundle, source):
    assert fresh_subjects(LatentGraphs(bundle(source)), seed=0) is None


def test_an_angles_offset_and_symmetry_are_taken_out_but_not_its_sense():
    truth = np.random.default_rng(0).uniform(-np.pi, np.pi, 400)
    reported = np.angle(np.exp(1j * (truth + 0.5 + np.pi * np.random.default_rng(1).integers(0, 2, 400))))
    shown, offset, error = class_angles(reported, truth, 2)
    assert offset == pytest.approx(np.degrees(0.5))
    assert error == pytest.approx(0, abs=1e-9)
    assert shown == pytest.approx(np.degrees(truth))
    assert np.abs(class_angles(reported, truth, 1)[0] - np.degrees(truth)).mean() > 10  # half of them upside down
    assert class_angles(-truth, truth, 1)[2] > 30


def test_integers_are_shown_in_the_unit_they_stand_for(bundle):
    graphs = LatentGraphs(bundle())
    assert in_unit(graphs, np.array([[[0, 255]]], np.uint8)) == pytest.approx(np.array([[[0, 1]]]))
    assert in_unit(graphs, np.array([[[0, 65535]]], np.uint16)) == pytest.approx(np.array([[[0, 1]]]))
