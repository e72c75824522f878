"""How far a movie is, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from training.movies import progress
from training.movies.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, which the test moves."""
    at = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: at[0])
    return at


def test_a_log_has_a_line_every_half_minute_and_short_work_none(now: list[float]) -> None:
    log = io.StringIO()
    with Progress(1000, 0, log) as shown:
        for _ in range(100):
            now[0] += 0.29
            shown.one_more()
        assert log.getvalue() == ""
        for _ in range(300):
            now[0] += 0.31
            shown.one_more()
    lines = log.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "movie: 104 of 1000 frames, 10 %, 261 s left"


def test_what_an_earlier_run_did_counts_as_done_and_not_as_quick(now: list[float]) -> None:
    log = io.StringIO()
    with Progress(1000, 500, log) as shown:
        for _ in range(10):
            now[0] += 3
            shown.one_more()
    assert log.getvalue() == "movie: 510 of 1000 frames, 51 %, 1470 s left\n"


def test_a_terminal_has_a_bar_and_no_lines(now: list[float]) -> None:
    terminal = Terminal()
    with Progress(3, 0, terminal) as shown:
        for _ in range(3):
            now[0] += 40
            shown.one_more()
    assert "s left" not in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
