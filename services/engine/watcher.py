"""Looks at the bundle folder from time to time and brings the repository in line: new, changed and vanished versions.

It polls: bundle volumes are often network file systems, which send no change events.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from dichroic.bundle import MANIFEST_NAME, versions_in
from dichroic.errors import DichroicError
from services.engine.repository import Repository, State

log = logging.getLogger("dichroic.engine")

# What tells one reading of a version from the next: inode, size and time of its manifest.
Fingerprint = tuple[int, int, int]


class FolderWatcher:
    """Remembers what was seen, so that a refused version is tried again only after it changed."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._seen: dict[tuple[str, int], Fingerprint] = {}

    async def look(self) -> None:
        """One look: loads what is new or changed, lowest version first, and forgets what is gone."""
        found = await asyncio.to_thread(scan, self._repository.folder)
        for key in sorted(self._seen.keys() - found.keys()):
            log.warning("model %s version %d is gone from the bundle folder", *key)
            self._repository.forget(*key)
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


def scan(folder: Path) -> dict[tuple[str, int], Fingerprint]:
    """Every `<name>/<version>/` with its fingerprint. Blocking.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[tuple[str, int], Fingerprint] = {}
    for home in sorted(folder.iterdir()):
        if home.is_dir() and not home.name.startswith("."):
            for version in versions_in(home):
                found[home.name, version] = _fingerprint(home / str(version))
    return found


def _fingerprint(version_folder: Path) -> Fingerprint:
    try:
        stat = (version_folder / MANIFEST_NAME).lstat()
    except OSError:
        stat = version_folder.lstat()  # no manifest: loading will say so
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
