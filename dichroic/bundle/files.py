"""Names and hashes of a bundle's files on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

MANIFEST_NAME = "bundle.json"
README_NAME = "README.md"
WEIGHTS_NAME = "weights.safetensors"
GOLDEN_NAME = "golden.safetensors"


def versions_in(model_folder: Path) -> list[int]:
    """The version numbers under one model's folder, ascending. Folders still being written begin with a dot and are not counted."""
    if not model_folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in model_folder.iterdir() if _is_version(entry))


def _is_version(entry: Path) -> bool:
    # int() would also take "+1", " 1" and "0001"; one number has one folder.
    return entry.is_dir() and entry.name.isascii() and entry.name.isdigit() and not entry.name.startswith("0")


def sha256_of(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
