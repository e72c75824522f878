"""The files of the `dichroic` command: .npy and .npz in, .npz out, never half of one."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from dichroic.client import (
    Classification,
    Decoding,
    Encoding,
    Manifold,
    Plan,
    Prediction,
    Reconstruction,
    Regression,
    ScaleSpectrum,
    Suggestion,
    Transitions,
)
from dichroic.wire import NDArray

Answer = Encoding | Decoding | Reconstruction | Classification | Regression | Manifold | ScaleSpectrum | Prediction | Suggestion | Transitions | Plan


class FileError(Exception):
    """A file cannot be used; the message says which, why, and what to do."""


def read_arrays(path: Path, *, mapped: bool = False) -> dict[str, NDArray]:
    """The arrays of an .npz by name, or of an .npy as "images". Nothing in the file is executed. `mapped`: an .npy is read as it is used.

    Raises:
        FileError: the file is missing, damaged, of another format, or holds Python objects.
    """
    try:
        # Opened here, because np.load leaves its own file open when an archive is damaged.
        if mapped and path.suffix == ".npy":
            return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {"images": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} is not a .npy or .npz file of plain numbers: {error}") from error


def read_data(path: Path, array: str | None, kind: str, *, mapped: bool = False) -> NDArray:
    """The images, or another kind of data, in a file: the named array, else the only one, else the one that is called so. `mapped`: as read_arrays.

    Raises:
        FileError: as read_arrays; or no such array, or several and none chosen.
    """
    arrays = read_arrays(path, mapped=mapped)
    listed = ", ".join(f"{name} {values.shape} {values.dtype}" for name, values in arrays.items()) or "nothing"
    if array is not None and array not in arrays:
        raise FileError(f"{path} has no array {array!r}; it holds {listed}.")
    if array is None and len(arrays) != 1 and kind not in arrays:
        raise FileError(f"{path} holds several arrays; choose one with --array: {listed}.")
    if array is None:
        array = kind if kind in arrays else next(iter(arrays))
    return arrays[array]


def check_output(path: Path) -> None:
    """Finds out before the work what would spoil it afterwards.

    Raises:
        FileError: the name does not end in .npz, or its folder is missing or not writable.
    """
    if path.suffix != ".npz":
        raise FileError(f"--out {path}: the name must end in .npz.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FileError(f"--out {path}: the folder {path.parent} does not exist or cannot be written.")
    if path.is_dir():
        raise FileError(f"--out {path} is a folder.")


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Writes an .npz beside its place and renames it: an interruption leaves the old file, or none.

    Raises:
        FileError: the disk is full, or the folder went away.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        draft.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def write_answer(path: Path, answer: Answer) -> None:
    """Every attribute under its own name, without those the model does not have; the model as model_name, model_version, model_digest.

    Raises:
        FileError: as write_arrays.
    """
    found = {field.name: getattr(answer, field.name) for field in fields(answer) if field.name != "model"}
    arrays = {name: np.asarray(value) for name, value in found.items() if value is not None}
    model = {"model_name": answer.model.name, "model_version": answer.model.version, "model_digest": answer.model.digest}
    write_arrays(path, arrays | {name: np.asarray(value) for name, value in model.items()})
    print(f"{path}: {', '.join(f'{name} {values.shape}' for name, values in arrays.items() if values.ndim)}", file=sys.stderr)
