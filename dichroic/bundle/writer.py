"""Writing a bundle: complete under a hidden name, then renamed, so that no reader ever sees half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dichroic.bundle.files import MANIFEST_NAME, is_version, sha256_of
from dichroic.bundle.manifest import FileEntry, Manifest


def write_bundle(bundles: Path, manifest: Manifest, files: Mapping[str, bytes]) -> tuple[Path, Manifest]:
    """Writes `files` and the manifest to `bundles/<name>/<version>/`.

    `manifest.version` and `manifest.files` are placeholders: the version becomes the highest present + 1 (1 for the first), the list is
    made from `files`.

    Returns:
        The folder, and the manifest as written.

    Raises:
        OSError: the folder cannot be written. Nothing is left behind.
    """
    entries = tuple(FileEntry(path=path, sha256=sha256_of(data), size_bytes=len(data)) for path, data in sorted(files.items()))
    home = bundles / manifest.name
    home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
    try:
        draft.chmod(0o755)  # mkdtemp makes it private; a server often runs as another user
        for path, data in files.items():
            _write_synced(draft / path, data)
        return _publish(home, draft, manifest.model_copy(update={"files": entries}))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _publish(home: Path, draft: Path, manifest: Manifest) -> tuple[Path, Manifest]:
    while True:
        # Whatever bears a number takes it, a stray file or a link too: rename would fail on it again and again.
        version = max((int(entry.name) for entry in home.iterdir() if is_version(entry.name)), default=0) + 1
        # Validated anew: model_copy does not check. What is left out stays out: an older reader refuses a field it does not know, default or not.
        final = Manifest.model_validate_json(manifest.model_copy(update={"version": version}).model_dump_json(exclude_unset=True))
        _write_synced(draft / MANIFEST_NAME, (final.model_dump_json(indent=1, exclude_unset=True) + "\n").encode("utf-8"))
        _sync_folder(draft)
        try:
            draft.rename(home / str(version))
        except OSError:
            # Another writer took this number between listing and renaming: take the next.
            if not os.path.lexists(home / str(version)):
                raise
            continue
        _sync_folder(home)
        return home / str(version), final


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once its folder is on the disk. Windows has no such call.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
