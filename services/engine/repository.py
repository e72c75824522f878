"""The bundle folder and what of it serves: loading, atomic swap, unloading."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from dichroic.bundle import versions_in
from dichroic.errors import (
    BundleRefusedError,
    DichroicError,
    InvalidFieldError,
    ModelNotReadyError,
    UnknownModelError,
    UnknownVersionError,
)
from services.engine.budget import QueueBudget
from services.engine.loader import Loader
from services.engine.model import ServingModel
from services.engine.observe import Observer

log = logging.getLogger("dichroic.engine")

# How long a caller should wait before it asks again for a version that is being loaded.
LOADING_RETRY_S = 1.0


class State(enum.Enum):
    """Where a version is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADED = "unloaded"


@dataclass(frozen=True)
class Entry:
    """A version as known. `model` is what serves: also while a newer reading of the same version loads or fails."""

    name: str
    version: int
    state: State
    detail: str = ""
    model: ServingModel | None = None


class Repository:
    """All versions of all models. Every method runs in the event loop; loading itself runs on a thread, one bundle at a time."""

    def __init__(self, folder: Path, loader: Loader, budget: QueueBudget, observer: Observer) -> None:
        self.folder = folder
        self.device = loader.device
        self._loader = loader
        self._budget = budget
        self._observer = observer
        self._entries: dict[tuple[str, int], Entry] = {}
        self._loading = asyncio.Lock()

    def entries(self) -> list[Entry]:
        """Every known version, sorted by name, then version."""
        return [self._entries[key] for key in sorted(self._entries)]

    def default_version(self, name: str) -> int | None:
        """The version that a request without one gets: the highest that serves."""
        return max((version for (known, version), entry in self._entries.items() if known == name and entry.model), default=None)

    def find(self, name: str, version: int) -> ServingModel:
        """The model that serves this version (0: the highest that serves).

        Raises:
            UnknownModelError, UnknownVersionError: not known.
            ModelNotReadyError: known, and not serving.
            InvalidFieldError: a negative version.
        """
        _check_version(version)
        known = sorted(number for known_name, number in self._entries if known_name == name)
        if not known:
            there = ", ".join(sorted({entry.name for entry in self._entries.values()})) or "none at all"
            raise UnknownModelError(f"No model {name!r} is here; known are: {there}.", field="model_name", metadata={"model_name": name})
        entry = self._entries.get((name, version or self.default_version(name) or known[-1]))
        if entry is None:
            raise _no_version(name, version, known)
        if entry.model is None:
            raise self._not_ready(entry)
        return entry.model

    @contextlib.asynccontextmanager
    async def lease(self, name: str, version: int) -> AsyncIterator[ServingModel]:
        """The model that serves, kept alive until the block ends, whatever is swapped or unloaded meanwhile. Raises as find."""
        model = self.find(name, version)
        model.users += 1
        try:
            yield model
        finally:
            model.release()

    async def load(self, name: str, version: int) -> ServingModel:
        """Reads a version from the folder (0: the highest there) and swaps it in when every step has passed.

        Raises:
            UnknownModelError, UnknownVersionError: there is no such folder.
            BundleRefusedError: a step refused it; what served before still serves.
        """
        version = self._on_disk(name, version)
        async with self._loading:
            return await self._load_locked(name, version)

    async def unload(self, name: str, version: int, detail: str = "unloaded by request") -> list[ServingModel]:
        """Takes a version (0: every one) out of service. Requests already accepted finish. Raises as find, for what is not known."""
        _check_version(version)
        async with self._loading:  # a load in progress ends first, and does not undo this
            keys = [key for key in sorted(self._entries) if key[0] == name and version in (0, key[1])]
            if not keys:
                self.find(name, version)  # raises the error that fits
            taken = [entry.model for entry in (self._entries[key] for key in keys) if entry.model]
            for key in keys:
                self._entries[key] = Entry(*key, State.UNLOADED, detail)
        for model in taken:
            model.retire()
        return taken

    def forget(self, name: str, version: int) -> None:
        """Drops a version that is gone from the folder; requests already accepted finish."""
        entry = self._entries.pop((name, version), None)
        if entry and entry.model:
            entry.model.retire()

    async def drain(self) -> None:
        """Returns when every request that was accepted has its answer."""
        models = [entry.model for entry in self._entries.values() if entry.model]
        for model in models:
            model.retire()
        for model in models:
            await model.idle.wait()

    async def _load_locked(self, name: str, version: int) -> ServingModel:
        key = (name, version)
        before = self._entries.get(key)
        serving = before.model if before else None
        self._entries[key] = Entry(name, version, State.READY if serving else State.LOADING, "", serving)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            bundle = await asyncio.to_thread(self._loader.load, self.folder / name / str(version))
        except BundleRefusedError as error:
            self._refuse(key, error, loop.time() - started)
            raise
        except Exception as error:
            refused = BundleRefusedError("load", "UNEXPECTED", f"Loading broke off: {type(error).__name__}: {error}.")
            self._refuse(key, refused, loop.time() - started)
            raise refused from error
        model = ServingModel.start(bundle, self._budget, self._observer)
        replaced = self._entries.get(key)
        self._entries[key] = Entry(name, version, State.READY, "", model)  # the swap: from here on new requests get the new one
        if replaced and replaced.model:
            replaced.model.retire()
        self._observer.model_loaded(name, "ready", loop.time() - started)
        log.info("model %s version %d ready, digest %s, on %s, %.2f s", name, version, bundle.digest[:12], self.device.name, loop.time() - started)
        return model

    def _refuse(self, key: tuple[str, int], error: BundleRefusedError, duration_s: float) -> None:
        entry = self._entries[key]
        detail = f"{error.step} ({error.cause}): {error.message}"
        self._entries[key] = replace(entry, state=State.READY if entry.model else State.FAILED, detail=detail)
        self._observer.model_loaded(key[0], error.step, duration_s)
        log.error("model %s version %d refused at step %s%s", *key, detail, "; the version that serves stays" if entry.model else "")

    def _on_disk(self, name: str, version: int) -> int:
        _check_version(version)
        # The name comes from a request: only a direct child of the folder counts, whatever dots and slashes it holds.
        is_child = name not in ("", ".", "..") and Path(name).name == name
        found = versions_in(self.folder / name) if is_child else []
        if not found:
            raise UnknownModelError(f"There is no model {name!r} in the bundle folder.", field="model_name", metadata={"model_name": name})
        if version and version not in found:
            raise _no_version(name, version, found)
        return version or found[-1]

    def _not_ready(self, entry: Entry) -> DichroicError:
        loading = entry.state is State.LOADING
        advice = "Ask again in a moment." if loading else "ListModels tells why; an administrator can load it again."
        message = f"Model {entry.name!r} version {entry.version} is {entry.state.value}. {advice}"
        # Only a version that is being loaded becomes ready by waiting.
        return ModelNotReadyError(message, field="model_name", retry_delay_s=LOADING_RETRY_S if loading else None)


def _check_version(version: int) -> None:
    if version < 0:
        raise InvalidFieldError(f"model_version is {version}; it is 1 or more, or 0 for the highest that serves.", field="model_version")


def _no_version(name: str, version: int, there: list[int]) -> UnknownVersionError:
    return UnknownVersionError(
        f"Model {name!r} has no version {version}; there are {there}. Send 0 for the highest that serves.",
        field="model_version",
        metadata={"model_name": name, "model_version": str(version)},
    )
