"""Descriptors by torch are those of the definition, whatever the window's length and place; and by the exported graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from training.export.frame_windows import windows_graph
from training.frames.resampling import WholeFrame, Windows

Array = np.ndarray[Any, np.dtype[Any]]
GENERATOR = np.random.default_rng(0)
SIZE = 6


def by_definition(frame: Array, centre: Array, window: float, size: int) -> Array:
    """A X Bᵀ of one window, value by value, from the whole frame (h, w, c)."""
    matrices = [axis(frame.shape[side], float(centre[side]), window, size) for side in (0, 1)]
    return np.einsum("iy,yxc,jx->ijc", matrices[0], frame, matrices[1])


def axis(length: int, centre: float, window: float, size: int) -> Array:
    found, step = np.zeros((size, length)), window / size
    for row in range(size):
        low = centre - window / 2 + row * step
        if window >= size:
            for pixel in range(length):
                found[row, pixel] = max(0.0, min(low + step, pixel + 1) - max(low, pixel)) / step
        else:
            place = low + step / 2 - 0.5
            first = math.floor(place)
            for pixel, weight in ((first, first + 1 - place), (first + 1, place - first)):
                found[row, min(max(pixel, 0), length - 1)] += weight
    return found


def drawn(windows: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """A frame, and for each window a centre anywhere it lies inside; the first two in corners."""
    room = np.array(shape[:2]) - windows[:, None]
    share = GENERATOR.random((len(windows), 2))
    share[0], share[1] = 0, 1
    return GENERATOR.random(shape), windows[:, None] / 2 + share * room


def taps(windows: Array) -> torch.Tensor:
    return torch.arange(math.ceil(windows.max()) + 2)


def resampled(frame: Array, centres: Array, windows: Array, size: int) -> Array:
    found = Windows(size)(torch.from_numpy(frame), torch.from_numpy(centres), torch.from_numpy(windows), taps(windows))
    return np.asarray(found.numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [(0.3, 0.99), (1.0, 1.0), (1.0, 1.5), (1.5, 5.5)])
def test_every_window_is_resampled_as_defined(scale: tuple[float, float], channels: int) -> None:
    windows = GENERATOR.uniform(scale[0] * SIZE, scale[1] * SIZE, 40)
    frame, centres = drawn(windows, (34, 41, channels))
    found = resampled(frame, centres, windows, SIZE)
    for row, window in enumerate(windows):
        np.testing.assert_allclose(found[row], by_definition(frame, centres[row], window, SIZE), atol=1e-12)


def test_windows_of_all_lengths_do_not_touch_each_other() -> None:
    windows = GENERATOR.uniform(2, 30, 60)
    frame, centres = drawn(windows, (34, 41, 2))
    together = resampled(frame, centres, windows, SIZE)
    for row in range(60):
        np.testing.assert_allclose(together[row], resampled(frame, centres[row : row + 1], windows[row : row + 1], SIZE)[0], atol=1e-12)


def test_a_window_on_pixels_is_cut_and_a_constant_stays() -> None:
    frame, one = GENERATOR.random((20, 30, 1)), np.array([float(SIZE)])
    np.testing.assert_array_equal(resampled(frame, np.array([[8.0, 10.0]]), one, SIZE)[0], frame[5:11, 7:13])
    windows = np.array([3.3, 6.0, 11.7])
    np.testing.assert_allclose(resampled(np.full((20, 30, 1), 0.7), np.full((3, 2), 9.1), windows, SIZE), 0.7, atol=1e-12)


def test_far_from_the_corner_no_digit_is_lost() -> None:
    """float32 centres of a large frame are exact in float64, and so is the window around them."""
    frame, windows = GENERATOR.random((40, 5000, 1)), np.full(2, 21.4, np.float32)
    centres = np.array([[20, 4900.25], [20.5, 4888.875]], np.float32)
    found = resampled(frame, centres, windows, SIZE)
    for row in range(2):
        np.testing.assert_allclose(found[row], by_definition(frame, centres[row].astype(float), float(windows[0]), SIZE), atol=1e-11)


def test_a_row_that_only_pads_a_batch_spoils_no_other() -> None:
    windows = np.array([9.5, 0.0])
    frame, centres = drawn(np.full(2, 9.5), (20, 20, 1))
    found = resampled(frame, np.stack((centres[0], np.zeros(2))), windows, SIZE)
    np.testing.assert_allclose(found[0], by_definition(frame, centres[0], 9.5, SIZE), atol=1e-12)


@pytest.mark.parametrize("window", [4.2, 6.0, 7.7, 15.0])
def test_the_whole_frame_holds_every_window_of_its_grid(window: float) -> None:
    frames, step = GENERATOR.random((2, 47, 38, 2)), window / SIZE
    count = [int((side - window + 1e-6) / (2 * step)) * 2 + SIZE for side in (47, 38)]
    rows, columns = (torch.arange(each) for each in count)
    whole = WholeFrame()(torch.from_numpy(frames), torch.tensor(step, dtype=torch.float64), rows, columns, torch.arange(math.ceil(step) + 2)).numpy()
    assert whole.shape == (2, 2, *count)
    for top in range(0, count[0] - SIZE + 1, 2):
        for left in range(0, count[1] - SIZE + 1, 2):
            centre = np.array([[top * step + window / 2, left * step + window / 2]])
            for index, frame in enumerate(frames):
                part = whole[index, :, top : top + SIZE, left : left + SIZE]
                np.testing.assert_allclose(np.moveaxis(part, 0, 2), resampled(frame, centre, np.array([window]), SIZE)[0], atol=1e-12)


def test_the_graph_agrees_in_float32_for_frames_and_numbers_of_windows_of_any_size() -> None:
    session = onnxruntime.InferenceSession(windows_graph(SIZE, 1).SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, shape in ((1, (40, 41, 1)), (13, (50, 40, 1))):
        windows = GENERATOR.uniform(3, 30, rows).astype(np.float32)
        frame, centres = drawn(np.concatenate((windows, windows[:1])), shape)
        centres = centres[:rows].astype(np.float32)
        values = frame.astype(np.float32)
        given = {"values": values, "centre_px": centres, "window_px": windows, "taps": taps(windows).numpy()}
        (found,) = session.run(None, given)
        np.testing.assert_allclose(found, resampled(values.astype(float), centres, windows, SIZE), atol=1e-6)


@pytest.mark.parametrize("size", [6, 16])
def test_training_cuts_the_same_descriptors(size: int) -> None:
    resample = pytest.importorskip("training.data.resample").resample
    windows = np.concatenate((GENERATOR.uniform(2, 30, 60), [size / 2, size, 2 * size]))
    frame, centres = drawn(windows, (34, 41, 2))
    np.testing.assert_allclose(resampled(frame, centres, windows, size), resample(frame, centres, windows, size), atol=1e-12)
