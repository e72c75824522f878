"""Angles of objects that look the same after a part of a turn: ends that are one direction have one colour, and pictures say modulo what."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.training.report.records import report_words
from tests.training.report.toy_scales import with_stages
from training.data.dataset import save_npz
from training.data.domains import draw_domains
from training.report.angles import angle_title, ends_deg, ticks_deg, wrapped_rad
from training.report.canvas import ANGLE
from training.report.graphs import LatentGraphs
from training.report.maps import draw_maps
from training.report.poses import draw_poses
from training.report.scale_graphs import Frame, ScaleGraphs
from training.report.scale_maps import draw_scale_maps
from training.report.scale_stages import stages_over
from training.report.subjects import Scan, Subjects

HALF_TURN = {"angle_symmetry": 2}


@pytest.mark.parametrize("symmetry", [1, 2, 3])
def test_directions_that_look_the_same_are_one_number(symmetry):
    angle = np.linspace(-np.pi, np.pi, 50) + 0.01
    found = wrapped_rad(angle, symmetry)
    assert wrapped_rad(angle + 2 * np.pi / symmetry, symmetry) == pytest.approx(found)
    assert np.exp(1j * symmetry * found) == pytest.approx(np.exp(1j * symmetry * angle))
    low, high = np.radians(ends_deg(symmetry))
    assert (found >= low - 1e-12).all()
    assert (found < high).all()
    assert np.isnan(wrapped_rad(np.array([np.nan]), symmetry)).all()


def test_an_axis_of_angles_goes_from_end_to_end_and_says_modulo_what():
    assert ticks_deg() == [-180, -90, 0, 90, 180]
    assert ticks_deg(2) == [-90, -45, 0, 45, 90]
    assert angle_title() == "angle"
    assert angle_title(3) == "angle, modulo 120°"


@pytest.fixture
def drawn(monkeypatch):
    """Figures that are saved, not rendered."""
    found = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: found.append(figure))
    return found


def maps_of_angles(figure):
    """Of every map in cyclic colours: its values, and the ends of its colours."""
    shown = [image for axes in figure.axes for image in axes.images if image.get_cmap().name == ANGLE]
    return [(np.asarray(image.get_array()), image.get_clim()) for image in shown]


@pytest.mark.parametrize(("priors", "end"), [({}, 180), (HALF_TURN, 90)])
def test_maps_have_the_whole_circle_of_colours_for_what_can_be_told_apart(tmp_path, bundle, drawn, priors, end):
    graphs = LatentGraphs(bundle("scan.h5", priors=priors))
    scan = Scan(np.zeros((32, 32)), np.array([0, 0, 16, 16]), np.array([0, 16, 0, 16]))
    encoded = {"angle_rad": np.radians([-80.0, 80.0, 0.0, 100.0]), "content": np.arange(8.0).reshape(4, 2)}
    draw_maps(graphs, scan, encoded, None, tmp_path)
    ((values, ends),) = maps_of_angles(drawn[0])
    assert ends == (-end, end)
    assert values == pytest.approx(np.array([[-80.0, 80.0], [0.0, 100.0 if end == 180 else -80.0]]))


@pytest.mark.parametrize(("priors", "end"), [({}, 180), (HALF_TURN, 90)])
def test_maps_of_window_lengths_do_likewise(tmp_path, bundle, drawn, priors, end):
    scales = ScaleGraphs(LatentGraphs(with_stages(bundle("scan.h5", priors=priors), (8.0, 16.0))), Frame(np.full((40, 40), 3, np.float32), "a frame"))
    stages = stages_over(scales)
    stages[0].encoded["angle_rad"][:] = np.radians(100)
    draw_scale_maps(scales, stages, tmp_path)
    (values, ends), _ = maps_of_angles(drawn[0])
    assert ends == (-end, end)
    assert values == pytest.approx(np.full(values.shape, 100 if end == 180 else -80))


@pytest.mark.parametrize(("priors", "end"), [({}, 180), (HALF_TURN, 90)])
def test_a_rose_of_angles_counts_what_looks_the_same_together(tmp_path, bundle, drawn, priors, end):
    graphs = LatentGraphs(bundle("scan.h5", priors=priors))
    subjects = Subjects(np.zeros((4, 16, 16), np.float32), "four")
    draw_poses(graphs, subjects, {"angle_rad": np.radians([31.0, 31.0, -149.0, -149.0])}, tmp_path)
    (axes,) = drawn[0].axes
    heights = [bar.get_height() ** 2 for bar in axes.patches]
    assert max(heights) == pytest.approx(2 if end == 180 else 4)
    assert sum(heights) == pytest.approx(4)
    assert np.degrees(axes.patches[0].get_x()) == pytest.approx(-end)


@pytest.mark.parametrize(("priors", "told"), [({}, False), (HALF_TURN, True)])
def test_a_half_turn_of_an_object_without_symmetry_is_no_error_of_a_model_that_cannot_tell_it(tmp_path, bundle, drawn, priors, told):
    graphs = LatentGraphs(bundle(priors=priors))
    truth = np.linspace(-1.5, 1.5, 40)
    subjects = Subjects(
        np.zeros((40, 16, 16), np.float32),
        "forty",
        labels=np.zeros(40, np.int64),
        classes=("heart",),
        symmetry_order=(1,),
        truth={"angle_rad": truth},
    )
    draw_poses(graphs, subjects, {"angle_rad": truth + np.pi * (np.arange(40) % 2)}, tmp_path)
    legend = drawn[0].axes[0].get_legend().get_texts()[0].get_text()
    assert ("median error 0.0°" in legend) is told


def test_a_report_says_modulo_what(tmp_path, bundle):
    save_npz(tmp_path / "scan.npz", draw_domains(64))
    words = report_words(with_stages(bundle("scan.h5", unit="m", priors=HALF_TURN), (16.0,)), tmp_path / "out", "--data", str(tmp_path / "scan.npz"))
    for name in ("maps.png", "poses.png", "scale_maps.png"):
        assert "modulo 180°" in words[name]
