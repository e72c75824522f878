"""What stands in traversals.png and elbo.png, checked as numbers."""

import numpy as np
import pytest

from training.latent.history import EpochFigures, History
from training.report.bound import draw_bound, shown_range
from training.report.graphs import LatentGraphs
from training.report.traversals import STEPS, Row, rows_of, traversed


@pytest.fixture
def graphs(bundle):
    return LatentGraphs(bundle(priors={"rotation_prior_sd_rad": 0.5, "shift_prior_sd": 0.2, "scale_prior_log_sd": 0.1}))


def test_rows_are_the_latents_in_order_with_their_range_in_units(graphs):
    rows = rows_of(graphs.latent)
    assert [row.name for row in rows] == ["angle_rad", "shift_down_px", "shift_right_px", "scale", "content", "content"]
    assert [row.label for row in rows[:2]] == ["angle\n±57°", "shift down\n±3.0 px"]
    assert rows[0].values == pytest.approx(0.5 * STEPS)
    assert rows[1].values[-1] == pytest.approx(2 * 0.2 * 7.5)  # 7.5 px is one grid unit of 16 px
    assert rows[3].label == "scale\n0.82 to 1.22"
    assert rows[5].index == 1


def test_each_row_moves_its_own_latent_and_no_other(graphs):
    rows = rows_of(graphs.latent)
    tiles = traversed(graphs, rows)
    assert tiles.shape == (6, 9, 16, 16)
    middle = graphs.decode(np.zeros((1, 2)))[0]
    for number in range(6):
        assert tiles[number, 4] == pytest.approx(middle, abs=1e-6)
        assert np.abs(tiles[number, 0] - middle).max() > 0 or rows[number].name == "scale"  # the hand-made graph scales a shift of 0
    content = np.array([[0.0, STEPS[7]]])
    assert tiles[5, 7] == pytest.approx(graphs.decode(content)[0], abs=1e-6)
    turned = graphs.decode(np.zeros((1, 2)), pose={"angle_rad": np.array([rows[0].values[1]])})
    assert tiles[0, 1] == pytest.approx(turned[0], abs=1e-6)


def test_a_model_without_pose_has_rows_of_content_alone(bundle):
    assert [(row.name, row.index) for row in rows_of(LatentGraphs(bundle(pose=False)).latent)] == [("content", 0), ("content", 1)]
    assert isinstance(rows_of(LatentGraphs(bundle(pose=False)).latent)[0], Row)


def test_first_epochs_far_above_the_rest_are_cut_and_others_are_not():
    falling = np.array([5000.0, 120, 110, 105, 103, 102, 101, 100, 100, 100])
    low, high = shown_range(falling)
    assert low < 100
    assert 120 <= high < 130
    assert shown_range(np.linspace(120, 100, 10)) is None
    assert shown_range(np.array([1.0])) is None


@pytest.mark.parametrize("epochs", [1, 12])
def test_the_bound_is_drawn_of_short_and_of_long_histories(graphs, tmp_path, epochs):
    lessons = [EpochFigures(k + 1, 0.1) for k in range(3)]
    told = [EpochFigures(k + 4, 100.0 - k, 90.0 - k, 3.0, 1.0, 0.0, 101.0 - k) for k in range(epochs)]
    path = draw_bound(graphs, History(0, 3, (*lessons, *told)), tmp_path)
    assert path.name == "elbo.png"
    assert path.stat().st_size > 5000
