"""Reading a bundle: nothing is believed before its size and hash are checked, and what was checked is what is used."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dichroic.bundle.files import MANIFEST_NAME, README_NAME, sha256_of
from dichroic.bundle.manifest import FORMAT_VERSION, FileEntry, Manifest
from dichroic.errors import BundleRefusedError

# A manifest is a few kilobytes; more is a mistake or an attack.
MAX_MANIFEST_BYTES = 4 << 20
MAX_BUNDLE_BYTES = 2 << 30


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte was checked. `files`: path to content; the folder is not read again."""

    manifest: Manifest
    files: dict[str, bytes]

    @property
    def model_card(self) -> str:
        """The README.md of the bundle, Markdown; empty when it has none."""
        return self.files.get(README_NAME, b"").decode("utf-8", errors="replace")


def read_bundle(folder: Path) -> Bundle:
    """Reads `<name>/<version>/` whole and checks it.

    Raises:
        BundleRefusedError: step "manifest" or "files", with a stable cause.
    """
    manifest = read_manifest(folder)
    _check_place(folder, manifest)
    _check_listing(folder, manifest)
    if sum(entry.size_bytes for entry in manifest.files) > MAX_BUNDLE_BYTES:
        raise _refused("files", "TOO_LARGE", f"{folder} declares more than {MAX_BUNDLE_BYTES} bytes.")
    return Bundle(manifest, {entry.path: _read_entry(folder, entry) for entry in manifest.files})


def read_manifest(folder: Path) -> Manifest:
    """Reads and validates bundle.json alone.

    Raises:
        BundleRefusedError: step "manifest".
    """
    _check_no_links(folder)
    text = _read_regular(folder / MANIFEST_NAME, "manifest", limit_bytes=MAX_MANIFEST_BYTES)
    try:
        facts = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _refused("manifest", "NOT_JSON", f"{folder / MANIFEST_NAME} is not JSON in UTF-8: {error}.") from error
    _check_major(folder, facts)
    try:
        # From the text, not from `facts`: strict validation takes JSON's arrays for tuples only there.
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        unknown = any(detail["type"] == "extra_forbidden" for detail in error.errors())
        cause = "UNKNOWN_FIELD" if unknown else "INVALID_MANIFEST"
        lines = "; ".join(f"{'.'.join(map(str, d['loc'])) or 'manifest'}: {d['msg']}" for d in error.errors()[:5])
        raise _refused("manifest", cause, f"{folder / MANIFEST_NAME} does not follow docs/bundle-format.md: {lines}.") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    facts = dict(pairs)
    if len(facts) != len(pairs):
        # Readers differ in which of the two they take.
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:64]!r} stands twice in one object")
    return facts


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _check_major(folder: Path, facts: object) -> None:
    found = facts.get("format_version") if isinstance(facts, dict) else None
    major = found.split(".")[0] if isinstance(found, str) else ""
    ours = FORMAT_VERSION.split(".")[0]
    if major.isascii() and major.isdecimal() and major != ours:
        newer = len(major) > len(ours) or major > ours
        advice = "Upgrade the server, or train again with a version of Dichroic that writes" if newer else "Train again to write"
        shown = f"{found:.20}"
        raise _refused("manifest", "FORMAT_VERSION", f"{folder} has bundle format {shown}; this reader knows {ours}.x. {advice} {ours}.x.")


def _check_no_links(folder: Path) -> None:
    for place in (folder, folder.absolute().parent):
        if place.is_symlink():
            raise _refused("manifest", "SYMLINK", f"{place} is a symbolic link; copy the bundle's folder to its place.")


def _check_place(folder: Path, manifest: Manifest) -> None:
    place = (folder.absolute().parent.name, folder.absolute().name)
    if place != (manifest.name, str(manifest.version)):
        raise _refused(
            "manifest",
            "WRONG_PLACE",
            f"The manifest says {manifest.name}/{manifest.version} but lies in {place[0]}/{place[1]}; rename the folder or write it again.",
        )


def _check_listing(folder: Path, manifest: Manifest) -> None:
    listed = {entry.path for entry in manifest.files}
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda item: item.name)
    except OSError as error:
        raise _refused("files", "UNREADABLE_FILE", f"{folder} cannot be listed ({error.strerror}).") from error
    for entry in entries:
        if entry.is_symlink():
            raise _refused("files", "SYMLINK", f"{entry.name} in {folder} is a symbolic link; a bundle holds plain files only.")
        if entry.name != MANIFEST_NAME and entry.name not in listed:
            raise _refused("files", "UNLISTED_FILE", f"{entry.name} in {folder} is not in the manifest; remove it or write the bundle again.")


def _read_entry(folder: Path, entry: FileEntry) -> bytes:
    # The manifest's pattern leaves no separator and no leading dot in a path, so it cannot leave the folder.
    data = _read_regular(folder / entry.path, "files", size_bytes=entry.size_bytes)
    if sha256_of(data) != entry.sha256:
        raise _refused("files", "WRONG_HASH", f"{entry.path} is not the file the manifest names (SHA-256 differs): copy the bundle again.")
    return data


def _read_regular(path: Path, step: str, *, size_bytes: int | None = None, limit_bytes: int = MAX_BUNDLE_BYTES) -> bytes:
    """A plain file's bytes. Its size is known before anything is read: `size_bytes` exactly, or `limit_bytes` at most."""
    try:
        # Without O_NONBLOCK, opening a FIFO waits for somebody to write to it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        cause = "SYMLINK" if path.is_symlink() else "MISSING_FILE" if isinstance(error, FileNotFoundError) else "UNREADABLE_FILE"
        raise _refused(step, cause, f"{path} cannot be read as a plain file ({error.strerror}).") from error
    try:
        # Before fdopen, which raises an error of its own for a folder.
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(step, "NOT_A_FILE", f"{path} is not a plain file.")
        if size_bytes is None and status.st_size > limit_bytes:
            raise _refused(step, "TOO_LARGE", f"{path} is larger than {limit_bytes} bytes.")
        if size_bytes is not None and status.st_size != size_bytes:
            raise _refused(step, "WRONG_SIZE", f"{path} has {status.st_size} bytes, the manifest says {size_bytes}: copy the bundle again.")
        with os.fdopen(handle, "rb", closefd=False) as file:
            # No more than that, should it grow meanwhile.
            return file.read(status.st_size)
    except OSError as error:
        raise _refused(step, "UNREADABLE_FILE", f"{path} cannot be read ({error.strerror}).") from error
    finally:
        os.close(handle)


def _refused(step: str, cause: str, message: str) -> BundleRefusedError:
    return BundleRefusedError(step, cause, message)
