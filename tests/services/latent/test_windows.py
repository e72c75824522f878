"""Window lengths, stages, grids and centres."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dichroic.bundle.frames_section import DenseFrames, Frames, FrameStage
from dichroic.errors import DichroicError, InvalidFieldError, InvalidTensorError
from services.latent.windows import Places, Wanted, checked_centres, places_of, spectrum_windows, windows_of
from tests.toy_frames import grid

SIDES = (60, 50)
BOTH = Frames(
    descriptor_px=16,
    standardised=False,
    stages=tuple(FrameStage(window_px=w, window_nm=2 * w) for w in (8, 16, 32)),
    dense=DenseFrames(stride_px=4),
)
IN_NM = BOTH.model_copy(update={"stages": tuple(FrameStage(window_nm=w) for w in (16, 32))})
IN_PX = BOTH.model_copy(update={"stages": tuple(FrameStage(window_px=w) for w in (8, 16)), "dense": None})


def windows(frames: Frames, wanted: Wanted) -> list[tuple[float, float, int]]:
    return [(pytest.approx(window.px), pytest.approx(window.nm), window.stage) for window in windows_of(frames, wanted, *SIDES)]


def places(frames: Frames, wanted: Wanted) -> tuple[Places, ...]:
    return places_of(frames, wanted, windows_of(frames, wanted, *SIDES), *SIDES)


def test_without_windows_each_stage_has_its_own_in_nm_where_the_pixel_size_is_known() -> None:
    assert windows(BOTH, Wanted()) == [(8, 0, 1), (16, 0, 2), (32, 0, 3)]
    assert windows(BOTH, Wanted(pixel_size_nm=4)) == [(4, 16, 1), (8, 32, 2), (16, 64, 3)]
    assert windows(IN_PX, Wanted(pixel_size_nm=4)) == [(8, 32, 1), (16, 64, 2)]
    assert windows(BOTH, Wanted(stage=2)) == [(16, 0, 2)]


def test_a_window_is_encoded_by_the_stage_that_is_nearest_in_log_length() -> None:
    between = math.sqrt(8 * 16)
    assert windows(BOTH, Wanted(window_px=(between - 0.01, between + 0.01, 1, 50))) == [
        (between - 0.01, 0, 1),
        (between + 0.01, 0, 2),
        (1, 0, 1),
        (50, 0, 3),
    ]
    # By nm where the pixel size is known: 8 px of 8 nm are the greatest stage's 64 nm.
    assert windows(BOTH, Wanted(window_px=(8,), pixel_size_nm=8)) == [(8, 64, 3)]
    assert windows(BOTH, Wanted(window_nm=(40,), pixel_size_nm=2.5)) == [(16, 40, 2)]
    assert windows(BOTH, Wanted(window_px=(8,), stage=3)) == [(8, 0, 3)]


@pytest.mark.parametrize(
    ("frames", "wanted", "field"),
    [
        pytest.param(BOTH, Wanted(window_px=(51,)), "window_px", id="window larger than the frame"),
        pytest.param(BOTH, Wanted(window_nm=(200,), pixel_size_nm=3), "window_nm", id="window in nm larger than the frame"),
        pytest.param(BOTH, Wanted(window_px=(0.0,)), "window_px", id="window of no length"),
        pytest.param(BOTH, Wanted(window_px=(8, 1e-60)), "window_px", id="window of next to no length"),
        pytest.param(BOTH, Wanted(window_px=(8.0,) * 257), "window_px", id="too many lengths"),
        pytest.param(BOTH, Wanted(window_px=(1e300,)), "window_px", id="window beyond float32"),
        pytest.param(BOTH, Wanted(window_nm=(1e-300,), pixel_size_nm=1e10), "window_nm", id="window in nm of next to no length"),
        pytest.param(BOTH, Wanted(window_px=(8,), pixel_size_nm=1e-300), "pixel_size_nm", id="pixel size of next to nothing"),
        pytest.param(BOTH, Wanted(window_px=(8,), pixel_size_nm=math.nan), "pixel_size_nm", id="pixel size that is no number"),
        pytest.param(BOTH, Wanted(window_nm=(math.nan,), pixel_size_nm=1), "window_nm", id="window that is no number"),
        pytest.param(BOTH, Wanted(window_px=(8,), window_nm=(8,), pixel_size_nm=1), "window_nm", id="windows in both units"),
        pytest.param(BOTH, Wanted(window_nm=(8,)), "pixel_size_nm", id="pixel size missing where a physical window is asked"),
        pytest.param(BOTH, Wanted(pixel_size_nm=-1), "pixel_size_nm", id="pixel size below zero"),
        pytest.param(BOTH, Wanted(pixel_size_nm=math.inf), "pixel_size_nm", id="pixel size without end"),
        pytest.param(IN_NM, Wanted(), "pixel_size_nm", id="stages in nm and no pixel size"),
        pytest.param(IN_NM, Wanted(window_px=(8,)), "pixel_size_nm", id="stages in nm, no pixel size, stage to be chosen"),
        pytest.param(BOTH, Wanted(stage=4), "stage", id="no such stage"),
        pytest.param(BOTH, Wanted(stage=-1), "stage", id="stage below zero"),
        pytest.param(BOTH, Wanted(stride_px=-1), "stride_px", id="stride below zero"),
        pytest.param(BOTH, Wanted(stride_px=math.nan), "stride_px", id="stride that is no number"),
        pytest.param(BOTH, Wanted(stride_px=1e-300), "stride_px", id="stride of next to nothing"),
        pytest.param(BOTH, Wanted(stride_px=2, centres_px=np.full((1, 2), 25.0)), "stride_px", id="stride and centres"),
        pytest.param(BOTH, Wanted(centres_px=np.full((1, 2), 25)), "centres_px", id="centres of another dtype"),
        pytest.param(BOTH, Wanted(centres_px=np.zeros((0, 2))), "centres_px", id="no centre"),
        pytest.param(BOTH, Wanted(centres_px=np.full((2, 3), 25.0)), "centres_px", id="centres of three numbers"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(frames: Frames, wanted: Wanted, field: str) -> None:
    with pytest.raises((InvalidFieldError, InvalidTensorError)) as found:
        places(frames, wanted)
    assert found.value.field == field


@pytest.mark.parametrize("bad", [(15.9, 25.0), (25.0, 34.1), (math.nan, 25.0), (-3.0, 25.0)])
def test_a_window_that_reaches_over_the_border_is_refused_with_its_row(bad: tuple[float, float]) -> None:
    wanted = Wanted(window_px=(32, 4), centres_px=np.array([[16.0, 16.0], bad, [44.0, 34.0]]))
    with pytest.raises(DichroicError) as found:
        places(BOTH, wanted)
    assert (found.value.field, found.value.row) == ("centres_px", 1)
    within = replace(wanted, centres_px=np.array([[16.0, 16.0], [44.0, 34.0]]))
    assert [place.count for place in places(BOTH, within)] == [2, 2]


@pytest.mark.parametrize(
    ("bad", "told"),
    [((-5.0, 100.0), "row -5 and column 100,"), ((61.5, 25.0), "row 61.5 and column 25,"), ((30.0, -0.25), "row 30 and column -0.25,")],
)
def test_a_centre_outside_the_frame_is_told_as_such_with_its_place_and_the_frames_size(bad: tuple[float, float], told: str) -> None:
    # A centre too near the border comes before it: being outside is told first.
    centres = np.array([[30.0, 25.0], [1.0, 25.0], bad])
    for largest in (0.0, 8.0):
        with pytest.raises(InvalidTensorError, match=f"centre 2 .*{told} is outside the frame of 60 x 50 px") as found:
            checked_centres(centres, largest, *SIDES)
        assert (found.value.field, found.value.row) == ("centres_px", 2)
        assert "window" not in found.value.message
    corners = np.array([[0.0, 0.0], [60.0, 50.0]])
    assert checked_centres(corners, 0.0, *SIDES) is corners


@pytest.mark.parametrize(("window", "stride"), [(8, 3.0), (7.5, 1.75), (50, 4.0), (10, 10.0), (8, 4.0), (0.5, 5.3)])
def test_a_grid_begins_at_half_a_window_and_goes_on_while_it_is_inside(window: float, stride: float) -> None:
    (place,) = places(IN_PX, Wanted(window_px=(window,), stride_px=stride))
    told = grid(*SIDES, window, stride)
    np.testing.assert_allclose(place.centres(), told)
    assert place.count == len(told) == place.rows * place.columns
    assert place.dense_steps == 0


def test_a_grid_without_a_stride_has_the_dense_encoders_or_a_quarter_of_the_window() -> None:
    (dense,) = places(BOTH, Wanted(window_px=(24,)))
    assert (dense.stride_px, dense.dense_steps) == (6, 1)
    (small,) = places(BOTH, Wanted(window_px=(7.9,)))  # the frame would be enlarged more than twice
    assert (small.stride_px, small.dense_steps) == (pytest.approx(7.9 / 4), 0)
    (other,) = places(IN_PX, Wanted(window_px=(24,)))
    assert (other.stride_px, other.dense_steps) == (6, 0)


@pytest.mark.parametrize(("stride", "steps"), [(4.0, 1), (8.0, 2), (12.0, 3), (16.0, 4), (20.0, 0), (6.0, 0), (2.0, 0), (4.0001, 0)])
def test_a_grid_on_the_dense_encoders_map_is_told(stride: float, steps: int) -> None:
    (place,) = places(BOTH, Wanted(window_px=(16,), stride_px=stride))
    assert place.dense_steps == steps


def test_a_window_is_what_float32_makes_of_it_and_so_is_the_dense_encoders_grid() -> None:
    # 102.4 fits ten times to the last digit; as float32 it is longer, and the last row of a grid counted in float64 would not be in the graph's.
    wanted = Wanted(window_px=(102.4,), stride_px=25.6)
    (place,) = places_of(BOTH, wanted, windows_of(BOTH, wanted, 1024, 1024), 1024, 1024)
    assert place.window.px == float(np.float32(102.4)) > 102.4
    assert (place.rows, place.dense_steps) == (36, 1)
    assert place.centres()[-1, 0] + place.window.px / 2 <= 1024 + 1e-6


def test_centres_that_are_given_are_not_on_a_map() -> None:
    (place,) = places(BOTH, Wanted(window_px=(16,), centres_px=grid(*SIDES, 16, 4)))
    assert (place.rows, place.columns, place.dense_steps) == (0, 0, 0)


def test_a_spectrum_that_names_no_windows_has_16_over_what_stages_and_frame_allow() -> None:
    far = np.array([[30.0, 25.0], [30.0, 24.0]])
    found = np.array(spectrum_windows(BOTH, far, 0.0, *SIDES))
    assert (len(found), found[0]) == (16, 4)
    assert found[-1] == pytest.approx(32)  # the greatest stage's
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(8) / 15)
    assert spectrum_windows(BOTH, np.array([[30.0, 13.0]]), 0.0, *SIDES)[-1] == pytest.approx(26)  # the point's reach
    with pytest.raises(InvalidTensorError, match="row 1") as error:
        spectrum_windows(BOTH, np.array([[30.0, 25.0], [1.0, 25.0]]), 0.0, *SIDES)
    assert error.value.row == 1
