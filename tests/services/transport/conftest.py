"""A server whose mechanism room notes what it is asked."""

from __future__ import annotations

import pytest

from tests.services.conftest import Running
from tests.services.transport.told_room import ToldRoom


@pytest.fixture
def room(running: Running, monkeypatch: pytest.MonkeyPatch) -> ToldRoom:
    """The room, in place of the real one."""
    told = ToldRoom()
    monkeypatch.setattr(running.server, "mechanism", told)
    return told
