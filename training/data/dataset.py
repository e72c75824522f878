"""A data set: named arrays and where they came from, and its .npz file."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

# Arrays that are data in themselves: at least one of them is in every data set.
CONTENT_NAMES = ("images", "spectra", "frames")
# Arrays that go with them, one row for each image (pixel_size_nm may be a scalar).
COMPANION_NAMES = ("labels", "targets", "conditions", "pixel_size_nm", "position_um", "group")
# Facts about the arrays, stored in .npz files as zero-dimensional text arrays.
TEXT_NAMES = ("unit", "quantity", "source")
# The truth of drawn data begins with this.
TRUTH_PREFIX = "truth_"

# Zip's earliest date: file times would make the bytes differ from run to run.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class DataSet:
    """Named arrays of one file or one generator.

    Attributes:
        arrays: by name: `images` (n, h, w[, c]) uint8, uint16 or float32, `spectra` (n, l[, c]), `frames` (t, h, w[, c]),
            `labels` (n,) int64 (-1: unlabelled), `targets` float (NaN: unlabelled), `conditions` (n, k), `pixel_size_nm` () or (n,),
            `position_um` (n, 2) as x right, y down, `group` (n,); drawn data also has its truth: `truth_angle_rad`, `truth_scale`,
            `truth_shift_down_px`, `truth_shift_right_px` (n,) float64. Mechanism data has one array for each mechanism and `y` (n,) float64.
        unit: unit of the pixel values, "1" when they have none, "unknown" when the file does not say.
        quantity: what was measured, such as "AmplitudeRetrace"; empty when the file does not say.
        source: the file's name without its folder, or the generator with its arguments.
        sha256: of the file's bytes, or of the arrays a generator made.
        notes: what a person should know about how the data was read, such as a pixel size that could not be.
    """

    arrays: dict[str, Array]
    unit: str
    quantity: str
    source: str
    sha256: str
    notes: tuple[str, ...] = ()


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian bytes: equal arrays have equal hashes on every machine."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_npz(path: Path, data: DataSet, *, overwrite: bool = False) -> None:
    """Writes the arrays and the text facts as a compressed .npz; the same data set gives the same bytes.

    Raises:
        InputError: FILE_EXISTS when the file is there and `overwrite` is not given; CANNOT_WRITE when the folder cannot be written.
    """
    if path.exists() and not overwrite:
        raise InputError("FILE_EXISTS", f"{path} is already there; choose another name, or give --force to replace it.")
    texts = {name: np.array(getattr(data, name)) for name in TEXT_NAMES}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted({**data.arrays, **texts}.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue(), compresslevel=6)
    draft = path.with_name(f".{path.name}.writing")
    try:
        draft.write_bytes(packed.getvalue())
        draft.replace(path)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"{path} cannot be written ({error.strerror}); choose a folder that exists and is yours.") from error
