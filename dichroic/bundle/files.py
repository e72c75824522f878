"""Names and hashes of a bundle's files on disk."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

MANIFEST_NAME = "bundle.json"
README_NAME = "README.md"
WEIGHTS_NAME = "weights.safetensors"
GOLDEN_NAME = "golden.safetensors"
POSTERIOR_NAME = "posterior.safetensors"
# What a model may be called, which is also its folder's name: nothing that a path, a URL, a label or a shell would read as more than a name.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

# JSON readers in other languages are exact up to here.
MAX_VERSION = 2**53 - 1


def versions_in(model_folder: Path) -> list[int]:
    """The version numbers under one model's folder, ascending. Folders still being written begin with a dot and are not counted."""
    if not model_folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in model_folder.iterdir() if is_version(entry.name) and entry.is_dir())


def is_version(name: str) -> bool:
    """Whether a folder's name is a version number: decimal, from 1, without sign, space or leading zero: one number has one folder."""
    return name.isascii() and name.isdecimal() and not name.startswith("0") and len(name) <= len(str(MAX_VERSION)) and int(name) <= MAX_VERSION


def is_model_name(name: str) -> bool:
    """Whether a folder's name can be a model's."""
    return re.fullmatch(MODEL_NAME, name, flags=re.ASCII) is not None and not name.endswith("\n")


def sha256_of(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
