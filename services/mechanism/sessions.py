"""Sessions: in memory while they are used, in the journal until they expire. What is in memory can be dropped at any time and read again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

from dichroic.bundle import MechanismSection
from dichroic.bundle.arrays import unpack
from dichroic.errors import (
    BundleRefusedError,
    ModelNotReadyError,
    SessionExpiredError,
    SessionModelChangedError,
    SessionStoreError,
    UnknownModelError,
    UnknownSessionError,
    UnknownVersionError,
)
from services.engine.lanes import Lanes
from services.engine.model import Identity, ServingModel
from services.engine.repository import Repository
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.graphs import Described
from services.mechanism.journal import Journal, ObservationRow, SessionRow
from services.mechanism.lanes import Call, locked
from services.mechanism.memory import CALL, Memory
from services.mechanism.session import Session, session_bytes
from services.mechanism.state import Block, Start
from services.mechanism.suggesting import features_of

log = logging.getLogger("dichroic.mechanism")

# Of a session's time to live: how far what the journal knows of its last use may lag behind.
LAG = 0.05


@dataclass(eq=False)
class Held:
    """A session that is known here. `stored_s`: until when it lasts as the journal knows; `gone`: deleted while somebody waited for it."""

    row: SessionRow
    expires_s: float
    stored_s: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None
    gone: bool = False


def held_of(row: SessionRow, session: Session | None = None) -> Held:
    """As the journal knows it; its candidates stay there."""
    return Held(replace(row, candidates=None), row.expires_s, row.expires_s, session=session)


@dataclass(frozen=True)
class InUse:
    """A session that is this caller's until the block ends, and the model it was made from."""

    held: Held
    session: Session
    call: Call

    @property
    def told_by(self) -> tuple[Identity, str, int]:
        """How its answers begin: the bundle it was made from, its id and its revision."""
        row = self.session.row
        return Identity(row.model_name, row.model_version, row.digest), row.id, self.session.revision


class Sessions:
    """All sessions of a server. Every method runs in the event loop.

    Args:
        repository: where their models are.
        journal: where they outlive the process.
        lanes: for arithmetic.
        max_bytes: that all of them together may take in memory.
        clock: seconds since 1970, UTC.
    """

    def __init__(self, repository: Repository, journal: Journal, lanes: Lanes, max_bytes: int, clock: Callable[[], float]) -> None:
        self.memory = Memory(max_bytes)
        self._repository, self._journal, self._lanes, self._clock = repository, journal, lanes, clock
        self._held: dict[str, Held] = {}

    @contextlib.asynccontextmanager
    async def use(self, session_id: str, deadline: float) -> AsyncIterator[InUse]:
        """The session, read from the journal if it is not in memory. Nobody else has it meanwhile; once the block has ended its time starts anew.

        Raises:
            UnknownSessionError, SessionExpiredError, SessionModelChangedError, SessionMemoryError, SessionStoreError, DeadlineExceededError.
        """
        async with self.lock(session_id, deadline) as held:
            with self._lease(held.row) as (model, section):
                session = held.session or await self._replay(held, model, section, deadline)
                self.memory.touch(session_id)
                yield InUse(held, session, Call(model, section, deadline, self._lanes))
            await self._prolong(held)

    @contextlib.asynccontextmanager
    async def lock(self, session_id: str, deadline: float) -> AsyncIterator[Held]:
        """The session without its posterior and model. Raises as use."""
        held = await self._find(session_id)
        async with locked(held.lock, deadline):
            if held.gone:
                raise unknown(session_id)
            self._check_time(held)  # it may have waited long
            yield held

    async def section(self, session_id: str) -> MechanismSection:
        """What the session's model takes; the session itself is neither read nor waited for. Raises as use."""
        with self._lease((await self._find(session_id)).row) as (_, section):
            return section

    def reserve(self, session: Session, points: int = 0) -> None:
        """Makes room for a session as it will be with so many points more; others, not in use, are dropped for it.

        Raises:
            SessionMemoryError: it does not fit.
        """
        self.reserve_bytes(session.row.id, session.memory_bytes_with(points))

    def reserve_bytes(self, session_id: str, needed: int) -> None:
        """Likewise, of so many bytes."""
        for dropped in self.memory.reserve(session_id, needed, in_use=self._in_use):
            self._held[dropped].session = None

    @contextlib.contextmanager
    def borrowed(self, needed: int) -> Iterator[None]:
        """Makes room for what one call takes until the block ends. Raises as reserve."""
        call_id = CALL + secrets.token_hex(8)
        self.reserve_bytes(call_id, needed)
        try:
            yield
        finally:
            self.memory.release(call_id)

    def add(self, session: Session) -> None:
        """A session that was just made, and is in the journal."""
        self._held[session.row.id] = held_of(session.row, session)

    def forget(self, held: Held) -> None:
        """A session that was deleted; whoever waits for it is told."""
        held.gone = True
        held.session = None
        self._held.pop(held.row.id, None)
        self.memory.release(held.row.id)

    def expires_s(self, row: SessionRow) -> float:
        """Until when a session lasts that is used now."""
        return self._clock() + row.expires_after_s

    async def purge(self) -> None:
        """Clears away what has expired, here and in the journal."""
        now = self._clock()
        for held in list(self._held.values()):
            if held.lock.locked():  # it was alive when this use of it began
                held.expires_s = max(held.expires_s, self.expires_s(held.row))
            if held.stored_s <= now < held.expires_s:
                await self._journal.prolong(held.row.id, held.expires_s)
                held.stored_s = held.expires_s
            if held.expires_s <= now:
                self._held.pop(held.row.id, None)
                self.memory.release(held.row.id)
        await self._journal.purge(now)

    def _in_use(self, session_id: str) -> bool:
        # One that is not known is being made, or stands for a call.
        return session_id not in self._held or self._held[session_id].lock.locked()

    async def _find(self, session_id: str) -> Held:
        if session_id not in self._held:
            row = await self._journal.session(session_id)
            if row is None:
                raise expired(session_id) if await self._journal.expired(session_id) else unknown(session_id)
            # Somebody else may have come here meanwhile: both get the same lock.
            self._held.setdefault(session_id, held_of(row))
        held = self._held[session_id]
        self._check_time(held)
        return held

    def _check_time(self, held: Held) -> None:
        if held.expires_s <= self._clock():
            raise expired(held.row.id)

    async def _prolong(self, held: Held) -> None:
        held.expires_s = self.expires_s(held.row)
        if held.expires_s - held.stored_s > LAG * held.row.expires_after_s:
            try:
                await self._journal.prolong(held.row.id, held.expires_s)
                held.stored_s = held.expires_s
            except SessionStoreError as error:
                log.warning("the use of session %s was not stored: %s", held.row.id, error.message)

    async def _replay(self, held: Held, model: ServingModel, section: MechanismSection, deadline: float) -> Session:
        row = await self._journal.session(held.row.id)
        if row is None:
            raise unknown(held.row.id)
        start, described = Start.of(section, model.fixed, row.mean), _described(row)
        blocks = [_block(observation) for observation in await self._journal.observations(row.id)]
        self.reserve_bytes(row.id, session_bytes(start, described, sum(map(len, blocks)), features_of(model)))

        def replayed() -> Session:
            session = Session(held.row, SessionPosterior(start), described, features_of(model))
            for block in blocks:
                session.take(block)
            return session

        try:
            session = await self._lanes.run(deadline, replayed)
        except BaseException as error:
            self.memory.release(row.id)
            if isinstance(error, ValueError):
                raise _broken(row.id, str(error)) from error
            raise
        held.session = session
        return session

    @contextlib.contextmanager
    def _lease(self, row: SessionRow) -> Iterator[tuple[ServingModel, MechanismSection]]:
        """The model whose digest is the session's, under the version it was made from or another."""
        serving = [entry.model for entry in self._repository.entries() if entry.name == row.model_name and entry.model is not None]
        versions = [model.manifest.version for model in serving if model.bundle.digest == row.digest]
        if not versions:
            raise self._why_changed(row)
        with self._repository.lease(row.model_name, row.model_version if row.model_version in versions else versions[-1]) as model:
            section = model.manifest.mechanism
            if section is None:
                raise self._why_changed(row)
            yield model, section

    def _why_changed(self, row: SessionRow) -> ModelNotReadyError | SessionModelChangedError:
        try:
            now = self._repository.find(row.model_name, row.model_version).bundle.digest
            found = f"version {row.model_version} now is another bundle ({now[:12]})"
        except ModelNotReadyError as error:
            if error.retry_delay_s is not None:  # it is being loaded, and may be the one
                return error
            found = "it does not serve"
        except (UnknownModelError, UnknownVersionError):
            found = "it is not there any more"
        message = (
            f"Session {row.id} was made from {row.model_name} version {row.model_version} (digest {row.digest[:12]}), but {found}. "
            "Load that bundle again, or make a new session."
        )
        metadata = {"session_id": row.id, "model_name": row.model_name, "model_version": str(row.model_version), "digest": row.digest}
        return SessionModelChangedError(message, metadata=metadata)


def unknown(session_id: str) -> UnknownSessionError:
    """Never made here, or deleted."""
    message = f"No session {session_id!r} is here: it was never made on this server, or was deleted. Make one with CreateSession."
    return UnknownSessionError(message, field="session_id", metadata={"session_id": session_id})


def expired(session_id: str) -> SessionExpiredError:
    """Not used for too long."""
    message = f"Session {session_id} was not used for as long as it was made to last, and is gone. Make a new one, with a longer expires_after_s."
    return SessionExpiredError(message, field="session_id", metadata={"session_id": session_id})


def _described(row: SessionRow) -> Described | None:
    if row.candidates is None:
        return None
    try:
        arrays = unpack(row.candidates, path="the journal")
        return Described(arrays["latents"], arrays["factor_variance"], row.mean)
    except (BundleRefusedError, KeyError) as error:
        raise _broken(row.id, f"its candidates are not readable: {error}") from error


def _block(row: ObservationRow) -> Block:
    try:
        return Block.of(unpack(row.block, path="the journal"))
    except (BundleRefusedError, KeyError) as error:
        raise _broken(row.session_id, f"revision {row.revision} is not readable: {error}") from error


def _broken(session_id: str, what: str) -> SessionStoreError:
    return SessionStoreError(f"Session {session_id} cannot be read from the journal ({what}). Make a new one.", metadata={"session_id": session_id})
