"""Calls that take turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np

# Given the number of its turn.
Call = Callable[[int], Awaitable[object]]


async def turn_by_turn(calls: Mapping[str, Call], turns: int) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """One call after another, each once a turn; who goes first changes with every turn, as who follows whom may matter.

    Args:
        calls: by name.
        turns: how many.

    Returns:
        (turns,) float64, ms, by the same names.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for turn in range(turns):
        for name in order:
            started = time.perf_counter()
            await calls[name](turn)
            took[name].append(time.perf_counter() - started)
        order.reverse()
    return {name: 1e3 * np.array(seconds) for name, seconds in took.items()}
