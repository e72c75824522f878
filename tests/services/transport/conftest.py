"""A server whose rooms note what they are asked."""

from __future__ import annotations

import pytest

from tests.services.conftest import Running
from tests.services.transport.told_room import ToldRoom
from tests.services.transport.told_transition import ToldTransitions


@pytest.fixture
def room(running: Running, monkeypatch: pytest.MonkeyPatch) -> ToldRoom:
    """The mechanism room, in place of the real one."""
    told = ToldRoom()
    monkeypatch.setattr(running.server, "mechanism", told)
    return told


@pytest.fixture
def transitions(running: Running, monkeypatch: pytest.MonkeyPatch) -> ToldTransitions:
    """The transition room, in place of the real one."""
    told = ToldTransitions()
    monkeypatch.setattr(running.server, "transition", told)
    return told
