"""Windows that touch a pixel which is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from services.latent.validity import touched_before, valid_windows


def by_hand(frame: np.ndarray, centre: np.ndarray, window: float, side: int) -> bool:
    """Every pixel that has a weight is finite: overlaps, or the two neighbours of each sample."""
    finite = np.isfinite(frame) if frame.ndim == 2 else np.isfinite(frame).all(axis=2)
    taken = []
    for at, length in zip(centre, finite.shape, strict=True):
        low, step = at - window / 2, window / side
        if window >= side:
            taken.append([y for y in range(length) if min(low + window, y + 1) - max(low, y) > 1e-6])
        else:
            samples = [int(np.floor(low + (i + 0.5) * step - 0.5 + 1e-6)) for i in range(side)]
            taken.append(sorted({min(max(y, 0), length - 1) for sample in samples for y in (sample, sample + 1)}))
    return bool(finite[np.ix_(*taken)].all())


@pytest.mark.parametrize("window", [2.0, 3.3, 5.0, 6.0, 6.5, 11.0])
@pytest.mark.parametrize("channels", [0, 2])
def test_a_window_is_valid_when_all_that_it_is_made_of_is_finite(window: float, channels: int) -> None:
    random = np.random.default_rng(int(10 * window) + channels)
    frame = random.random((27, 24, channels) if channels else (27, 24)).astype(np.float32)
    frame[3, 4], frame[11, 9], frame[26, 23] = np.nan, np.inf, -np.inf
    centres = random.uniform(window / 2, np.array([27, 24]) - window / 2, (200, 2))
    found = valid_windows(touched_before(frame), centres, window, 6)
    told = [by_hand(frame, centre, window, 6) for centre in centres]
    assert found.tolist() == told
    assert 0 < sum(told) < 200


def test_windows_on_whole_pixels_touch_no_neighbour_by_rounding() -> None:
    frame = np.zeros((9, 9), np.float32)
    frame[2], frame[:, 6] = np.nan, np.nan
    centres = np.array([[0.1 * 30 + 1.5, 4.5]])
    assert valid_windows(touched_before(frame), centres, 3.0, 3).tolist() == [True]
    assert valid_windows(touched_before(frame), centres - [0.01, 0], 3.0, 3).tolist() == [False]


def test_one_bad_channel_makes_a_pixel_bad_and_integers_are_always_good() -> None:
    frame = np.zeros((4, 4, 3), np.float32)
    assert touched_before(frame) is None
    frame[1, 1, 2] = np.nan
    assert valid_windows(touched_before(frame), np.array([[1.0, 1.0], [3.0, 3.0]]), 2.0, 2).tolist() == [False, True]
    assert touched_before(np.zeros((4, 4), np.uint8)) is None
    assert valid_windows(None, np.ones((3, 2)), 1.0, 2).all()
