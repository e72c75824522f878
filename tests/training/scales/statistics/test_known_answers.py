"""Frames with known answers, resampled as training does it, then told by the statistics: stripes and white noise."""

import numpy as np
import pytest

from training.data.resample import resample
from training.scales.statistics.explained import axes_explained, second_axis_share, stripes_second_axis_share

SIDE = 16


def first_scores(rows, count):
    """Latents of a linear model: the first principal components."""
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return left[:, :count] * singular[:count]


def stripe_windows(period, window):
    """(2·period, 16·16) descriptors of one row of windows, a pixel apart, over two whole periods of vertical stripes."""
    height = int(np.ceil(window)) + 1
    columns = np.arange(2 * period + height) + 0.5
    frame = np.broadcast_to(np.cos(2 * np.pi * columns / period + 0.3), (height, len(columns)))[..., None]
    centres = np.stack([np.full(2 * period, window / 2), window / 2 + np.arange(2 * period)], axis=1)
    return resample(frame, centres, np.full(2 * period, window), SIDE).reshape(2 * period, -1)


@pytest.mark.parametrize("period", [24, 40, 64])
def test_resampled_stripes_have_the_known_share_of_the_second_axis(period):
    windows = period * np.array([0.2, 0.3, 0.4, 0.5, 0.7, 1.0])  # of no whole number of pixels, enlarged and shrunk
    found = []
    for window in windows:
        x = stripe_windows(period, float(window))
        shares = axes_explained(first_scores(x, 3), x)
        assert shares[:2].sum() == pytest.approx(1, abs=0.02)  # linear between pixels is not quite a cosine
        found.append(second_axis_share(shares))
    assert found == pytest.approx(stripes_second_axis_share(windows, period), abs=0.03)
    assert (np.diff(found[:4]) > 0).all()
    assert found[3] == pytest.approx(0.5, abs=0.02)


def test_the_descriptors_of_white_noise_lose_variance_with_the_square_of_the_window():
    frame = np.random.default_rng(0).normal(size=(256, 256, 1))
    windows = np.array([12.0, 17.3, 24.0, 35.5, 64.0])
    centres = np.random.default_rng(1).uniform(32, 224, (400, 2))
    variances = [resample(frame, centres, np.full(400, window), 8).var() for window in windows]
    assert np.polyfit(np.log(windows), np.log(variances), 1)[0] == pytest.approx(-2, abs=0.3)
