"""How long sessions last, and which of them give way when memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import SessionExpiredError, SessionMemoryError, UnknownSessionError
from services.mechanism.session import session_bytes
from tests.services.mechanism.working import arrays_of, at, held, worked_in
from tests.services.mechanism.world import FEATURES, Lab, soon


async def test_a_session_expires_when_it_is_not_used(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    short = await robust.room.create_session("divide", 0, soon(), expires_after_s=10)
    uses: list[Callable[[], Any]] = [
        lambda: robust.room.predict("", 0, at(1), soon(), session_id=made.session_id),
        lambda: robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1)),
        lambda: robust.room.suggest(soon(), session_id=made.session_id, candidates=at(3), strategy="ucb"),
    ]
    for use in uses:
        robust.clock.now += 99
        await use()
    with pytest.raises(SessionExpiredError, match="longer expires_after_s") as expired:
        await robust.room.predict("", 0, at(1), soon(), session_id=short.session_id)
    assert (expired.value.status, expired.value.metadata) == ("NOT_FOUND", {"session_id": short.session_id})
    robust.clock.now += 100
    for call in (*uses, lambda: robust.room.delete_session(made.session_id, soon())):
        with pytest.raises(SessionExpiredError):
            await call()


@pytest.mark.parametrize("how", ["create", "start"])
async def test_an_expired_session_is_cleared_away_and_still_told_from_one_that_never_was(how: str, robust: Lab) -> None:
    made, _ = await worked_in(robust)
    robust.clock.now += 101
    if how == "create":
        await robust.room.create_session("divide", 0, soon())
    else:
        await robust.restart()
    with pytest.raises(SessionExpiredError):
        await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert await robust.room._journal.session(made.session_id) is None
    assert await robust.room._journal.observations(made.session_id) == []
    assert made.session_id not in robust.room._sessions.memory._taken
    with pytest.raises(UnknownSessionError):
        await robust.room.predict("", 0, at(1), soon(), session_id="0" * 32)
    robust.clock.now += 91 * 86400  # nobody asks for it any more
    await robust.room.create_session("divide", 0, soon())
    with pytest.raises(UnknownSessionError):
        await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_use_is_remembered_over_a_restart(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    for _ in range(3):
        robust.clock.now += 60
        await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    await robust.restart()
    robust.clock.now += 94  # the journal may lag by a twentieth
    await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_clearing_away_knows_of_uses_that_the_journal_does_not(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    robust.clock.now += 4  # less than the lag: not stored
    await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    robust.clock.now += 98
    await robust.room.create_session("divide", 0, soon())
    # Of what the journal had cleared away nothing more could be stored.
    assert (await robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))).revision == 2


async def test_a_deleted_session_is_unknown(robust: Lab) -> None:
    made, _ = await worked_in(robust)
    waiting = asyncio.ensure_future(robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1)))
    deleted = await robust.room.delete_session(made.session_id, soon())
    assert (deleted.session_id, deleted.revision, deleted.model) == (made.session_id, 5, made.model)
    with pytest.raises(UnknownSessionError):  # it came later, and was told
        await waiting
    with pytest.raises(UnknownSessionError):
        await robust.room.delete_session(made.session_id, soon())
    other, _ = await worked_in(robust)
    await robust.restart()
    assert (await robust.room.delete_session(other.session_id, soon())).revision == 5
    with pytest.raises(UnknownSessionError, match="never made on this server, or was deleted"):
        await robust.room.predict("", 0, at(1), soon(), session_id=other.session_id)
    assert robust.room._sessions.memory.taken_bytes == 0


async def test_the_session_used_longest_ago_gives_way_and_comes_back_to_the_last_bit(robust: Lab, tmp_path: Path) -> None:
    first, _ = await worked_in(robust)
    await robust.room.suggest(soon(), session_id=first.session_id, strategy="ei")
    before = arrays_of(held(robust, first))
    robust.room._sessions.memory.max_bytes = robust.room._sessions.memory.taken_bytes + first.memory_bytes + 1000
    second = await robust.room.create_session("divide", 0, soon())
    await robust.room.predict("", 0, at(1), soon(), session_id=first.session_id)  # so the second is the older one
    third = await robust.room.create_session("divide", 0, soon(), candidates=at(15, 8))
    assert [held(robust, made) is None for made in (first, second, third)] == [False, True, False]
    await robust.room.suggest(soon(), session_id=second.session_id, candidates=at(3), strategy="ei")
    assert [held(robust, made) is None for made in (first, second, third)] == [True, False, False]
    await robust.room.suggest(soon(), session_id=first.session_id, strategy="ei")
    assert [held(robust, made) is None for made in (first, second, third)] == [False, True, True] or held(robust, third) is None
    after = arrays_of(held(robust, first))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert robust.room._sessions.memory.taken_bytes <= robust.room._sessions.memory.max_bytes


async def test_a_session_that_alone_is_too_large_is_refused_clearly(robust: Lab) -> None:
    start_bytes = (await robust.room.create_session("divide", 0, soon())).memory_bytes
    robust.room._sessions.memory.max_bytes = start_bytes + 1000
    with pytest.raises(SessionMemoryError, match=f"may take {start_bytes + 1000} .*fewer candidates") as refused:
        await robust.room.create_session("divide", 0, soon(), candidates=at(50))
    assert refused.value.retry_delay_s is None
    made = await robust.room.create_session("divide", 0, soon())
    await robust.room.observe(made.session_id, soon(), given=at(64), y=np.ones(64))
    with pytest.raises(SessionMemoryError):  # the room for the next one doubles
        await robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))
    assert (await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 2
    assert await robust.room._journal.observation_of_request(made.session_id, "") is not None
    assert len(await robust.room._journal.observations(made.session_id)) == 1


async def test_a_session_in_use_is_not_dropped_for_another(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    robust.room._sessions.memory.max_bytes = made.memory_bytes + 1000
    async with robust.room._sessions.use(made.session_id, soon()):
        with pytest.raises(SessionMemoryError, match="in use at this moment") as refused:
            await robust.room.create_session("divide", 0, soon())
        assert refused.value.retry_delay_s is not None
    await robust.room.create_session("divide", 0, soon())
    assert held(robust, made) is None


async def test_memory_told_is_memory_taken(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon(), candidates=at(15, 8))
    assert robust.room._sessions.memory.taken_bytes == made.memory_bytes
    await robust.room.observe(made.session_id, soon(), given=at(70), y=np.ones(70))
    session = held(robust, made)
    assert session is not None
    assert session.described is not None
    start = session.posterior.start
    assert robust.room._sessions.memory.taken_bytes == session_bytes(start, session.described, 70, FEATURES) > made.memory_bytes


async def test_what_a_session_takes_is_told_without_reading_it(robust: Lab) -> None:
    made, _ = await worked_in(robust)
    await robust.restart()
    section = await robust.room.section_of(made.session_id)
    assert section == robust.repository.find("divide", 0).manifest.mechanism
    assert robust.room.sessions_in_memory == 0
    with pytest.raises(UnknownSessionError):
        await robust.room.section_of("0" * 32)
    robust.clock.now += 101
    with pytest.raises(SessionExpiredError):
        await robust.room.section_of(made.session_id)
