from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import resample as module
from training.data.resample import axis_weights, resample, tap_count, touched_pixels
from training.errors import InputError

FRAME = np.random.default_rng(0).normal(size=(40, 50, 2))
lengths = st.floats(1.0, 38.0)
sizes = st.sampled_from([1, 5, 8, 16])


def centre_for(window: float, down: float, right: float) -> np.ndarray:
    """Somewhere inside the frame."""
    free = np.array(FRAME.shape[:2]) - window
    return (window / 2 + free * (down, right))[None]


@settings(max_examples=60, deadline=None)
@given(lengths, st.floats(0, 1), st.floats(0, 1), sizes)
def test_rows_of_the_matrices_sum_to_one_and_a_constant_stays_one(window: float, down: float, right: float, size: int) -> None:
    centre = centre_for(window, down, right)
    weights = axis_weights(centre[:, 0], window, size)[1]
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
    assert weights.shape == (1, size, tap_count(window))
    assert (weights >= 0).all()
    np.testing.assert_allclose(resample(np.full((40, 50, 1), 3.7), centre, np.array([window]), size), 3.7, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(lengths, st.floats(0, 1), st.floats(0, 1), sizes)
def test_agrees_with_the_whole_matrices_of_the_definition(window: float, down: float, right: float, size: int) -> None:
    centre = centre_for(window, down, right)
    expected = np.einsum("iy,yxc,jx->ijc", defined(centre[0, 0], window, size, 40), FRAME, defined(centre[0, 1], window, size, 50))
    np.testing.assert_allclose(resample(FRAME, centre, np.array([window]), size)[0], expected, atol=1e-10)


def defined(centre: float, window: float, size: int, side: int) -> np.ndarray:
    """A (d, h), loop by loop as the definition reads."""
    matrix, step, start = np.zeros((size, side)), window / size, centre - window / 2
    for i in range(size):
        if window >= size:
            low = start + i * step
            for y in range(side):
                matrix[i, y] = max(0.0, min(low + step, y + 1) - max(low, y)) / step
            continue
        position = start + (i + 0.5) * step - 0.5
        before = int(np.floor(position))
        matrix[i, min(max(before, 0), side - 1)] += 1 - (position - before)
        matrix[i, min(max(before + 1, 0), side - 1)] += position - before
    return matrix


def test_a_window_of_the_descriptors_own_size_at_whole_pixels_is_the_plain_crop() -> None:
    found = resample(FRAME, np.array([[4.0, 6.0], [36.0, 46.0]]), np.array([8.0, 8.0]), 8)
    np.testing.assert_array_equal(found, np.stack([FRAME[:8, 2:10], FRAME[32:, 42:]]))


@pytest.mark.parametrize("window", [5.5, 8.0, 21.3])
def test_moving_the_frame_and_the_centre_moves_nothing(window: float) -> None:
    centres = np.array([[14.2, 15.9], [16.0, 20.5]])
    moved = np.roll(FRAME, (3, 4), axis=(0, 1))  # what comes round stays outside these windows
    first, second = (resample(each, at, np.full(2, window), 8) for each, at in ((FRAME, centres), (moved, centres + np.array([3, 4]))))
    np.testing.assert_allclose(first, second, atol=1e-12)


@pytest.mark.parametrize("window", [16.0, 17.7, 31.4])
def test_shrinking_preserves_the_mean_over_the_window_with_its_fractional_edges(window: float) -> None:
    centre = np.array([20.3, 24.6])
    covered = [np.minimum(c + window / 2, np.arange(s) + 1) - np.maximum(c - window / 2, np.arange(s)) for c, s in zip(centre, (40, 50), strict=True)]
    down, right = (each.clip(0) for each in covered)
    expected = np.einsum("y,yxc,x->c", down, FRAME, right) / window**2
    np.testing.assert_allclose(resample(FRAME, centre[None], np.array([window]), 16)[0].mean(axis=(0, 1)), expected, atol=1e-12)


def test_both_filters_agree_where_they_meet() -> None:
    centre = np.array([[20.3, 24.6]])
    shrunk, enlarged = (resample(FRAME, centre, np.array([window]), 16) for window in (16.0, 16.0 - 1e-9))
    np.testing.assert_allclose(shrunk, enlarged, atol=1e-7)


def test_enlarging_a_ramp_gives_the_ramp_and_sees_beyond_its_window() -> None:
    ramp = np.arange(40.0)[:, None, None] * np.ones((1, 40, 1))
    found = resample(ramp, np.array([[20.0, 20.0]]), np.array([4.0]), 8)[0, :, 0, 0]
    # Linear throughout, up to the first position, which lies outside the middles of the window's own pixels.
    np.testing.assert_allclose(found, 18 + (np.arange(8) + 0.5) / 2 - 0.5, atol=1e-12)


def test_at_the_frames_border_enlarging_clamps() -> None:
    ramp = np.arange(40.0)[:, None, None] * np.ones((1, 40, 1))
    found = resample(ramp, np.array([[2.0, 20.0]]), np.array([4.0]), 8)[0, :, 0, 0]
    np.testing.assert_allclose(found[:2], [0.0, 0.25], atol=1e-12)


def test_chunks_and_mixed_lengths_give_what_one_window_at_a_time_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    windows = rng.choice([5.25, 8.0, 20.5], 40)
    centres = windows[:, None] / 2 + (np.array([40, 50]) - windows[:, None]) * rng.random((40, 2))
    one_by_one = np.concatenate([resample(FRAME, centres[row : row + 1], windows[row : row + 1], 8) for row in range(40)])
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 3000)
    np.testing.assert_allclose(resample(FRAME, centres, windows, 8), one_by_one, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(lengths, st.floats(0, 1), sizes)
def test_a_descriptor_depends_on_the_pixels_it_is_said_to_touch_and_on_no_others(window: float, down: float, size: int) -> None:
    centre = centre_for(window, down, 0.5)[:, 0]
    first, last = touched_pixels(centre, window, size, 40)
    used = np.flatnonzero(defined(float(centre[0]), window, size, 40).max(axis=0) > 2e-6)
    assert first[0] <= used[0]
    assert used[-1] < last[0]
    assert used[0] - first[0] <= 1
    assert last[0] - used[-1] <= 2


@pytest.mark.parametrize("centre", [(3.9, 20.0), (20.0, 46.1), (36.1, 20.0), (20.0, 3.9)])
def test_a_window_that_stands_out_of_the_frame_is_refused(centre: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="1 of 2 windows do not lie inside") as caught:
        resample(FRAME, np.array([(20.0, 20.0), centre]), np.array([8.0, 8.0]), 8)
    assert caught.value.reason == "WINDOW_OUTSIDE_FRAME"
    resample(FRAME, np.array([[4.0 - 5e-7, 46.0 + 5e-7]]), np.array([8.0]), 8)


@pytest.mark.parametrize(
    ("centres", "windows", "size"), [([[20, 20]], [0.0], 8), ([[20, 20]], [8.0, 8.0], 8), ([[np.nan, 20]], [8.0], 8), ([], [], 0)]
)
def test_windows_that_are_none_are_refused(centres: list[list[float]], windows: list[float], size: int) -> None:
    with pytest.raises(InputError) as caught:
        resample(FRAME, np.array(centres), np.array(windows), size)
    assert caught.value.reason == "INVALID_WINDOW"
