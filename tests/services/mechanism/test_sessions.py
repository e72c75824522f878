"""Sessions outlive the process, expire, give way under the memory bound, and never mix two callers up."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import (
    DeadlineExceededError,
    ModelNotReadyError,
    RequestIdReusedError,
    SessionConflictError,
    SessionModelChangedError,
    SessionStoreError,
    UnknownSessionError,
)
from services.engine.repository import Entry, State
from services.mechanism import Given, Observed
from services.mechanism import posterior as posterior_module
from services.mechanism.journal import FILE_NAME
from services.mechanism.session import Session
from tests.services.mechanism.working import WORLD, arrays_of, at, held, worked_in
from tests.services.mechanism.world import Lab, NDArray, World, soon


async def test_a_restart_loses_nothing_to_the_last_bit(robust: Lab) -> None:
    made, _ = await worked_in(robust)
    suggested = await robust.room.suggest(soon(), session_id=made.session_id, strategy="thompson", count=3)
    predicted = await robust.room.predict("", 0, at(4), soon(), session_id=made.session_id)
    before = arrays_of(held(robust, made))
    assert len(before) == 7 + 8
    await robust.restart()
    assert held(robust, made) is None
    again = await robust.room.suggest(soon(), session_id=made.session_id, strategy="thompson", count=3)
    after = arrays_of(held(robust, made))
    assert before.keys() == after.keys()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert np.array_equal(again.candidate_index, suggested.candidate_index)
    assert np.array_equal(again.score, suggested.score)
    told = await robust.room.predict("", 0, at(4), soon(), session_id=made.session_id)
    assert told.revision == predicted.revision == 5
    assert np.array_equal(told.total_mean, predicted.total_mean)
    assert np.array_equal(told.total_variance, predicted.total_variance)


async def test_a_truncated_session_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    robust = await Lab.open(tmp_path, divide=World(wide=3, count=200, rank_tolerance=1e-6))
    made, _ = await worked_in(robust)
    await robust.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    before = arrays_of(held(robust, made))
    await robust.restart()
    await robust.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    after = arrays_of(held(robust, made))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    await robust.room.close()


async def test_a_truncated_session_is_the_same_in_another_machines_basis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eigenvectors have other signs under another BLAS, and those of equal eigenvalues, or nearly, are turned among each other."""
    robust = await Lab.open(tmp_path, divide=World(wide=3, count=200, rank_tolerance=1e-6))
    made, _ = await worked_in(robust)

    async def suggested() -> list[Any]:
        wishes: list[dict[str, Any]] = [{"strategy": "total_sd"}, {"strategy": "part_sd", "part": "age"}, {"strategy": "thompson"}]
        return [await robust.room.suggest(soon(), session_id=made.session_id, count=4, **wish) for wish in wishes]

    before = await suggested()
    first, leading = robust.repository.find("divide", 1).fixed["inverse"].copy(), posterior_module._leading

    def elsewhere(rank: int, *rest: Any) -> NDArray:
        turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(rank, rank)))
        return np.asarray(leading(rank, *rest) @ turn)

    monkeypatch.setattr(posterior_module, "_leading", elsewhere)
    await robust.repository.load("divide", 1)
    await robust.restart()
    assert not np.allclose(robust.repository.find("divide", 1).fixed["inverse"], first)
    for found, wanted in zip(await suggested(), before, strict=True):
        assert np.array_equal(found.candidate_index, wanted.candidate_index)
        assert np.abs(found.score - wanted.score).max() < 1e-8
        assert np.abs(found.total_sd - wanted.total_sd).max() < 1e-8
    await robust.room.close()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_repeated_observe_gets_the_first_answer_and_observes_nothing(restarted: bool, robust: Lab) -> None:
    made, answers = await worked_in(robust)
    if restarted:
        await robust.restart()
    # Also where it names a revision that has gone by since.
    y = np.random.default_rng(1).normal(size=2) * 3
    repeated = await robust.room.observe(made.session_id, soon(), given=at(2, 21), y=y, request_id="r1", expected_revision=2)
    assert (repeated.repeated, answers[1].repeated) == (True, False)
    assert (repeated.revision, repeated.points) == (answers[1].revision, answers[1].points)
    assert np.array_equal(repeated.weight, answers[1].weight)
    assert np.array_equal(repeated.duplicate, answers[1].duplicate)
    assert repeated.weight.min() < 1
    told = await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert told.revision == 5
    # Without a request_id, or in another session, every call counts.
    assert (await robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))).revision == 6
    other = await robust.room.create_session("divide", 0, soon())
    assert not (await robust.room.observe(other.session_id, soon(), given=at(1), y=np.ones(1), request_id="r1")).repeated


async def test_a_repeated_create_session_gets_the_first_session(robust: Lab) -> None:
    first = await robust.room.create_session("divide", 0, soon(), candidates=at(3), request_id="make")
    assert await robust.room.create_session("divide", 0, soon(), candidates=at(3), request_id="make") == first
    await robust.restart()
    assert await robust.room.create_session("divide", 0, soon(), candidates=at(3), request_id="make") == first
    at_once = await asyncio.gather(*(robust.room.create_session("divide", 0, soon(), request_id="twice") for _ in range(3)))
    assert len({made.session_id for made in at_once}) == 1 != len({first.session_id, at_once[0].session_id})
    assert (await robust.room.create_session("divide", 0, soon())).session_id != (await robust.room.create_session("divide", 0, soon())).session_id
    # Only sessions that are there take memory.
    assert len(robust.room._sessions.memory._taken) == 3


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_request_id_with_another_request_is_refused_and_nothing_is_done(restarted: bool, robust: Lab) -> None:
    first = await robust.room.create_session("divide", 0, soon(), candidates=at(3), seed=1, request_id="run-1")
    await robust.room.observe(first.session_id, soon(), given=at(2), y=np.ones(2), request_id="1")
    await robust.room.observe(first.session_id, soon(), candidate_index=np.array([1]), y=np.ones(1), request_id="2")
    if restarted:
        await robust.restart()
    units = Given(at(3).values, {"age": "h"})
    others: list[dict[str, Any]] = [{}, {"candidates": at(3, 6)}, {"candidates": at(2)}, {"candidates": units}]
    changed: list[dict[str, Any]] = [{"seed": 2}, {"expires_after_s": 5}, {"model_version": 1}, {"model_name": "other"}]
    creating = [{"seed": 1} | other for other in others] + [{"candidates": at(3), "seed": 1} | other for other in changed]
    for asked in creating:
        named = {"model_name": "divide", "model_version": 0, "deadline": soon(), "request_id": "run-1"}
        with pytest.raises(RequestIdReusedError, match=r"'run-1' was used before.*request_id of its own") as reused:
            await robust.room.create_session(**named | asked)
        assert (reused.value.status, reused.value.field, reused.value.metadata) == ("ABORTED", "request_id", {"request_id": "run-1"})
    y = np.ones(2)
    observing: list[dict[str, Any]] = [
        {"given": at(2, 6), "y": y, "request_id": "1"},
        {"given": at(2), "y": np.array([1.0, 7.0]), "request_id": "1"},
        {"given": at(2), "y": y, "y_unit": "V", "request_id": "1"},
        {"candidate_index": np.array([0, 1]), "y": y, "request_id": "1"},
        {"candidate_index": np.array([2]), "y": np.ones(1), "request_id": "2"},
    ]
    for asked in observing:
        with pytest.raises(RequestIdReusedError):
            await robust.room.observe(first.session_id, soon(), **asked)
    assert (await robust.room.observe(first.session_id, soon(), given=at(2), y=y, request_id="1")).repeated
    told = await robust.room.observe(first.session_id, soon(), candidate_index=np.array([1]), y=np.ones(1), request_id="2")
    assert (told.repeated, told.revision) == (True, 3)


async def test_of_two_requests_at_once_with_one_id_one_is_refused(robust: Lab) -> None:
    making = (robust.room.create_session("divide", 0, soon(), seed=seed, request_id="both") for seed in (1, 2))
    found = await asyncio.gather(*making, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["RequestIdReusedError", "SessionMade"]
    assert len(robust.room._sessions.memory._taken) == 1


async def test_of_two_clients_that_expect_the_same_revision_one_is_told_of_the_other(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    calls = (robust.room.observe(made.session_id, soon(), given=at(1, seed), y=np.ones(1), expected_revision=1) for seed in (1, 2))
    found = await asyncio.gather(*calls, return_exceptions=True)
    (good,) = [answer for answer in found if isinstance(answer, Observed)]
    (bad,) = [answer for answer in found if isinstance(answer, SessionConflictError)]
    assert (good.revision, good.points) == (2, 41)
    assert (bad.status, bad.metadata["expected_revision"], bad.metadata["revision"]) == ("ABORTED", "1", "2")


async def test_clients_that_expect_nothing_observe_one_after_the_other(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon(), candidates=at(10, 8))
    observing = (robust.room.observe(made.session_id, soon(), given=at(2, seed), y=np.ones(2)) for seed in range(6))
    asking = (robust.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=2) for _ in range(4))
    predicting = (robust.room.predict("", 0, at(3), soon(), session_id=made.session_id) for _ in range(4))
    found = await asyncio.gather(*observing, *asking, *predicting)
    assert sorted(answer.revision for answer in found[:6]) == [2, 3, 4, 5, 6, 7]
    before = arrays_of(held(robust, made))
    await robust.restart()
    await robust.room.suggest(soon(), session_id=made.session_id, strategy="total_sd")
    session = held(robust, made)
    assert session is not None
    assert [name for name, array in session.posterior.fixed().items() if not np.array_equal(before[name], array)] == []


async def test_a_bundle_that_was_replaced_ends_its_sessions_and_brings_them_back_when_it_comes_back(robust: Lab) -> None:
    made, _ = await worked_in(robust)
    robust.loader.worlds["divide"] = World(seed=9, outliers=True)
    await robust.repository.load("divide", 1)
    for restarted in (False, True):
        if restarted:
            await robust.restart()
        with pytest.raises(SessionModelChangedError, match=r"now is another bundle.*Load that bundle again") as changed:
            await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
        assert changed.value.metadata["digest"] == made.model.digest
    await robust.repository.unload("divide", 1)
    with pytest.raises(SessionModelChangedError, match="does not serve"):
        await robust.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))
    await robust.repository.forget("divide", 1)
    with pytest.raises(SessionModelChangedError, match="not there any more"):
        await robust.room.suggest(soon(), session_id=made.session_id, strategy="ucb")
    robust.loader.worlds["divide"] = WORLD
    (robust.folder / "bundles" / "divide" / "2").mkdir()
    await robust.repository.load("divide", 2)  # the same numbers under another version: the same digest
    assert (await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 5


async def test_a_bundle_that_is_being_loaded_is_worth_waiting_for(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    robust.repository._set(Entry("divide", 1, State.LOADING))
    with pytest.raises(ModelNotReadyError) as loading:
        await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
    assert loading.value.retry_delay_s is not None


async def test_an_observe_that_has_begun_is_whole_though_its_caller_gave_up(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go_on.wait(30)

    robust.loader.graphs["rows"].before = wait
    observing = asyncio.ensure_future(robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="once"))
    await asyncio.to_thread(inside.wait, 30)
    observing.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await observing
    robust.loader.graphs["rows"].before = lambda: None
    told = await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="once")
    assert (told.repeated, told.revision) == (True, 2)
    session = held(robust, made)
    assert session is not None
    assert session.revision == 2
    assert not robust.room._sessions._held[made.session_id].lock.locked()


async def test_an_observe_that_breaks_leaves_nothing_behind(robust: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = await worked_in(robust)
    await robust.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    before = arrays_of(held(robust, made))

    async def broken(*_: Any) -> None:
        raise SessionStoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(robust.room._journal, "add_observation", broken)
        with pytest.raises(SessionStoreError, match="disk is full"):
            await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2))
    await robust.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    after = arrays_of(held(robust, made))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert (await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), expected_revision=5)).revision == 6


async def test_what_could_not_be_taken_in_after_it_was_stored_is_read_from_the_journal(robust: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    with monkeypatch.context() as patched:
        patched.setattr(Session, "take", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="stored")
    repeated = await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2), request_id="stored")
    assert (repeated.repeated, repeated.revision) == (True, 2)
    assert (await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)).revision == 2


async def test_who_waits_for_a_session_waits_no_longer_than_the_deadline(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon())
    async with robust.room._sessions.use(made.session_id, soon()):
        soon_over = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(DeadlineExceededError):
            await robust.room.predict("", 0, at(1), soon_over, session_id=made.session_id)
    await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)


async def test_a_folder_that_cannot_be_written_fails_sessions_and_nothing_else(robust: Lab) -> None:
    blocked = robust.folder / "sessions"
    assert not blocked.exists()  # made with the first session
    blocked.write_text("a file, not a folder")
    with pytest.raises(SessionStoreError, match="DICHROIC_SESSIONS") as refused:
        await robust.room.create_session("divide", 0, soon())
    assert refused.value.metadata["folder"] == str(blocked)
    assert (await robust.room.predict("divide", 0, at(1), soon())).revision == 0
    with pytest.raises(UnknownSessionError):
        await robust.room.predict("", 0, at(1), soon(), session_id="1" * 32)
    blocked.unlink()
    await robust.room.create_session("divide", 0, soon())


async def test_a_journal_that_is_gone_or_broken_is_told(robust: Lab) -> None:
    made, _ = await worked_in(robust)
    await robust.room.close()
    shutil.copy(robust.folder / "sessions" / FILE_NAME, robust.folder / "good")
    (robust.folder / "sessions" / FILE_NAME).write_bytes(b"no database" * 1000)
    robust.start()
    with pytest.raises(SessionStoreError, match="cannot be used"):
        await robust.room.predict("", 0, at(1), soon(), session_id=made.session_id)
