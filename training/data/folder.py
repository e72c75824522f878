"""The folder DICHROIC_DATA, in which recipes look up the files they name."""

from __future__ import annotations

import os
from pathlib import Path

from training.errors import InputError


def named_files(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of these names in the folder, or in its sub-folders one level down.

    Raises:
        InputError: DATA_REQUIRED when no file is named or the folder is not set, DATA_NOT_FOUND.
    """
    folder = os.environ.get("DICHROIC_DATA")
    if not names or not folder:
        hint = f"or set DICHROIC_DATA to the folder that holds {', '.join(names)}" if names else "for instance --data scan.h5"
        raise InputError("DATA_REQUIRED", f"No data: give --data FILE, {hint}.")
    return tuple(_find(Path(folder), name) for name in names)


def _find(folder: Path, name: str) -> Path:
    for place in (folder / name, *sorted(folder.glob(f"*/{name}"))):
        if place.exists():
            return place
    raise InputError("DATA_NOT_FOUND", f"There is no {name} in {folder} (DICHROIC_DATA) or its sub-folders; give --data FILE.")
