"""The cross-scale test on scans whose answer is known: one field seen with two pixel sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scales_cross import Components, Scan, compared, drawn_windows, radial_profile, radial_spectrum, ratio_of
from benchmarks.scales_cross_page import median_ratio, page_of
from training.data.resample import resample


def field(seed: int, side: int, width: float) -> Any:
    """Noise smoothed to features of `width` pixels, mean 0 and standard deviation 1."""
    rows = 2 * np.pi * np.fft.fftfreq(side)
    smooth = np.exp(-(width**2) * (rows[:, None] ** 2 + rows[None] ** 2) / 2)
    values = np.fft.ifft2(np.fft.fft2(np.random.default_rng(seed).normal(size=(side, side))) * smooth).real
    return (values - values.mean()) / values.std()


def seen(seed: int, pixel_size_nm: float) -> Scan:
    """A field with features of 30 nm in pixels of a given size."""
    return Scan(f"field {seed}", field(seed, 256, 30 / pixel_size_nm), pixel_size_nm)


@pytest.mark.parametrize("describe", [radial_profile, radial_spectrum])
def test_one_field_with_two_pixel_sizes_is_alike_at_equal_length_and_not_at_equal_pixels(describe: Any) -> None:
    fine, coarse = seen(0, 2.0), seen(1, 6.0)
    encoder = Components("components", describe, [fine, coarse])
    rows = compared(encoder, [fine], [coarse], 1000, 0)
    assert [row["length_nm"] for row in rows] == pytest.approx(np.geomspace(48, 128, 5))
    assert rows[0]["windows_px"] == pytest.approx([8, 24])
    assert median_ratio(rows) < 0.3
    swapped = compared(encoder, [Scan("as it says", coarse.values, 2.0)], [Scan("as well", fine.values, 6.0)], 1000, 0)
    assert median_ratio(swapped) > 1  # told the other's pixel size


@pytest.mark.parametrize("describe", [radial_profile, radial_spectrum])
def test_descriptions_do_not_change_when_a_window_is_turned(describe: Any) -> None:
    windows = np.random.default_rng(0).normal(size=(5, 16, 16))
    for turns in (1, 2, 3):
        np.testing.assert_allclose(describe(np.rot90(windows, turns, axes=(1, 2))), describe(windows), atol=1e-9)
    assert np.abs(describe(windows) - describe(windows[::-1])).max() > 0.1


def test_windows_are_drawn_without_repetition_and_inside() -> None:
    scan = Scan("scan", np.zeros((40, 60)), 1.0)
    centres, windows = drawn_windows(scan, 9.5, 31 * 51, 0)  # all there are
    assert len(np.unique(centres, axis=0)) == 31 * 51
    resample(scan.values[..., None], centres, windows, 4)  # refuses what lies outside
    with pytest.raises(SystemExit, match="fewer than"):
        drawn_windows(scan, 9.5, 31 * 51 + 1, 0)


def test_the_ratio_is_to_the_geometric_mean_and_unknown_where_equal_pixels_are_alike() -> None:
    assert ratio_of(0.1, [0.2, 0.8]) == pytest.approx(0.25)
    assert ratio_of(-0.01, [0.2, 0.8]) == 0
    assert ratio_of(0.1, [-0.001, 0.8]) is None


def test_the_page_takes_the_median_pair_and_counts_an_unknown_ratio_as_the_worst(tmp_path: Path) -> None:
    ratios = {"1 and 3 µm": [0.2, 0.3, None], "3 and 5 µm": [2.0, 2.0, 2.0], "1 and 5 µm": [0.36, 0.36, 0.36], "1 and 1 µm": [1.0, 1.0, 1.0]}
    rows = [
        {"pair": pair, "seed": seed, "length_nm": 100.0, "physical": 0.1, "pixel": [0.2, 0.8], "ratio": each}
        for pair, found in ratios.items()
        for seed, each in enumerate(found)
    ]
    (tmp_path / "cross-x.json").write_text(json.dumps({"encoder": "x", "channel": "A", "windows": 9, "rows": rows}), encoding="utf-8")
    page = page_of(tmp_path)
    assert "| x | A | 1 and 3 µm | 100 to 100 | 0.100 | 0.400 | 0.30 (0.20 to inf) | 0.55 |" in page
    assert "| x | A | 1 and 1 µm | 100 to 100 | 0.100 | the same | – | – |" in page
    assert "the median pair's ratio is D² 0.36, D 0.60; at most 0.5 wanted: reached by D², not reached by D; two scans" in page
    assert "two scans of one kind and size would give D² 0.25, D 0.50." in page
