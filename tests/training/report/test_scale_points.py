"""Labelled points against window length: the numbers, the words on the picture, and what is refused."""

import numpy as np
import pytest

from dichroic.separability import separability_of
from tests.training.report.records import words_of_figures
from tests.training.report.toy_scales import pixels_of, with_stages
from training.__main__ import main
from training.errors import InputError
from training.report.canvas import drawing
from training.report.graphs import LatentGraphs
from training.report.scale_graphs import Frame, ScaleGraphs
from training.report.scale_points import Points, draw_scale_points, read_points, separation

SIDE = 60
CENTRES = np.array([[row, column] for column in (18.0, 24.0, 37.0, 43.0) for row in (20.0, 26.0, 32.0, 38.0)])
LABELS = np.repeat([0, 1], 8)


def two_halves(noise=0.1):
    values = noise * np.random.default_rng(0).normal(size=(SIDE, SIDE))
    values[:, SIDE // 2 :] += 1
    return Frame(values.astype(np.float32), "two halves", 2.0)


@pytest.fixture
def graphs(bundle):
    return LatentGraphs(with_stages(bundle("scan.h5"), (8.0, 16.0, 24.0)))


def test_accuracy_is_that_of_the_content_of_each_window(graphs):
    scales = ScaleGraphs(graphs, two_halves(noise=0.6))
    found = separation(scales, Points(CENTRES, LABELS, ("dark", "bright")))
    assert (len(found.windows_px), found.windows_px[0], found.windows_px[-1]) == (16, 4, pytest.approx(24))
    for window, accuracy in zip(found.windows_px, found.accuracy, strict=True):
        a, b = pixels_of(scales.frame.values, CENTRES, float(window))
        factor = scales.nearest_stage(float(window)) + 1
        assert accuracy == separability_of(factor * np.stack([b, a], axis=1), LABELS)
    assert 0.5 < found.accuracy.min() < 1


def test_halves_are_told_apart_at_every_length_and_one_class_split_in_two_is_not(graphs):
    scales = ScaleGraphs(graphs, two_halves())
    assert separation(scales, Points(CENTRES, LABELS, ("dark", "bright"))).from_px == 4
    assert separation(scales, Points(CENTRES, np.tile([0, 1], 8), ("odd", "even"))).from_px == 0
    few = np.where(np.arange(16) % 8 < 7, LABELS, -1)  # all right, but seven of a class might be so by chance
    assert separation(scales, Points(CENTRES, few, ("dark", "bright"))).from_px == 0


def test_windows_end_where_a_point_has_no_room_for_longer_ones_and_spoilt_points_do_not_count(graphs):
    frame = two_halves()
    frame.values[20, 18] = np.nan  # the first point
    near = np.concatenate([CENTRES, [[20.0, 9.0], [20.0, 51.0]]])
    found = separation(ScaleGraphs(graphs, frame), Points(near, np.append(LABELS, [0, 1]), ("dark", "bright")))
    assert found.windows_px[-1] == pytest.approx(18)
    assert np.isnan(found.explained[:, 0]).all()
    assert np.isfinite(found.accuracy).all()
    with pytest.raises(InputError, match=r"Point 1, counted from 0, .* 4 px"):
        separation(ScaleGraphs(graphs, frame), Points(np.array([[30.0, 30.0], [1.0, 30.0]]), np.array([0, 1]), ("a", "b")))


def test_the_picture_says_from_which_length_on_in_nm_or_why_not(graphs, tmp_path):
    scales = ScaleGraphs(graphs, two_halves())
    few = np.where(np.arange(16) % 8 < 7, LABELS, -1)
    for labels, told in ((LABELS, "told apart from 8 nm on"), (np.tile([0, 1], 8), "does not tell"), (few, "fewer than 8")):
        with words_of_figures() as words, drawing():
            draw_scale_points(scales, Points(CENTRES, labels, ("dark", "bright")), tmp_path)
        assert told in words["scale_points.png"], told
        assert {"dark", "bright"} <= set(words["scale_points.png"].split("\n"))


def saved(folder, **arrays):
    np.savez(folder / "points.npz", **arrays)
    return folder / "points.npz"


def test_classes_may_be_words_or_numbers_and_below_0_is_not_known(tmp_path):
    frame = two_halves()
    words = read_points(saved(tmp_path, centres_px=CENTRES, phase=np.where(LABELS, "b", "a")), "phase", frame)
    assert (words.names, words.labels.tolist()) == (("a", "b"), LABELS.tolist())
    numbers = read_points(saved(tmp_path, centres_px=CENTRES, labels=np.where(np.arange(16) == 3, -1, 4 + LABELS)), "labels", frame)
    assert (numbers.names, numbers.labels[3], numbers.labels[-1]) == (("class 4", "class 5"), -1, 1)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        pytest.param({"centres_px": CENTRES}, "lacks labels", id="no labels"),
        pytest.param({"labels": LABELS}, "lacks centres_px", id="no points"),
        pytest.param({"centres_px": CENTRES[:3], "labels": LABELS}, r"\(3, 2\)", id="another number"),
        pytest.param({"centres_px": CENTRES + 40, "labels": LABELS}, "point 0, counted from 0, at row 60 .* outside", id="outside"),
        pytest.param({"centres_px": np.full((16, 2), np.nan), "labels": LABELS}, "outside", id="NaN"),
        pytest.param({"centres_px": CENTRES, "labels": LABELS + 0.5}, "float64", id="labels with a fraction"),
        pytest.param({"centres_px": CENTRES, "labels": 0 * LABELS}, "1 class;", id="one class"),
        pytest.param({"centres_px": CENTRES, "labels": np.arange(16)}, "16 classes", id="too many to draw"),
    ],
)
def test_points_that_cannot_be_used_are_refused_with_what_was_expected(tmp_path, arrays, words):
    with pytest.raises(InputError, match=words):
        read_points(saved(tmp_path, **arrays), "labels", two_halves())


def test_the_command_draws_them_and_wants_an_image(bundle, tmp_path, capsys):
    folder = with_stages(bundle("scan.h5"), (8.0, 16.0, 24.0))
    np.save(tmp_path / "scan.npy", two_halves().values)
    points = saved(tmp_path, centres_px=CENTRES, labels=LABELS)
    asked = ["report", str(folder), "--points", str(points), "--out", str(tmp_path / "out")]
    assert main(asked) == 2
    assert "--data FILE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*asked, "--data", str(tmp_path / "scan.npy")]) == 0
    assert (tmp_path / "out" / "scale_points.png").exists()
