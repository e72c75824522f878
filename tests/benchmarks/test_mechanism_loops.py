from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.mechanism_loops import HALF_WIDTH, Side, _side, page_of


def side() -> Side:
    k = 2 * HALF_WIDTH + 1
    grid = np.array([20, 25])
    patches = np.full((500, k, k), 5.0, dtype=np.float32)
    patches[:, 1:4, 1:4] = 2.0
    patches[:, 1, 1] = 10.0
    patches[:, 2, 2] = np.nan  # the place itself: nobody may look
    place = np.arange(500)
    arrays = {"place": place, "grid": grid, "neighbours": patches, "position_um": np.zeros((500, 2)), "y": place.astype(float)}
    return _side(arrays, np.arange(3, 490))


def test_surroundings_are_mean_and_median_near_and_beyond_without_the_place_itself() -> None:
    made = side()
    np.testing.assert_allclose(made.surroundings[0], [3.0, 5.0, 2.0, 5.0])
    assert np.isfinite(made.flat).all()
    assert made.flat.shape == (487, 24 + 2)
    np.testing.assert_array_equal(made.y, np.arange(3, 490))


def test_tiles_are_squares_of_the_map() -> None:
    tile = side().tile
    place = np.arange(3, 490)
    for one in np.unique(tile):
        row, column = np.divmod(place[tile == one], 25)
        assert np.ptp(row) < 10
        assert np.ptp(column) < 10
    assert len(np.unique(tile)) == 6


def test_the_page_counts_who_is_better_and_whether_the_interval_covers(tmp_path: Path) -> None:
    for seed, (mine, theirs, covered) in enumerate([(1.0, 1.1, 0.9), (1.0, 0.9, 0.84)]):
        figures = {
            "ours": {"nlpd": mine, "coverage_90_y": covered, "r2": 0.3},
            "plain GP": {"nlpd": theirs, "coverage_90_y": 0.9, "r2": 0.2},
        }
        row = {"case": "loops-imprint", "failed": "out", "seed": seed, "unit": "V", "source": "x.h5", "figures": figures, "leakage": {"a_to_b": 0.1}}
        (tmp_path / f"loops-imprint-out-{seed}.json").write_text(json.dumps(row), encoding="utf-8")
    page = page_of(tmp_path)
    assert "| imprint (V) | out | ours | 1.000, 1.000 | 0.900, 0.840 | 0.300, 0.300 | covered: no |" in page
    assert "| plain GP | 1.100, 0.900 | 0.900, 0.900 | 0.200, 0.200 | ours better in 1 of 2 |" in page
    assert "a_to_b: 0.100, 0.100" in page
