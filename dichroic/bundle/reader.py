"""Reading a bundle: nothing is believed before its size and hash are checked, and what was checked is what is used."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dichroic.bundle.files import MANIFEST_NAME, README_NAME, sha256_of
from dichroic.bundle.manifest import FORMAT_VERSION, FileEntry, Manifest
from dichroic.errors import BundleRefusedError

# A manifest is a few kilobytes; more is a mistake or an attack.
MAX_MANIFEST_BYTES = 4 << 20
MAX_BUNDLE_BYTES = 8 << 30


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
    text = _read_regular(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES, "manifest")
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise _refused("manifest", "NOT_JSON", f"{folder / MANIFEST_NAME} is not JSON: {error}.") from error
    _check_major(folder, facts)
    try:
        # From the text, not from `facts`: strict validation takes JSON's arrays for tuples only there.
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        unknown = any(detail["type"] == "extra_forbidden" for detail in error.errors())
        cause = "UNKNOWN_FIELD" if unknown else "INVALID_MANIFEST"
        lines = "; ".join(f"{'.'.join(map(str, d['loc'])) or 'manifest'}: {d['msg']}" for d in error.errors()[:5])
        raise _refused("manifest", cause, f"{folder / MANIFEST_NAME} does not follow docs/bundle-format.md: {lines}.") from error


def _check_major(folder: Path, facts: object) -> None:
    found = facts.get("format_version") if isinstance(facts, dict) else None
    major = found.split(".")[0] if isinstance(found, str) else None
    ours = FORMAT_VERSION.split(".")[0]
    if major is not None and major.isdigit() and major != ours:
        newer = int(major) > int(ours)
        advice = "Upgrade the server, or train again with a version of Dichroic that writes" if newer else "Train again to write"
        raise _refused("manifest", "FORMAT_VERSION", f"{folder} has bundle format {found}; this reader knows {ours}.x. {advice} {ours}.x.")


def _check_place(folder: Path, manifest: Manifest) -> None:
    place = (folder.parent.name, folder.name)
    if place != (manifest.name, str(manifest.version)):
        raise _refused(
            "manifest",
            "WRONG_PLACE",
            f"The manifest says {manifest.name}/{manifest.version} but lies in {place[0]}/{place[1]}; rename the folder or write it again.",
        )


def _check_listing(folder: Path, manifest: Manifest) -> None:
    listed = {entry.path for entry in manifest.files}
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if entry.is_symlink():
            raise _refused("files", "SYMLINK", f"{entry.name} in {folder} is a symbolic link; a bundle holds plain files only.")
        if entry.name != MANIFEST_NAME and entry.name not in listed:
            raise _refused("files", "UNLISTED_FILE", f"{entry.name} in {folder} is not in the manifest; remove it or write the bundle again.")


def _read_entry(folder: Path, entry: FileEntry) -> bytes:
    # The manifest's pattern leaves no separator and no leading dot in a path, so it cannot leave the folder.
    data = _read_regular(folder / entry.path, entry.size_bytes, "files")
    if len(data) != entry.size_bytes:
        raise _refused("files", "WRONG_SIZE", f"{entry.path} has {len(data)} bytes, the manifest says {entry.size_bytes}: copy the bundle again.")
    if sha256_of(data) != entry.sha256:
        raise _refused("files", "WRONG_HASH", f"{entry.path} is not the file the manifest names (SHA-256 differs): copy the bundle again.")
    return data


def _read_regular(path: Path, limit_bytes: int, step: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        cause = "SYMLINK" if path.is_symlink() else "MISSING_FILE"
        raise _refused(step, cause, f"{path} cannot be read as a plain file ({error.strerror}).") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _refused(step, "NOT_A_FILE", f"{path} is not a plain file.")
        data = file.read(limit_bytes + 1)
    if step == "manifest" and len(data) > limit_bytes:
        raise _refused(step, "TOO_LARGE", f"{path} is larger than {limit_bytes} bytes.")
    return data


def _refused(step: str, cause: str, message: str) -> BundleRefusedError:
    return BundleRefusedError(step, cause, message)
