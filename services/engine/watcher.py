"""Looks at the bundle folder from time to time and brings the repository in line: new, changed and vanished versions.

It polls: bundle volumes are often network file systems, which send no change events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from dichroic.bundle import versions_in
from dichroic.bundle.files import is_model_name
from dichroic.errors import DichroicError
from services.engine.repository import Repository, State

log = logging.getLogger("dichroic.engine")

# What tells one reading of a version from the next: name, inode, size and time of each file. A copy that is still going on changes it, so a
# version that was refused half-copied is tried again when it is whole.
Fingerprint = tuple[tuple[str, int, int, int], ...]


class FolderWatcher:
    """Remembers what was seen, so that a refused version is tried again only after it changed."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._seen: dict[tuple[str, int], Fingerprint] = {}
        self._told: set[str] = set()

    async def look(self) -> None:
        """One look: loads what is new or changed, lowest version first, and forgets what is gone."""
        found, misnamed = await asyncio.to_thread(scan, self._repository.folder)
        for name in sorted(misnamed - self._told):
            log.warning("folder %a in the bundle folder cannot be a model: a name is 1 to 64 letters, digits, '-' and '_'", name)
        self._told |= misnamed
        for key in sorted(self._seen.keys() - found.keys()):
            log.warning("model %s version %d is gone from the bundle folder", *key)
            await self._repository.forget(*key)
            del self._seen[key]
        for key in sorted(found):
            if self._seen.get(key) == found[key]:
                continue
            self._seen[key] = found[key]
            if not self._unloaded_on_purpose(key):
                await self._load(key)

    async def watch(self, every_s: float) -> None:
        """Looks for ever, every `every_s` seconds."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look()
            except OSError as error:  # an unmounted volume comes back; until then what serves goes on serving
                log.warning("bundle folder %s cannot be read (%s); what is loaded goes on serving", self._repository.folder, error)

    async def _load(self, key: tuple[str, int]) -> None:
        try:
            await self._repository.load(*key)
        except DichroicError as error:
            log.debug("model %s version %d: %s", *key, error.message)  # the repository has logged and remembers it

    def _unloaded_on_purpose(self, key: tuple[str, int]) -> bool:
        return any((entry.name, entry.version) == key and entry.state is State.UNLOADED for entry in self._repository.entries())


def scan(folder: Path) -> tuple[dict[tuple[str, int], Fingerprint], set[str]]:
    """Every `<name>/<version>/` with its fingerprint, and the names of folders that cannot be models. Blocking.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[tuple[str, int], Fingerprint] = {}
    misnamed: set[str] = set()
    for home in sorted(folder.iterdir()):
        if home.name.startswith(".") or not home.is_dir():
            continue
        if not is_model_name(home.name):
            misnamed.add(home.name)
            continue
        for version in versions_in(home):
            found[home.name, version] = _fingerprint(home / str(version))
    return found, misnamed


def _fingerprint(version_folder: Path) -> Fingerprint:
    with contextlib.suppress(OSError):  # it vanished meanwhile: loading, or the next look, will say so
        return tuple(sorted((entry.name, *_facts(entry.stat(follow_symlinks=False))) for entry in os.scandir(version_folder)))
    return ()


def _facts(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_ino, found.st_size, found.st_mtime_ns)
