"""The bundle folder and what of it serves: loading, atomic swap, unloading."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from dichroic.bundle import LatentSection, MechanismSection, TransitionSection, versions_in
from dichroic.bundle.files import is_model_name
from dichroic.errors import (
    BundleRefusedError,
    DichroicError,
    InvalidFieldError,
    ModelNotReadyError,
    UnknownModelError,
    UnknownVersionError,
    UnsupportedCapabilityError,
)
from services.engine.budget import QueueBudget
from services.engine.loader import Loader
from services.engine.model import ServingModel
from services.engine.observe import Observer

log = logging.getLogger("dichroic.engine")

# How long a caller should wait before it asks again for a version that is being loaded.
LOADING_RETRY_S = 1.0

Section = TypeVar("Section", LatentSection, MechanismSection, TransitionSection)
# Of which kind the bundles with a section are.
KINDS = {LatentSection: "latent", MechanismSection: "mechanism", TransitionSection: "transition"}


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
        self._defaults: dict[str, Entry] = {}
        self._one_load = asyncio.Lock()
        self._versions: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._retired: set[ServingModel] = set()
        self._loads: set[asyncio.Task[ServingModel]] = set()

    def entries(self) -> list[Entry]:
        """Every known version, sorted by name, then version."""
        return [self._entries[key] for key in sorted(self._entries)]

    def default_version(self, name: str) -> int | None:
        """The version that a request without one gets: the highest that serves."""
        entry = self._defaults.get(name)
        return None if entry is None else entry.version

    def find(self, name: str, version: int) -> ServingModel:
        """The model that serves this version (0: the highest that serves).

        Raises:
            UnknownModelError, UnknownVersionError: not known.
            ModelNotReadyError: known, and not serving.
            InvalidFieldError: a negative version.
        """
        # The usual case first, and without a loop: every request comes by here.
        entry = self._entries.get((name, version)) if version else self._defaults.get(name)
        if entry is not None and entry.model is not None:
            return entry.model
        raise self._why_not(name, version)

    @contextlib.contextmanager
    def lease(self, name: str, version: int) -> Iterator[ServingModel]:
        """The model that serves, kept alive until the block ends, whatever is swapped or unloaded meanwhile. Raises as find."""
        model = self.find(name, version)
        model.hold()
        try:
            yield model
        finally:
            model.release()

    @contextlib.contextmanager
    def lease_with(self, section: type[Section], name: str, version: int) -> Iterator[tuple[ServingModel, Section]]:
        """As lease, of a model of the kind that has this section, which is told as well.

        Raises:
            UnsupportedCapabilityError: the model is of another kind.
        """
        with self.lease(name, version) as model:
            manifest = model.manifest
            for found in (manifest.latent, manifest.mechanism, manifest.transition):
                if isinstance(found, section):
                    yield model, found
                    return
            message = f"Model {name!r} is of kind {manifest.kind!r}; this needs one of kind {KINDS[section]!r}."
            raise UnsupportedCapabilityError(message, field="model_name")

    async def load(self, name: str, version: int) -> ServingModel:
        """Reads a version from the folder (0: the highest there) and swaps it in when every step has passed.

        Raises:
            UnknownModelError, UnknownVersionError: there is no such folder.
            BundleRefusedError: a step refused it; what served before still serves.
        """
        version = self._on_disk(name, version)
        # A task of its own: a caller that gives up must not leave a version half loaded.
        task = asyncio.create_task(self._load(name, version))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return await asyncio.shield(task)

    async def unload(self, name: str, version: int, detail: str = "unloaded by request") -> list[ServingModel]:
        """Takes a version (0: every one) out of service. Requests already accepted finish. Raises as find, for what is not known."""
        _check_version(version)
        keys = [key for key in sorted(self._entries) if key[0] == name and version in (0, key[1])]
        if not keys:
            self.find(name, version)  # raises the error that fits
        taken: list[ServingModel] = []
        for key in keys:
            async with self._versions[key]:  # a load of this version ends first, and does not undo this
                model = self._entries[key].model if key in self._entries else None
                self._set(Entry(*key, State.UNLOADED, detail))
                taken += [model] if model else []
                self._retire(model)
        return taken

    async def forget(self, name: str, version: int) -> None:
        """Drops a version that is gone from the folder; requests already accepted finish."""
        async with self._versions[name, version]:
            entry = self._entries.pop((name, version), None)
            self._settle_default(name)
            self._retire(entry.model if entry else None)

    async def drain(self, timeout_s: float) -> None:
        """Returns when every request that was accepted has its answer, also from models that were swapped or unloaded meanwhile.

        Raises:
            TimeoutError: some still run after `timeout_s` seconds.
        """
        for entry in self._entries.values():
            self._retire(entry.model)
        busy = [asyncio.create_task(model.idle.wait()) for model in self._retired if not model.idle.is_set()]
        if busy and (await asyncio.wait(busy, timeout=timeout_s))[1]:
            for task in busy:
                task.cancel()
            raise TimeoutError

    def _retire(self, model: ServingModel | None) -> None:
        self._retired = {one for one in self._retired if not one.idle.is_set()}
        if model is not None:
            self._retired.add(model)
            model.retire()

    async def _load(self, name: str, version: int) -> ServingModel:
        async with self._versions[name, version]:
            before = self._entries.get((name, version))
            serving = before.model if before else None
            self._set(Entry(name, version, State.READY if serving else State.LOADING, "", serving))
            async with self._one_load:
                return await self._load_locked(name, version, serving)

    async def _load_locked(self, name: str, version: int, serving: ServingModel | None) -> ServingModel:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            bundle = await asyncio.to_thread(self._loader.load, self.folder / name / str(version))
        except Exception as error:
            refused = error if isinstance(error, BundleRefusedError) else _unexpected(error)
            self._refuse((name, version), refused, loop.time() - started)
            raise refused from error
        model = ServingModel.start(bundle, self._budget, self._observer)
        self._set(Entry(name, version, State.READY, "", model))  # the swap: from here on new requests get the new one
        self._retire(serving)
        self._observer.model_loaded(name, "ready", loop.time() - started)
        log.info("model %s version %d ready, digest %s, on %s, %.2f s", name, version, bundle.digest[:12], self.device.name, loop.time() - started)
        return model

    def _set(self, entry: Entry) -> None:
        self._entries[entry.name, entry.version] = entry
        self._settle_default(entry.name)

    def _settle_default(self, name: str) -> None:
        serving = [entry for entry in self._entries.values() if entry.name == name and entry.model is not None]
        if serving:
            self._defaults[name] = max(serving, key=lambda entry: entry.version)
        else:
            self._defaults.pop(name, None)

    def _why_not(self, name: str, version: int) -> DichroicError:
        _check_version(version)
        known = sorted(number for known_name, number in self._entries if known_name == name)
        if not known:
            there = ", ".join(sorted({entry.name for entry in self._entries.values()})) or "none at all"
            message = f"No model {name!r} is here; known are: {there}."
            return UnknownModelError(message, field="model_name", metadata={"model_name": name})
        entry = self._entries.get((name, version or known[-1]))
        return _no_version(name, version, known) if entry is None else self._not_ready(entry)

    def _refuse(self, key: tuple[str, int], error: BundleRefusedError, duration_s: float) -> None:
        entry = self._entries[key]
        detail = f"{error.step} ({error.cause}): {error.message}"
        self._set(replace(entry, state=State.READY if entry.model else State.FAILED, detail=detail))
        self._observer.model_loaded(key[0], error.step, duration_s)
        log.error("model %s version %d refused at step %s%s", *key, detail, "; the version that serves stays" if entry.model else "")

    def _on_disk(self, name: str, version: int) -> int:
        _check_version(version)
        # The name comes from a request: what cannot be a model's name is not looked for.
        found = versions_in(self.folder / name) if is_model_name(name) else []
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


def _unexpected(error: Exception) -> BundleRefusedError:
    log.error("a load broke off", exc_info=error)
    return BundleRefusedError("load", "UNEXPECTED", f"Loading broke off ({type(error).__name__}); the server's log has the rest.")


def _check_version(version: int) -> None:
    if version < 0:
        raise InvalidFieldError(f"model_version is {version}; it is 1 or more, or 0 for the highest that serves.", field="model_version")


def _no_version(name: str, version: int, there: list[int]) -> UnknownVersionError:
    return UnknownVersionError(
        f"Model {name!r} has no version {version}; there are {there}. Send 0 for the highest that serves.",
        field="model_version",
        metadata={"model_name": name, "model_version": str(version)},
    )
