"""The journal of sessions: what must outlive the process, in SQLite, committed to the disk before anybody is told.

One thread owns the connection. Arrays are stored as the bytes of a safetensors file. A session is its first row and its observations in order;
everything else of it can be made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dichroic.errors import SessionStoreError

FILE_NAME = "sessions.sqlite3"
SCHEMA_VERSION = 2
# How long an expired session's id is kept, to be told apart from one that never was.
TOMBSTONE_S = 90 * 86400.0
# How long to wait for another process that has the file open, before it is called an error.
BUSY_S = 2.0

SCHEMA = """
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, request_id TEXT NOT NULL, request_digest TEXT NOT NULL, model_name TEXT NOT NULL, model_version INTEGER NOT NULL,
  digest TEXT NOT NULL, mean REAL NOT NULL, created_s REAL NOT NULL, expires_after_s REAL NOT NULL, expires_s REAL NOT NULL, seed INTEGER NOT NULL,
  candidates BLOB, answer TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX sessions_request ON sessions (request_id) WHERE request_id <> '';
CREATE TABLE observations (
  session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE, revision INTEGER NOT NULL, request_id TEXT NOT NULL,
  request_digest TEXT NOT NULL, block BLOB NOT NULL, answer BLOB NOT NULL, PRIMARY KEY (session_id, revision)
) STRICT;
CREATE UNIQUE INDEX observations_request ON observations (session_id, request_id) WHERE request_id <> '';
CREATE TABLE tombstones (id TEXT PRIMARY KEY, expired_s REAL NOT NULL) STRICT;
"""

Result = TypeVar("Result")


@dataclass(frozen=True)
class SessionRow:
    """A session as it was made.

    Times in seconds since 1970; `request_digest`: see requests.digest_of; `candidates`: packed arrays; `answer`: CreateSession's, JSON; `mean`: μ of
    the model.
    """

    id: str
    request_id: str
    request_digest: str
    model_name: str
    model_version: int
    digest: str
    mean: float
    created_s: float
    expires_after_s: float
    expires_s: float
    seed: int
    candidates: bytes | None
    answer: str


@dataclass(frozen=True)
class ObservationRow:
    """One acknowledged Observe: `block` and `answer` are packed arrays."""

    session_id: str
    revision: int
    request_id: str
    request_digest: str
    block: bytes
    answer: bytes


class Journal:
    """The file in `folder`, opened when it is first needed: a server whose folder cannot be written starts, and says so when a session is made.

    Every method runs its work on the journal's own thread and raises SessionStoreError where the file or the disk does not do its part.

    Args:
        folder: where the file is.
        clock: seconds since 1970, UTC: what has expired is cleared away when the file is opened.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._connection: sqlite3.Connection | None = None

    async def prepare(self) -> None:
        """Opens the file, and makes it where there is none, before anything is worked out that could not be stored."""
        await self._call(lambda db: None)

    async def add_session(self, row: SessionRow) -> SessionRow:
        """Stores a session; the one that is there already where its request_id was used before."""
        return await self._call(lambda db: _add_session(db, row))

    async def add_observation(self, row: ObservationRow, expires_s: float) -> None:
        """Stores an observation, and until when its session lasts now, in one transaction."""
        await self._call(lambda db: _add_observation(db, row, expires_s))

    async def session(self, session_id: str) -> SessionRow | None:
        """A session's first row; None where there is none, or it has been cleared away."""
        return await self._call(lambda db: _one(db, "id", session_id), missing=None)

    async def session_of_request(self, request_id: str) -> SessionRow | None:
        """The session that was made for this request."""
        return await self._call(lambda db: _one(db, "request_id", request_id), missing=None)

    async def observations(self, session_id: str) -> list[ObservationRow]:
        """All of a session's, in order."""
        return await self._call(lambda db: _observations(db, session_id, ""), missing=[])

    async def observation_of_request(self, session_id: str, request_id: str) -> ObservationRow | None:
        """The one that was stored for this request."""
        found: list[ObservationRow] = await self._call(lambda db: _observations(db, session_id, request_id), missing=[])
        return found[0] if found else None

    async def prolong(self, session_id: str, expires_s: float) -> None:
        """Stores until when a session lasts."""
        await self._call(lambda db: _execute(db, "UPDATE sessions SET expires_s = ? WHERE id = ?", (expires_s, session_id)))

    async def expired(self, session_id: str) -> bool:
        """Whether a session of this id was cleared away because it expired."""
        query = "SELECT 1 FROM tombstones WHERE id = ?"
        return await self._call(lambda db: db.execute(query, (session_id,)).fetchone() is not None, missing=False)

    async def delete(self, session_id: str) -> None:
        """Removes a session whole."""
        await self._call(lambda db: _execute(db, "DELETE FROM sessions WHERE id = ?", (session_id,)), missing=None)

    async def purge(self, now_s: float) -> None:
        """Clears away what has expired; the ids stay for TOMBSTONE_S."""
        await self._call(lambda db: _purge(db, now_s), missing=None)

    async def close(self) -> None:
        """Ends the thread, after what it still has to do."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _call(self, work: Callable[[sqlite3.Connection], Result], **missing: Result) -> Result:
        """On the thread. With `missing`, its value where there is no file yet: then nothing is in it, and none is made."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, missing)

    def _run(self, work: Callable[[sqlite3.Connection], Result], missing: dict[str, Result]) -> Result:
        try:
            if "missing" in missing and self._connection is None and not (self.folder / FILE_NAME).exists():
                return missing["missing"]
            if self._connection is None:
                self._connection = _open(self.folder)
                _purge(self._connection, self._clock())
            return work(self._connection)
        except (sqlite3.Error, OSError) as error:
            file = self.folder / FILE_NAME
            message = f"The journal of sessions, {file}, cannot be used ({error}). Let DICHROIC_SESSIONS name a folder this server may write to."
            raise SessionStoreError(message, metadata={"folder": str(self.folder)}) from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(folder: Path) -> sqlite3.Connection:
    folder.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(folder / FILE_NAME, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        # A second server on the same file would answer from memory that the first one's observations never reach.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        with _transaction(db):
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in {0, SCHEMA_VERSION}:
                age = "newer" if version > SCHEMA_VERSION else "older"
                message = (
                    f"The journal {folder / FILE_NAME} has schema {version}, from {'a' if age == 'newer' else 'an'} {age} Dichroic; this one knows "
                    f"{SCHEMA_VERSION}. Run the {age} server, or name another folder by DICHROIC_SESSIONS."
                )
                raise SessionStoreError(message, metadata={"schema": str(version), "known": str(SCHEMA_VERSION)})
            if version == 0:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; on the disk when the block has ended."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _execute(db: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
    with _transaction(db):
        db.execute(statement, values)


def _add_session(db: sqlite3.Connection, row: SessionRow) -> SessionRow:
    with _transaction(db):
        there = _one(db, "request_id", row.request_id) if row.request_id else None
        if there is None:
            db.execute(f"INSERT INTO sessions VALUES ({', '.join('?' * len(vars(row)))})", tuple(vars(row).values()))  # noqa: S608 - question marks
    return there or row


def _add_observation(db: sqlite3.Connection, row: ObservationRow, expires_s: float) -> None:
    with _transaction(db):
        db.execute("INSERT INTO observations VALUES (?, ?, ?, ?, ?, ?)", tuple(vars(row).values()))
        db.execute("UPDATE sessions SET expires_s = ? WHERE id = ?", (expires_s, row.session_id))


def _one(db: sqlite3.Connection, column: str, value: str) -> SessionRow | None:
    found = db.execute(f"SELECT * FROM sessions WHERE {column} = ?", (value,)).fetchone()  # noqa: S608 - a column's name, of this file
    return None if found is None else SessionRow(*found)


def _observations(db: sqlite3.Connection, session_id: str, request_id: str) -> list[ObservationRow]:
    query = "SELECT * FROM observations WHERE session_id = ? AND (? = '' OR request_id = ?) ORDER BY revision"
    return [ObservationRow(*found) for found in db.execute(query, (session_id, request_id, request_id))]


def _purge(db: sqlite3.Connection, now_s: float) -> None:
    with _transaction(db):
        db.execute("INSERT OR REPLACE INTO tombstones SELECT id, expires_s FROM sessions WHERE expires_s <= ?", (now_s,))
        db.execute("DELETE FROM sessions WHERE expires_s <= ?", (now_s,))
        db.execute("DELETE FROM tombstones WHERE expired_s <= ?", (now_s - TOMBSTONE_S,))
