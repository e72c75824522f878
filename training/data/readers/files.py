"""The door: a path and perhaps a channel in, a checked DataSet out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from training.data.dataset import DataSet
from training.data.readers.channels import Channel, ChannelInfo, Content, choose
from training.data.readers.hdf5_files import scan_hdf5
from training.data.readers.igor_files import scan_ibw
from training.data.readers.numpy_files import scan_npy, scan_npz
from training.data.readers.pixels import check_arrays
from training.data.readers.rosetta_files import READERS, scan_rosetta
from training.data.readers.tiff_files import scan_tiff
from training.data.readers.zarr_files import scan_zarr
from training.errors import InputError

Result = TypeVar("Result")

_ROSETTA: dict[str, Callable[[Path], list[Channel]]] = dict.fromkeys(READERS, scan_rosetta)
SUFFIXES: dict[str, Callable[[Path], list[Channel]]] = _ROSETTA | {
    ".npy": scan_npy,
    ".npz": scan_npz,
    ".h5": scan_hdf5,
    ".hdf5": scan_hdf5,
    ".hf5": scan_hdf5,
    ".nsid": scan_hdf5,
    ".zarr": scan_zarr,
    ".zarr.zip": scan_zarr,
    ".tif": scan_tiff,
    ".tiff": scan_tiff,
    ".ibw": scan_ibw,
}


def list_channels(path: Path | str) -> list[ChannelInfo]:
    """The channels of a file, in the file's order.

    Raises:
        InputError: FILE_NOT_FOUND, UNKNOWN_FORMAT, UNREADABLE_FILE or PICKLE_REFUSED.
    """
    return [channel.info for channel in scan(Path(path))]


def read_data(path: Path | str, channel: str | None = None) -> DataSet:
    """Reads one channel of a file, checked and in the dtypes DataSet promises.

    Args:
        path: the file, or the folder of a zarr store.
        channel: name or quantity; None where the file has only one.

    Raises:
        InputError: FILE_NOT_FOUND, UNKNOWN_FORMAT, UNREADABLE_FILE, PICKLE_REFUSED, NO_DATA, CHANNEL_REQUIRED, UNKNOWN_CHANNEL,
            UNSUPPORTED_DTYPE, UNSUPPORTED_SHAPE, NON_FINITE_PIXELS or ROW_COUNT.
    """
    return read_as_stored(path, channel)[0]


def read_as_stored(path: Path | str, channel: str | None = None) -> tuple[DataSet, Content]:
    """As `read_data`; beside it the arrays in the file's own precision, and the spectra's sweep.

    Raises:
        InputError: as `read_data`.
    """
    path = Path(path)
    chosen = choose(scan(path), channel, path.name)
    content = readable(path, chosen.load)
    info = chosen.info
    arrays = check_arrays(content.arrays, path.name)
    return DataSet(arrays, info.unit, info.quantity, chosen.source or path.name, _hash_file(path), content.notes), content


def scan(path: Path) -> list[Channel]:
    """The channels of a file, in the file's order, and the ways to their arrays.

    Raises:
        InputError: as list_channels.
    """
    if not path.exists():
        raise InputError("FILE_NOT_FOUND", f"There is no file {path}; check the name and the folder.")
    suffix = ".zarr.zip" if path.name.lower().endswith(".zarr.zip") else path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError("UNKNOWN_FORMAT", f"{path.name} is of no format known here; known are {', '.join(SUFFIXES)}.")
    if path.is_dir() != (suffix == ".zarr"):
        kind = ("a file", "a folder") if path.is_dir() else ("a folder", "a file")
        raise InputError("UNREADABLE_FILE", f"{path} was expected to be {kind[0]} but is {kind[1]}.")
    return readable(path, lambda: SUFFIXES[suffix](path))


def readable(path: Path, read: Callable[[], Result]) -> Result:
    """Whatever a format's library throws at a file that is not of its format, cut off or damaged becomes one clear error."""
    try:
        return read()
    except InputError:
        raise
    except PermissionError as error:
        raise InputError("UNREADABLE_FILE", f"{path} may not be read by this user; change its permissions.") from error
    except Exception as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            "UNREADABLE_FILE",
            f"{path.name} cannot be read as {path.suffix}: {first}. It may be cut off or of another format; copy it again.",
        ) from error


def _hash_file(path: Path) -> str:
    """SHA-256 of the bytes; of a folder, over the relative names and bytes of its files in order."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            if path.is_dir():
                digest.update(f"{file.relative_to(path).as_posix()}|{file.stat().st_size}|".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
