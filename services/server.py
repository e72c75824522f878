"""One serving process: engine, rooms and both transports, brought up and taken down in order."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import AsyncIterator

from dichroic.errors import ServerStartingError, ServerStoppingError
from services.engine.budget import QueueBudget
from services.engine.device import choose_device
from services.engine.loader import Loader
from services.engine.observe import Observer
from services.engine.repository import Repository
from services.engine.watcher import FolderWatcher
from services.latent import LatentRoom
from services.mechanism import MechanismRoom
from services.mechanism.posterior import make_fixed
from services.settings import Settings
from services.transition.room import TransitionRoom

log = logging.getLogger("dichroic.server")

# How long a caller should wait before it asks a server that starts or stops again.
STARTING_RETRY_S = 1.0
STOPPING_RETRY_S = 0.5


class Phase(enum.Enum):
    """Where the process is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Server:
    """Built inside the running event loop. Transports ask `check_open` before they accept anything."""

    def __init__(self, settings: Settings, observer: Observer) -> None:
        """Settles the device.

        Raises:
            DeviceError: the device asked for is not there, or two runtimes are installed.
        """
        self.settings = settings
        self.phase = Phase.STARTING
        # Set when draining begins: a stream has no end of its own.
        self.draining = asyncio.Event()
        device = choose_device(settings.device, intra_op_threads=settings.intra_op_threads, gpu_memory_bytes=settings.gpu_memory_bytes)
        loader = Loader(device, settings.max_batch, settings.queue_max_bytes, settings.load_timeout_s, {"mechanism": make_fixed})
        self.budget = QueueBudget(settings.queue_max_requests, settings.queue_max_bytes)
        self.repository = Repository(settings.bundles, loader, self.budget, observer)
        self.latent = LatentRoom(self.repository)
        self.mechanism = MechanismRoom(self.repository, settings.sessions, expiry_s=settings.session_expiry_s, max_bytes=settings.session_max_bytes)
        self.transition = TransitionRoom(self.repository)
        self._watcher = FolderWatcher(self.repository)
        self._watching: asyncio.Task[None] | None = None
        self._receiving: set[asyncio.Timeout] = set()

    async def start(self) -> None:
        """Loads and warms every bundle, then opens. A bundle that is refused is logged and listed; the others serve.

        Raises:
            OSError: the bundle folder cannot be read: nothing could ever be served from it.
        """
        await self.look()
        if not any(entry.model for entry in self.repository.entries()):
            log.warning("no bundle serves: %s holds none that passes (the folder is watched)", self.settings.bundles)
        if self.settings.watch_s:
            self._watching = asyncio.create_task(self._watcher.watch(self.settings.watch_s))
        self.phase = Phase.SERVING

    async def look(self) -> None:
        """One look at the bundle folder, as the watcher takes every `watch_s` seconds."""
        await self._watcher.look()

    def begin_draining(self) -> None:
        """From here on nothing new is accepted; what was accepted is finished."""
        if self.phase is not Phase.DRAINING:
            log.info("draining: accepted work is finished, new work is refused")
            for limit in self._receiving:
                limit.reschedule(asyncio.get_running_loop().time() + self.settings.drain_s)
        self.phase = Phase.DRAINING
        self.draining.set()

    async def stop(self) -> None:
        """Waits for accepted work, at most `drain_s` seconds."""
        self.begin_draining()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        try:
            await self.repository.drain(self.settings.drain_s)
        except TimeoutError:
            log.warning("work was still running %g s after the signal; it is given up", self.settings.drain_s)
        await self.transition.close()
        await self.mechanism.close()

    @contextlib.asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Around the receipt of a request in parts: once draining begins, what has not arrived after `drain_s` seconds is given up.

        Raises:
            ServerStoppingError: it was given up.
        """
        try:
            async with asyncio.timeout(None) as limit:
                self._receiving.add(limit)
                try:
                    yield
                finally:
                    self._receiving.discard(limit)
        except TimeoutError as error:
            message = "The server stopped before the request had arrived; ask again, another one takes over."
            raise ServerStoppingError(message, retry_delay_s=STOPPING_RETRY_S) from error

    def check_open(self) -> None:
        """Lets a request pass, or says why not.

        Raises:
            ServerStartingError, ServerStoppingError: with a delay after which this server, or the one that replaces it, may answer.
        """
        if self.phase is Phase.STARTING:
            raise ServerStartingError("The server is loading its models; ask again in a moment.", retry_delay_s=STARTING_RETRY_S)
        if self.phase is Phase.DRAINING:
            raise ServerStoppingError("The server is stopping; ask again, another one takes over.", retry_delay_s=STOPPING_RETRY_S)

    def deadline(self, timeout_s: float | None) -> float:
        """A request's deadline in the event loop's time; the default where it brings none."""
        return asyncio.get_running_loop().time() + (self.settings.default_timeout_s if timeout_s is None else timeout_s)
