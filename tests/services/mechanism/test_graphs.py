"""Graphs asked in pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dichroic.bundle.arrays import Arrays
from services.mechanism import graphs
from services.mechanism.graphs import CHUNK_ROWS, rows_of
from tests.services.mechanism.world import World, places


class Asked:
    """A model whose runs are counted."""

    def __init__(self, world: World) -> None:
        self._world, self.manifest, self.runs = world, world.bundle.manifest, list[int]()

    def signature(self, name: str) -> Any:
        return self.manifest.signatures[name]

    async def run(self, name: str, inputs: Arrays, deadline: float, fixed: Arrays) -> Arrays:
        self.runs.append(len(inputs["latents"]))
        return self._world.rows(inputs["latents"], fixed["points"])


@pytest.mark.parametrize(("bytes_at_once", "most"), [(graphs.CHUNK_BYTES, CHUNK_ROWS), (4000, 3), (1, 1)])
async def test_answers_of_rows_are_as_large_as_was_said_and_no_larger(monkeypatch: pytest.MonkeyPatch, bytes_at_once: int, most: int) -> None:
    monkeypatch.setattr(graphs, "CHUNK_BYTES", bytes_at_once)
    world = World("additive")
    model, latents, points = Asked(world), places(10, 3), places(50, 4)
    found = await rows_of(model, latents, points, math.inf)  # type: ignore[arg-type]
    assert max(model.runs) <= most
    assert sum(model.runs) == 10
    np.testing.assert_array_equal(found["rows"], world.rows(latents, points)["rows"])
