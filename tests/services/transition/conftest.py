import pytest

from services.transition.table import tabulate
from tests.services.transition.graphene import occupancy_by, peaked

CONTEXT = (0.1, 60.0)


@pytest.fixture(scope="package")
def table():
    return tabulate(occupancy_by(peaked), CONTEXT, shells=2)
