from __future__ import annotations

import math

import pytest

from benchmarks.scales_known_page import page_of as known_page
from benchmarks.scales_known_page import reaches_half
from benchmarks.scales_order_page import page_of as order_page


def stripes(shares: list[float], active: int = 2) -> dict[str, object]:
    stages = [
        {"window_px": window * 16.0, "share": share, "known": known, "active": active, "variance": [1.0], "held_out": 9}
        for window, share, known in zip((0.25, 0.5, 1.0), shares, (0.18, 0.5, 0.5), strict=True)
    ]
    return {"kind": "stripes", "period_px": 16.0, "seed": 0, "stages": stages}


def noise(slope: float, active: int) -> dict[str, object]:
    stages = [{"window_px": step * 16.0, "active": count, "variance": [0.02 * count]} for step, count in ((0.5, 3), (1.0, active), (2.0, 0))]
    return {"kind": "noise", "period_px": None, "seed": 0, "slope": slope, "slope_of_boxes": -1.7, "stages": stages}


def last_cell(page: str, start: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(start)).split("|")[-2].strip()


def test_where_a_share_comes_up_to_half_is_interpolated() -> None:
    assert reaches_half([1.0, 2.0, 3.0], [0.2, 0.4, 0.5]) == pytest.approx(2.5)
    assert reaches_half([1.0, 2.0], [0.46, 0.5]) == 1.0
    assert math.isnan(reaches_half([1.0, 2.0], [0.2, 0.3]))


@pytest.mark.parametrize(
    ("shares", "active", "met"),
    [([0.19, 0.49, 0.47], 2, "yes"), ([0.46, 0.49, 0.47], 2, "no"), ([0.19, 0.3, 0.47], 2, "no"), ([0.19, 0.49, 0.47], 3, "no")],
)
def test_stripes_meet_their_answer_where_the_share_and_the_units_do(shares: list[float], active: int, met: str) -> None:
    assert last_cell(known_page([stripes(shares, active)], descriptor=16, noise_sd=2.0), "| 16 | 0 |") == met


@pytest.mark.parametrize(("slope", "active", "met"), [(-1.8, 0, "yes"), (-1.6, 0, "no"), (-2.0, 1, "no")])
def test_noise_meets_its_answer_by_slope_and_by_units_at_windows_that_are_not_enlarged(slope: float, active: int, met: str) -> None:
    assert last_cell(known_page([noise(slope, active)], descriptor=16, noise_sd=2.0), "| 0 |") == met


def order_rows(progressive: list[float]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for order, values in (("progressive", progressive), ("single", [10.0, 11.0, 12.0, 13.0])):
        for seed, value in enumerate(values):
            told = {"steps": 8, "windows": ["4 px", "8 px"], "negative_elbo": [5.0, value], "active": [1, 2]}
            rows.append({"recipe": "toy", "seed": seed, "order": order, **told})
    return rows


@pytest.mark.parametrize(
    ("progressive", "told"),
    [([9.0, 10.1, 11.0, 12.1], "| -0.95 (0.03) | yes |"), ([11.0, 12.1, 13.0, 14.1], "| +1.05 (0.03) | no |"), ([9.0, 10.1], "2 of 3 seeds")],
)
def test_orders_are_compared_seed_by_seed(progressive: list[float], told: str) -> None:
    page = order_page(order_rows(progressive))
    assert told in page
    assert "| toy | single | 4 | 8 | 4 px: 5.00 (0.00); 8 px: 11.50 (1.29) | 1.0, 2.0 |" in page


def test_what_has_fewer_seeds_than_its_row_says_so() -> None:
    rows = order_rows([9.0, 10.1, 11.0])
    rows += [row | {"order": "joint"} for row in rows[:2]] + [row | {"order": "reverse"} for row in rows[:1]]
    longest, *every = (line.split(" | ") for line in order_page(rows).splitlines() if line.startswith("| toy |"))
    assert longest[2:4] == ["4", "10.03 (1.00), 3 seeds"]  # four of *single*, so that the row has four
    assert longest[4:7] == ["", "", "0 of 3 seeds"]
    assert longest[7:9] == ["11.50 (1.29)", "-0.97 (0.03), 3 seeds"]
    assert longest[10:] == ["9.55 (0.78), 2 seeds", "9.00, 1 seed |"]
    assert {row[1]: row[2] for row in every} == {"progressive": "3", "single": "4", "joint": "2", "reverse": "1"}
