"""The files of the `dichroic` command: .npy and .npz in, .npz out, never half of one."""

from __future__ import annotations

import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO

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

# What a file begins with.
NPY, ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
HDF5, TIFF = b"\x89HDF\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# One of these is in the folder of a zarr store, of format 3, or an array or a group of format 2.
ZARR = ("zarr.json", ".zarray", ".zgroup")


class FileError(Exception):
    """A file cannot be used; the message says which, why, and what to do."""


def read_arrays(path: Path, *, mapped: bool = False) -> dict[str, NDArray]:
    """The arrays of an .npz by name, or of an .npy as "images". Nothing in the file is executed. `mapped`: an .npy is read as it is used.

    Raises:
        FileError: the file is missing, damaged, of another format, or holds Python objects.
    """
    try:
        if path.is_dir():
            raise _other(path)
        # Opened here, because np.load leaves its own file open when an archive is damaged.
        with path.open("rb") as file:
            begins = file.read(8)
            file.seek(0)
            if begins.startswith(NPY):
                _refuse_objects(file, str(path))
                file.seek(0)
                return {"images": np.load(path, mmap_mode="r", allow_pickle=False) if mapped else np.load(file, allow_pickle=False)}
            if not begins.startswith(ZIP):
                # np.load takes whatever it does not know for a pickle, and says how to load one unsafely.
                raise _other(path, begins)
            return _archived(file, path)
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist.") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    # NotImplementedError and RuntimeError: an archive with a method of packing that zipfile has not, or with a password.
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        # The first line: what numpy says after it may be how to load without its checks.
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise FileError(f"{path} is a damaged .npy or .npz file: {told}. Save or copy it again.") from error


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


def _archived(file: IO[bytes], path: Path) -> dict[str, NDArray]:
    with np.load(file, allow_pickle=False) as archive:
        for member in archive.zip.namelist():
            with archive.zip.open(member) as inside:
                if inside.read(len(NPY)) == NPY:
                    inside.seek(0)
                    _refuse_objects(inside, f"{member.removesuffix('.npy')} in {path}")
        found = {name: archive[name] for name in archive.files}
    arrays = {name: values for name, values in found.items() if isinstance(values, np.ndarray)}
    if not arrays:
        raise FileError(f"{path} is a zip archive without an array of numpy; this command reads .npy and .npz. Save arrays with numpy.savez.")
    return arrays


def _refuse_objects(file: IO[bytes], what: str) -> None:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if header(file)[2].hasobject:
        cure = "Save an array of numbers: numpy.asarray(values, dtype=numpy.float32)."
        raise FileError(f"{what} holds Python objects, which can run code when they are loaded, and never are here. {cure}")


def _other(path: Path, begins: bytes = b"") -> FileError:
    """What a file or folder of another kind is called, and how an .npy is made of it."""
    name = str(path)
    if begins.startswith(HDF5):
        kind, array = "an HDF5 file", f"h5py.File({name!r})['NAME'][...]"
    elif begins.startswith(TIFF):
        kind, array = "a TIFF file", f"tifffile.imread({name!r})"
    elif path.is_dir() and any((path / each).exists() for each in ZARR):
        kind, array = "a zarr store", f"zarr.open_array({f'{name}/NAME'!r}, mode='r')[...]"
    else:
        kind, array = ("a folder" if path.is_dir() else "neither .npy nor .npz"), "ARRAY"
    to = f"{path.stem or 'array'}.npy"
    save = f"numpy.save({to!r}, {array})"
    return FileError(f"{path} is {kind}; this command reads .npy and .npz. Save the array first, in Python: {save}. See Files in docs/api.md.")
