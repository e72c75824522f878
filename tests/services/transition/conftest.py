from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.transition.table import tabulate
from tests.services.transition.graphene import occupancy_by, peaked
from tests.services.transition.served import TOY, Served, served

CONTEXT = (0.1, 60.0)


@pytest.fixture(scope="package")
def table():
    return tabulate(occupancy_by(peaked), CONTEXT, shells=2)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, dune=TOY) as found:
        yield found
