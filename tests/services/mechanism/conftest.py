from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.mechanism.working import WORLD
from tests.services.mechanism.world import Lab, World


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A room with an additive model, `divide`."""
    made = await Lab.open(tmp_path, divide=World())
    yield made
    await made.room.close()


@pytest.fixture
async def robust(tmp_path: Path) -> AsyncIterator[Lab]:
    """A room with a model whose noise has outliers, `divide`."""
    made = await Lab.open(tmp_path, divide=WORLD)
    yield made
    await made.room.close()
