"""A laboratory's models and sessions behind a server that listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.services.conftest import Running, running_on
from tests.services.mechanism.world import Lab, World


@asynccontextmanager
async def served_lab(folder: Path, **worlds: World) -> AsyncIterator[tuple[Running, Lab]]:
    """The server's own repository and room are replaced by the laboratory's, before anything is asked."""
    lab = await Lab.open(folder / "lab", **worlds)
    lab.loader.device.fallback = False  # GetModel tells it
    (folder / "none").mkdir()
    async with running_on(folder / "none") as running:
        await running.server.mechanism.close()
        running.server.repository, running.server.mechanism = lab.repository, lab.room
        yield running, lab
