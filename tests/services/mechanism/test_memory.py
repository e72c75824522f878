"""Which sessions are dropped for another."""

from __future__ import annotations

import pytest

from dichroic.errors import SessionMemoryError
from services.mechanism.memory import Memory


def nobody(_: str) -> bool:
    return False


def test_those_used_longest_ago_are_dropped_and_no_more_than_needed() -> None:
    memory = Memory(100)
    for name in "abcd":
        assert memory.reserve(name, 25, nobody) == []
    memory.touch("a")
    assert memory.reserve("e", 30, nobody) == ["b", "c"]
    assert memory.reserve("a", 40, nobody) == []  # it had 25 of them
    assert memory.taken_bytes == 25 + 30 + 40


def test_what_is_in_use_stays_and_the_caller_is_asked_to_come_again() -> None:
    memory = Memory(100)
    memory.reserve("a", 50, nobody)
    memory.reserve("b", 50, nobody)
    assert memory.reserve("c", 40, "a".__eq__) == ["b"]
    with pytest.raises(SessionMemoryError) as refused:
        memory.reserve("d", 60, "a".__eq__)
    assert refused.value.retry_delay_s == 1
    assert memory.taken_bytes == 90  # nothing was dropped for nothing


def test_what_never_fits_is_refused_without_a_delay_and_keeps_what_it_had() -> None:
    memory = Memory(100)
    memory.reserve("a", 50, nobody)
    with pytest.raises(SessionMemoryError) as refused:
        memory.reserve("a", 101, nobody)
    assert refused.value.retry_delay_s is None
    assert refused.value.metadata == {"needed_bytes": "101", "max_bytes": "100"}
    assert memory.taken_bytes == 50
    memory.release("a")
    assert memory.taken_bytes == 0
