"""The journal keeps what was acknowledged through kill -9, and says what is wrong with a file it cannot use."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dichroic.errors import SessionStoreError
from services.mechanism import journal as journal_module
from services.mechanism.journal import FILE_NAME, SCHEMA_VERSION, Journal, ObservationRow, SessionRow
from tests.services.mechanism.world import Lab, World, places, soon

ROOT = Path(__file__).parents[3]
ROW = SessionRow("s", "", "", "divide", 1, "d" * 64, 0.4, 0.0, 100.0, 100.0, 0, None, "{}")


@pytest.mark.parametrize(("step", "words"), [(1, "a newer"), (-1, "an older")])
async def test_another_schema_is_left_alone_with_a_clear_error(step: int, words: str, tmp_path: Path) -> None:
    first = Journal(tmp_path, lambda: 0.0)
    await first.add_session(ROW)
    await first.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + step}")
    db.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    second = Journal(tmp_path, lambda: 0.0)
    with pytest.raises(SessionStoreError, match=f"schema {SCHEMA_VERSION + step}, from {words} Dichroic; this one knows {SCHEMA_VERSION}"):
        await second.session("s")
    await second.close()
    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_it_is_on_the_disk_before_the_answer(tmp_path: Path) -> None:
    made = Journal(tmp_path, lambda: 0.0)
    await made.prepare()
    settings = await made._call(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")])
    assert settings == ["wal", 2, 1]
    await made.close()


async def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    made = Journal(tmp_path / "sessions", lambda: 0.0)
    assert await made.session("s") is None
    assert await made.observations("s") == []
    assert not await made.expired("s")
    await made.delete("s")
    await made.purge(0.0)
    assert not (tmp_path / "sessions").exists()
    await made.close()


async def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "BUSY_S", 0.05)
    first, second = (Journal(tmp_path, lambda: 0.0) for _ in range(2))
    await first.add_session(ROW)
    with pytest.raises(SessionStoreError, match="locked"):
        await second.session("s")
    await first.close()
    assert await second.session("s") == ROW
    await second.close()


async def test_an_observation_of_a_session_that_is_gone_is_refused(tmp_path: Path) -> None:
    made = Journal(tmp_path, lambda: 0.0)
    await made.add_session(ROW)
    await made.add_session(replace(ROW, id="t", request_id="once"))
    assert (await made.add_session(replace(ROW, id="u", request_id="once"))).id == "t"
    await made.add_observation(ObservationRow("s", 2, "r", "", b"block", b"answer"), 200.0)
    with pytest.raises(SessionStoreError):
        await made.add_observation(ObservationRow("s", 2, "", "", b"block", b"answer"), 300.0)
    with pytest.raises(SessionStoreError):
        await made.add_observation(ObservationRow("s", 3, "r", "", b"block", b"answer"), 300.0)
    with pytest.raises(SessionStoreError):
        await made.add_observation(ObservationRow("gone", 2, "", "", b"block", b"answer"), 300.0)
    found = await made.session("s")
    assert found is not None
    assert found.expires_s == 200.0  # of all that failed nothing stayed
    await made.delete("s")
    assert await made.observations("s") == []
    await made.close()


VICTIM = """
import asyncio, os, signal, sys
from pathlib import Path
import numpy as np
from services.mechanism import journal
from tests.services.mechanism.world import Lab, World, places, soon

folder, when = Path(sys.argv[1]), sys.argv[2]
kept = journal._transaction
armed = False

import contextlib

@contextlib.contextmanager
def deadly(db):
    with kept(db):
        yield
        if armed and when == "before the commit":
            os.kill(os.getpid(), signal.SIGKILL)
    if armed and when == "after the commit":
        os.kill(os.getpid(), signal.SIGKILL)

journal._transaction = deadly

async def main():
    global armed
    world = World()
    lab = await Lab.open(folder, divide=world)
    made = await lab.room.create_session("divide", 0, soon(), candidates=world.given(places(5, 8)))
    print(made.session_id, flush=True)
    for step in range(5):
        armed = step == 3 and when != "at any time"
        told = await lab.room.observe(made.session_id, soon(), given=world.given(places(2, step)), y=np.ones(2), request_id=f"r{step}")
        print(told.revision, flush=True)
    while True:
        told = await lab.room.observe(made.session_id, soon(), given=world.given(places(2, 9)), y=np.ones(2))
        print(told.revision, flush=True)

asyncio.run(main())
"""


def killed(folder: Path, when: str) -> tuple[str, list[int]]:
    """Runs the victim to its end: its session, and the revisions it acknowledged."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", VICTIM, str(folder), when]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        session_id, acknowledged = victim.stdout.readline().strip(), [1]
        for line in victim.stdout:
            acknowledged.append(int(line))
            if when == "at any time" and len(acknowledged) == 8:
                victim.kill()  # somewhere in the next one
        assert victim.wait(30) == -signal.SIGKILL
    return session_id, acknowledged


@pytest.mark.parametrize("when", ["before the commit", "after the commit", "at any time"])
async def test_kill_9_in_the_middle_of_observe_leaves_it_whole_or_not_there(when: str, tmp_path: Path) -> None:
    session_id, acknowledged = await asyncio.to_thread(killed, tmp_path, when)
    assert len(acknowledged) == 4 or when == "at any time"

    lab = await Lab.open(tmp_path, divide=World())
    told = await lab.room.predict("", 0, World().given(places(3, 5)), soon(), session_id=session_id)
    there = {"before the commit": [4], "after the commit": [5], "at any time": [acknowledged[-1], acknowledged[-1] + 1]}[when]
    assert told.revision in there
    if when != "at any time":
        again = await lab.room.observe(session_id, soon(), given=World().given(places(2, 3)), y=np.ones(2), request_id="r3")
        assert (again.repeated, again.revision) == (when == "after the commit", 5)
    await lab.room.close()
