from __future__ import annotations

from typing import Any

import pytest

from benchmarks.transition_serving import judged, summary, table_of
from benchmarks.turns import turn_by_turn


async def test_who_goes_first_changes_with_every_turn() -> None:
    asked: list[tuple[str, int]] = []

    def noting(name: str) -> Any:
        async def call(turn: int) -> None:
            asked.append((name, turn))

        return call

    took = await turn_by_turn({"service": noting("service"), "echo": noting("echo")}, 3)
    assert asked == [("service", 0), ("echo", 0), ("echo", 1), ("service", 1), ("service", 2), ("echo", 2)]
    assert {name: len(ms) for name, ms in took.items()} == {"service": 3, "echo": 3}


@pytest.mark.parametrize(("above", "verdict"), [((0.5, 0.9, 0.55), "met"), ((0.5, 0.9, 0.65), "missed")])
def test_the_median_round_is_judged_and_the_spread_is_told(above: tuple[float, ...], verdict: str) -> None:
    # The difference of the medians would be another: services and echoes of different rounds.
    row = {"case": "one state", "states": 1, **summary([one_round(echo, each) for echo, each in zip((1.0, 2.0, 0.5), above, strict=True)])}
    assert judged(row) == f"in process ≤ 0.2: met; above echo ≤ 0.6: {verdict}"
    page = table_of(
        {"cpus": 2, "load_before": [0.0], "load_after": [0.0], "first_plan_s": 1.0, "table_in_process_s": 1.0, "atoms": 600, "cases": [row]}
    )
    assert f"| {above[2]:g} (0.5 to 0.9) |" in page
    assert "10000; " in page


def one_round(echo: float, above: float) -> dict[str, float]:
    p50 = {"in_process": 0.1, "echo": echo, "service": echo + above}
    found = {f"{name}_p50_ms": ms for name, ms in p50.items()} | {f"{name}_p95_ms": 2 * ms for name, ms in p50.items()}
    return found | {"above_echo_p50_ms": above}
