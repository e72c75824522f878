"""Plain arrays that stand beside an image, such as points and positions, from .npy and .npz."""

from __future__ import annotations

from pathlib import Path

from dichroic.cli_files import FileError, read_arrays
from training.data.dataset import Array
from training.errors import InputError


def plain_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name, or of an .npy as "images".

    Raises:
        InputError: FILE_NOT_FOUND, UNREADABLE_FILE.
    """
    if not path.exists():
        raise InputError("FILE_NOT_FOUND", f"There is no file {path}; check the name and the folder.")
    try:
        return read_arrays(path)
    except FileError as error:
        raise InputError("UNREADABLE_FILE", str(error)) from error
