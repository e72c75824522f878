"""Correlation lengths of fields whose autocorrelation is known."""

import numpy as np
import pytest

from training.scales.statistics.correlation import correlation_length


def drawn_field(side, spectrum, seed=0, kept=None):
    """A cut of a periodic Gaussian field with the given power spectrum of |k| (rad/px)."""
    rows = 2 * np.pi * np.fft.fftfreq(side)
    k = np.hypot(rows[:, None], rows[None, :])
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=(side, side)))
    return np.fft.ifft2(noise * np.sqrt(spectrum(k))).real[: kept or side, : kept or side]


@pytest.mark.parametrize("length", [3.0, 6.0])
def test_an_autoregressive_fields_length_is_that_of_its_exponential(length):
    # exp(−r/ξ) in two dimensions has the spectrum (1 + k²ξ²)^(−3/2)
    found = correlation_length(drawn_field(600, lambda k: (1 + (k * length) ** 2) ** -1.5, kept=500))
    assert found.length_px == pytest.approx(length, rel=0.1)
    assert np.isnan(found.length_nm)


def test_a_smoothed_fields_length_is_twice_its_widths_and_comes_in_both_units():
    # noise smoothed by a Gaussian of sd s: exp(−r²/4s²), 1/e at 2s
    found = correlation_length(drawn_field(512, lambda k: np.exp(-((k * 3.0) ** 2)), seed=3), stride_px=2.5, pixel_size_nm=4.0)
    assert found.length_px == pytest.approx(2 * 3.0 * 2.5, rel=0.05)
    assert found.length_nm == pytest.approx(found.length_px * 4)
    assert found.distance_px[1] == pytest.approx(2.5 * np.mean([1, np.sqrt(2)]), rel=0.05)


def test_rows_of_an_autoregressive_process_cross_between_two_rings():
    # constant down, AR(1) across: C = ρ^|dx|, so along one row of the plane the length is −1/ln ρ; the ring's mean is known by counting
    rng = np.random.default_rng(5)
    rho, steps = 0.9, rng.normal(size=(1, 6000))
    line = np.zeros(6000)
    for index in range(1, 6000):
        line[index] = rho * line[index - 1] + steps[0, index]
    found = correlation_length(np.repeat(line[None, :], 60, axis=0))
    lag = np.arange(-31, 32)
    radius = np.rint(np.hypot(lag[:, None], lag[None, :]))
    pairs = (60 - np.abs(lag))[:, None] * np.ones(63)
    for ring in (1, 5, 10):
        chosen = radius == ring
        expected = (pairs * rho ** np.abs(lag)[None, :])[chosen].sum() / pairs[chosen].sum()
        assert found.autocorrelation[ring] == pytest.approx(expected, abs=0.06)


def test_opposite_edges_are_no_neighbours():
    ramp = np.tile(np.linspace(-1, 1, 64), (64, 1))
    x = ramp[0]
    expected = [(x[: 64 - lag] * x[lag:]).mean() / (x**2).mean() for lag in (0, 1)]
    rings = correlation_length(ramp).autocorrelation
    # the first ring: 2 lags across, 2 down (1 each), 4 askew, weighed by their pairs
    pairs = np.array([2 * 64 * 63, 2 * 63 * 64, 4 * 63 * 63])
    assert rings[1] == pytest.approx((pairs * [expected[1], 1.0, expected[1]]).sum() / pairs.sum(), abs=1e-9)


def test_missing_values_are_left_out():
    field = drawn_field(256, lambda k: np.exp(-((k * 4.0) ** 2)), seed=1)
    holed = field.copy()
    holed[np.random.default_rng(2).random(field.shape) < 0.3] = np.nan
    assert correlation_length(holed).length_px == pytest.approx(correlation_length(field).length_px, rel=0.05)


def test_angles_are_compared_as_points_on_the_circle():
    field = 3 * drawn_field(256, lambda k: np.exp(-((k * 4.0) ** 2)), seed=1)
    angles = np.exp(1j * field)
    assert correlation_length(angles).length_px == pytest.approx(correlation_length(np.exp(1j * (field + 2.0))).length_px)
    assert correlation_length(angles).length_px > 1


def test_white_noise_falls_within_the_first_ring_and_what_never_falls_has_no_length():
    assert correlation_length(np.random.default_rng(0).normal(size=(100, 100))).length_px < 1.2
    assert np.isnan(correlation_length(np.full((8, 8), 0.1)).length_px)
    assert np.isnan(correlation_length(np.full((8, 8), np.nan)).length_px)


@pytest.mark.parametrize(("values", "stride", "words"), [(np.zeros(5), 1, "2 × 2"), (np.zeros((1, 9)), 1, "2 × 2"), (np.zeros((4, 4)), 0, "above 0")])
def test_what_is_no_map_is_refused(values, stride, words):
    with pytest.raises(ValueError, match=words):
        correlation_length(values, stride)
