"""Files of points: one named array for each mechanism, and `y`. numpy's .npz, HDF5 and zarr with those names at the root."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import zarr

from training.data.dataset import Array
from training.errors import InputError

_HDF5 = {".h5", ".hdf5", ".hf5", ".nsid"}


def read_points(
    path: Path, wanted: Sequence[str], optional: Sequence[str], *, advice: str = "Name the arrays as the recipe's mechanisms, and y."
) -> dict[str, Array]:
    """The wanted arrays of a file, and those of the optional ones that it has; `advice` ends the message about one that is missing.

    Raises:
        InputError: DATA_NOT_FOUND, UNREADABLE_FILE, UNKNOWN_FORMAT, MISSING_ARRAY (lists what is there).
    """
    if not path.exists():
        raise InputError("DATA_NOT_FOUND", f"There is no {path}.")
    try:
        found = _read(path, {*wanted, *optional})
    except InputError:
        raise
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError("UNREADABLE_FILE", f"{path} cannot be read as points: {error}.") from error
    arrays, there = {name: _text(values) for name, values in found[0].items()}, found[1]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        listed = ", ".join(sorted(there)) or "nothing"
        raise InputError("MISSING_ARRAY", f"{path.name} has no array {missing[0]!r}; it has {listed}. {advice}")
    return arrays


def _text(values: Array) -> Array:
    """Text as numpy's own, whatever the format calls it: bytes, objects, or text of any length; other arrays as they are."""
    if values.dtype.kind not in "OST":
        return values
    told = [each.decode("utf-8") if isinstance(each, bytes) else str(each) for each in values.ravel().tolist()]
    return np.array(told, dtype=np.str_).reshape(values.shape)


def _read(path: Path, names: set[str]) -> tuple[dict[str, Array], list[str]]:
    ending = path.suffix.lower()
    if ending == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name in names}, list(file.files)
    if ending in _HDF5:
        with h5py.File(path, "r") as file:
            there = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
            return {name: np.asarray(file[name][()]) for name in there if name in names}, there
    if ending == ".zarr":
        group = zarr.open_group(str(path), mode="r")
        there = [name for name, _ in group.arrays()]
        return {name: np.asarray(group[name][...]) for name in there if name in names}, there
    raise InputError("UNKNOWN_FORMAT", f"{path.name}: points come as .npz, HDF5 (.h5) or .zarr with one named array for each of their columns.")
