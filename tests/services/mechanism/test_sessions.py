"""Sessions outlive the process, expire, give way under the memory bound, and never mix two callers up."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import (
    DeadlineExceededError,
    ModelNotReadyError,
    SessionConflictError,
    SessionExpiredError,
    SessionMemoryError,
    SessionModelChangedError,
    SessionStoreError,
    UnknownSessionError,
)
from services.engine.repository import Entry, State
from services.mechanism import Given, Observed, SessionMade
from services.mechanism.journal import FILE_NAME
from services.mechanism.session import Session, session_bytes
from tests.services.mechanism.world import FEATURES, Lab, NDArray, World, places, soon

WORLD = World(outliers=True)


def at(count: int, seed: int = 5) -> Given:
    return WORLD.given(places(count, seed))


def held(lab: Lab, made: SessionMade) -> Session | None:
    return lab.room._sessions._held[made.session_id].session if made.session_id in lab.room._sessions._held else None


def arrays_of(session: Session | None) -> dict[str, NDArray]:
    """Every number that an answer depends on."""
    assert session is not None
    found = {name: array.copy() for name, array in session.posterior.fixed().items()}
    candidates = session.candidates
    if candidates is not None and candidates.paths is not None:
        for name in ("mean", "variance_left", "part_variance_left", "half", "columns", "with_gauge"):
            found[f"candidates.{name}"] = getattr(candidates, name).copy()
        found |= {"paths.prior": candidates.paths.prior.copy(), "paths.loads": candidates.paths.loads.copy()}
    return found


async def worked_in(lab: Lab) -> tuple[SessionMade, list[Observed]]:
    """A session with candidates and four Observes of several points each."""
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(15, 8), seed=2)
    answers = []
    for j in range(4):
        y = np.random.default_rng(j).normal(size=j + 1) * 3
        answers.append(await lab.room.observe(made.session_id, soon(), given=at(j + 1, 20 + j), y=y, request_id=f"r{j}"))
        if j == 1:
            await lab.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    return made, answers


@pytest.fixture
async def lab(tmp_path: Path) -> Any:
    made = await Lab.open(tmp_path, divide=WORLD)
    yield made
    await made.room.close()


async def test_a_restart_loses_nothing_to_the_last_bit(lab: Lab) -> None:
    made, _ = await worked_in(lab)
    suggested = await lab.room.suggest(soon(), session_id=made.session_id, strategy="thompson", count=3)
    predicted = await lab.room.predict("", 0, at(4), soon(), session_id=made.session_id)
    before = arrays_of(held(lab, made))
    assert len(before) == 7 + 8
    await lab.restart()
    assert held(lab, made) is None
    again = await lab.room.suggest(soon(), session_id=made.session_id, strategy="thompson", count=3)
    after = arrays_of(held(lab, made))
    assert before.keys() == after.keys()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert np.array_equal(again.candidate_index, suggested.candidate_index)
    assert np.array_equal(again.score, suggested.score)
    told = await lab.room.predict("", 0, at(4), soon(), session_id=made.session_id)
    assert told.revision == predicted.revision == 5
    assert np.array_equal(told.total_mean, predicted.total_mean)
    assert np.array_equal(told.total_variance, predicted.total_variance)


async def test_a_truncated_session_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path, divide=World(wide=3, count=200, rank_tolerance=1e-6))
    made, _ = await worked_in(lab)
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    before = arrays_of(held(lab, made))
    await lab.restart()
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    after = arrays_of(held(lab, made))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    await lab.room.close()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_repeated_observe_gets_the_first_answer_and_observes_nothing(restarted: bool, lab: Lab) -> None:
    made, answers = await worked_in(lab)
    if restarted:
        await lab.restart()
    # Also where it names a revision that has gone by since, and other numbers.
    repeated = await lab.room.observe(made.session_id, soon(), given=at(1, 99), y=np.ones(1), request_id="r1", expected_revision=2)
    assert (repeated.repeated, answers[1].repeated) == (True, False)
    assert (repeated.revision, repeated.points) == (answers[1].revision, answers[1].points)
    assert np.array_equal(repeated.weight, answers[1].weight)
    assert np.array_equal(repeated.duplicate, answers[1].duplicate)
    assert repeated.weight.min() < 1
    told = await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert told.revision == 5
    # Without a request_id, or in another session, every call counts.
    assert (await lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))).revision == 6
    other = await lab.room.create_session("divide", 0, soon())
    assert not (await lab.room.observe(other.session_id, soon(), given=at(1), y=np.ones(1), request_id="r1")).repeated


async def test_a_repeated_create_session_gets_the_first_session(lab: Lab) -> None:
    first = await lab.room.create_session("divide", 0, soon(), candidates=at(3), request_id="make")
    assert await lab.room.create_session("divide", 0, soon(), request_id="make") == first
    await lab.restart()
    assert await lab.room.create_session("divide", 0, soon(), request_id="make") == first
    at_once = await asyncio.gather(*(lab.room.create_session("divide", 0, soon(), request_id="twice") for _ in range(3)))
    assert len({made.session_id for made in at_once}) == 1 != len({first.session_id, at_once[0].session_id})
    assert (await lab.room.create_session("divide", 0, soon())).session_id != (await lab.room.create_session("divide", 0, soon())).session_id
    # Only sessions that are there take memory.
    assert len(lab.room._sessions.memory._taken) == 3


async def test_of_two_clients_that_expect_the_same_revision_one_is_told_of_the_other(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    calls = (lab.room.observe(made.session_id, soon(), given=at(1, seed), y=np.ones(1), expected_revision=1) for seed in (1, 2))
    found = await asyncio.gather(*calls, return_exceptions=True)
    (good,) = [answer for answer in found if isinstance(answer, Observed)]
    (bad,) = [answer for answer in found if isinstance(answer, SessionConflictError)]
    assert (good.revision, good.points) == (2, 41)
    assert (bad.status, bad.metadata["expected_revision"], bad.metadata["revision"]) == ("ABORTED", "1", "2")


async def test_clients_that_expect_nothing_observe_one_after_the_other(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(10, 8))
    observing = (lab.room.observe(made.session_id, soon(), given=at(2, seed), y=np.ones(2)) for seed in range(6))
    asking = (lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=2) for _ in range(4))
    predicting = (lab.room.predict("", 0, at(3), soon(), session_id=made.session_id) for _ in range(4))
    found = await asyncio.gather(*observing, *asking, *predicting)
    assert sorted(answer.revision for answer in found[:6]) == [2, 3, 4, 5, 6, 7]
    before = arrays_of(held(lab, made))
    await lab.restart()
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    session = held(lab, made)
    assert session is not None
    assert [name for name, array in session.posterior.fixed().items() if not np.array_equal(before[name], array)] == []


async def test_a_session_expires_when_it_is_not_used(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    short = await lab.room.create_session("divide", 0, soon(), expires_after_s=10)
    uses: list[Callable[[], Any]] = [
        lambda: lab.room.predict("", 0, at(1), soon(), session_id=made.session_id),
        lambda: lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1)),
        lambda: lab.room.suggest(soon(), session_id=made.session_id, candidates=at(3), strategy="ucb"),
    ]
    for use in uses:
        lab.clock.now += 99
        await use()
    with pytest.raises(SessionExpiredError, match="longer expires_after_s") as expired:
        await lab.room.predict("", 0, at(1), soon(), session_id=short.session_id)
    assert (expired.value.status, expired.value.metadata) == ("NOT_FOUND", {"session_id": short.session_id})
    lab.clock.now += 100
    for call in (*uses, lambda: lab.room.delete_session(made.session_id, soon())):
        with pytest.raises(SessionExpiredError):
            await call()


@pytest.mark.parametrize("how", ["create", "start"])
async def test_an_expired_session_is_cleared_away_and_still_told_from_one_that_never_was(how: str, lab: Lab) -> None:
    made, _ = await worked_in(lab)
    lab.clock.now += 101
    if how == "create":
        await lab.room.create_session("divide", 0, soon())
    else:
        await lab.restart()
    with pytest.raises(SessionExpiredError):
        await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert await lab.room._journal.session(made.session_id) is None
    assert await lab.room._journal.observations(made.session_id) == []
    assert made.session_id not in lab.room._sessions.memory._taken
    with pytest.raises(UnknownSessionError):
        await lab.room.predict("", 0, at(1), soon(), session_id="0" * 32)
    lab.clock.now += 91 * 86400  # nobody asks for it any more
    await lab.room.create_session("divide", 0, soon())
    with pytest.raises(UnknownSessionError):
        await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_use_is_remembered_over_a_restart(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    for _ in range(3):
        lab.clock.now += 60
        await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    await lab.restart()
    lab.clock.now += 94  # the journal may lag by a twentieth
    await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_clearing_away_knows_of_uses_that_the_journal_does_not(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    lab.clock.now += 4  # less than the lag: not stored
    await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    lab.clock.now += 98
    await lab.room.create_session("divide", 0, soon())
    await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_a_deleted_session_is_unknown(lab: Lab) -> None:
    made, _ = await worked_in(lab)
    waiting = asyncio.ensure_future(lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1)))
    deleted = await lab.room.delete_session(made.session_id, soon())
    assert (deleted.session_id, deleted.revision, deleted.model) == (made.session_id, 5, made.model)
    with pytest.raises(UnknownSessionError):  # it came later, and was told
        await waiting
    with pytest.raises(UnknownSessionError):
        await lab.room.delete_session(made.session_id, soon())
    other, _ = await worked_in(lab)
    await lab.restart()
    assert (await lab.room.delete_session(other.session_id, soon())).revision == 5
    with pytest.raises(UnknownSessionError, match="never made on this server, or was deleted"):
        await lab.room.predict("", 0, at(1), soon(), session_id=other.session_id)
    assert lab.room._sessions.memory.taken_bytes == 0


async def test_the_session_used_longest_ago_gives_way_and_comes_back_to_the_last_bit(lab: Lab, tmp_path: Path) -> None:
    first, _ = await worked_in(lab)
    await lab.room.suggest(soon(), session_id=first.session_id, strategy="ei")
    before = arrays_of(held(lab, first))
    lab.room._sessions.memory.max_bytes = lab.room._sessions.memory.taken_bytes + first.memory_bytes + 1000
    second = await lab.room.create_session("divide", 0, soon())
    await lab.room.predict("", 0, at(1), soon(), session_id=first.session_id)  # so the second is the older one
    third = await lab.room.create_session("divide", 0, soon(), candidates=at(15, 8))
    assert [held(lab, made) is None for made in (first, second, third)] == [False, True, False]
    await lab.room.suggest(soon(), session_id=second.session_id, candidates=at(3), strategy="ei")
    assert [held(lab, made) is None for made in (first, second, third)] == [True, False, False]
    await lab.room.suggest(soon(), session_id=first.session_id, strategy="ei")
    assert [held(lab, made) is None for made in (first, second, third)] == [False, True, True] or held(lab, third) is None
    after = arrays_of(held(lab, first))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert lab.room._sessions.memory.taken_bytes <= lab.room._sessions.memory.max_bytes


async def test_a_session_that_alone_is_too_large_is_refused_clearly(lab: Lab) -> None:
    start_bytes = (await lab.room.create_session("divide", 0, soon())).memory_bytes
    lab.room._sessions.memory.max_bytes = start_bytes + 1000
    with pytest.raises(SessionMemoryError, match=f"may take {start_bytes + 1000} .*fewer candidates") as refused:
        await lab.room.create_session("divide", 0, soon(), candidates=at(50))
    assert refused.value.retry_delay_s is None
    made = await lab.room.create_session("divide", 0, soon())
    await lab.room.observe(made.session_id, soon(), given=at(64), y=np.ones(64))
    with pytest.raises(SessionMemoryError):  # the room for the next one doubles
        await lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))
    assert (await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 2
    assert await lab.room._journal.observation_of_request(made.session_id, "") is not None
    assert len(await lab.room._journal.observations(made.session_id)) == 1


async def test_a_session_in_use_is_not_dropped_for_another(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    lab.room._sessions.memory.max_bytes = made.memory_bytes + 1000
    async with lab.room._sessions.use(made.session_id, soon()):
        with pytest.raises(SessionMemoryError, match="in use at this moment") as refused:
            await lab.room.create_session("divide", 0, soon())
        assert refused.value.retry_delay_s is not None
    await lab.room.create_session("divide", 0, soon())
    assert held(lab, made) is None


async def test_memory_told_is_memory_taken(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(15, 8))
    assert lab.room._sessions.memory.taken_bytes == made.memory_bytes
    await lab.room.observe(made.session_id, soon(), given=at(70), y=np.ones(70))
    session = held(lab, made)
    assert session is not None
    assert session.described is not None
    start = session.posterior.start
    assert lab.room._sessions.memory.taken_bytes == session_bytes(start, session.described, 70, FEATURES) > made.memory_bytes


async def test_a_bundle_that_was_replaced_ends_its_sessions_and_brings_them_back_when_it_comes_back(lab: Lab) -> None:
    made, _ = await worked_in(lab)
    lab.loader.worlds["divide"] = World(seed=9, outliers=True)
    await lab.repository.load("divide", 1)
    for restarted in (False, True):
        if restarted:
            await lab.restart()
        with pytest.raises(SessionModelChangedError, match="now is another bundle.*Load that bundle again") as changed:
            await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
        assert changed.value.metadata["digest"] == made.model.digest
    await lab.repository.unload("divide", 1)
    with pytest.raises(SessionModelChangedError, match="does not serve"):
        await lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))
    await lab.repository.forget("divide", 1)
    with pytest.raises(SessionModelChangedError, match="not there any more"):
        await lab.room.suggest(soon(), session_id=made.session_id, strategy="ucb")
    lab.loader.worlds["divide"] = WORLD
    (lab.folder / "bundles" / "divide" / "2").mkdir()
    await lab.repository.load("divide", 2)  # the same numbers under another version: the same digest
    assert (await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 5


async def test_a_bundle_that_is_being_loaded_is_worth_waiting_for(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    lab.repository._set(Entry("divide", 1, State.LOADING))
    with pytest.raises(ModelNotReadyError) as loading:
        await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert loading.value.retry_delay_s is not None


async def test_an_observe_that_has_begun_is_whole_though_its_caller_gave_up(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go_on.wait(30)

    lab.loader.graphs["rows"].before = wait
    observing = asyncio.ensure_future(lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="once"))
    # The engine may run a quick graph in the event loop itself: the test must not be what it waits for.
    threading.Thread(target=lambda: (inside.wait(30), go_on.set())).start()
    while not inside.is_set():
        await asyncio.sleep(0)
    observing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await observing
    lab.loader.graphs["rows"].before = lambda: None
    told = await lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="once")
    assert (told.repeated, told.revision) == (True, 2)
    session = held(lab, made)
    assert session is not None
    assert session.revision == 2
    assert not lab.room._sessions._held[made.session_id].lock.locked()


async def test_an_observe_that_breaks_leaves_nothing_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = await worked_in(lab)
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    before = arrays_of(held(lab, made))

    async def broken(*_: Any) -> None:
        raise SessionStoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(lab.room._journal, "add_observation", broken)
        with pytest.raises(SessionStoreError, match="disk is full"):
            await lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2))
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    after = arrays_of(held(lab, made))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert (await lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), expected_revision=5)).revision == 6


async def test_what_could_not_be_taken_in_after_it_was_stored_is_read_from_the_journal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    with monkeypatch.context() as patched:
        patched.setattr(Session, "take", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="stored")
    repeated = await lab.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="stored")
    assert (repeated.repeated, repeated.revision) == (True, 2)
    assert (await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 2


async def test_who_waits_for_a_session_waits_no_longer_than_the_deadline(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    async with lab.room._sessions.use(made.session_id, soon()):
        soon_over = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(DeadlineExceededError):
            await lab.room.predict("", 0, at(1), soon_over, session_id=made.session_id)
    await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_a_folder_that_cannot_be_written_fails_sessions_and_nothing_else(lab: Lab) -> None:
    blocked = lab.folder / "sessions"
    assert not blocked.exists()  # made with the first session
    blocked.write_text("a file, not a folder")
    with pytest.raises(SessionStoreError, match="DICHROIC_SESSIONS") as refused:
        await lab.room.create_session("divide", 0, soon())
    assert refused.value.metadata["folder"] == str(blocked)
    assert (await lab.room.predict("divide", 0, at(1), soon())).revision == 0
    with pytest.raises(UnknownSessionError):
        await lab.room.predict("", 0, at(1), soon(), session_id="1" * 32)
    blocked.unlink()
    await lab.room.create_session("divide", 0, soon())


async def test_a_journal_that_is_gone_or_broken_is_told(lab: Lab) -> None:
    made, _ = await worked_in(lab)
    await lab.room.close()
    shutil.copy(lab.folder / "sessions" / FILE_NAME, lab.folder / "good")
    (lab.folder / "sessions" / FILE_NAME).write_bytes(b"no database" * 1000)
    lab.start()
    with pytest.raises(SessionStoreError, match="cannot be used"):
        await lab.room.predict("", 0, at(1), soon(), session_id=made.session_id)
