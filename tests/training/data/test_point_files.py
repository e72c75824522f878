from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr

from training.data.readers.point_files import read_points
from training.errors import InputError

ARRAYS: dict[str, Any] = {
    "position": np.arange(8.0).reshape(4, 2),
    "phase": np.array(["fresh", "äged", "fresh", "äged"]),
    "patch": np.arange(36, dtype=np.uint16).reshape(4, 3, 3),
    "y": np.array([1.0, 2.0, 3.0, 4.0]),
    "group": np.array([0, 0, 1, 1]),
    "unused": np.zeros(4),
}


def write(folder: Path, ending: str, arrays: dict[str, Any] = ARRAYS) -> Path:
    path = folder / f"points{ending}"
    if ending == ".npz":
        np.savez(path, **arrays)
    elif ending == ".zarr":
        group = zarr.open_group(str(path), mode="w")
        for name, values in arrays.items():
            group.create_array(name, data=values)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values.astype(object) if values.dtype.kind == "U" else values
            file.create_group("instrument")
    return path


def without_text() -> dict[str, Any]:
    """zarr warns that text has no stable specification yet."""
    return {name: values for name, values in ARRAYS.items() if values.dtype.kind != "U"}


@pytest.mark.parametrize("ending", [".npz", ".h5", ".hdf5", ".nsid"])
def test_wanted_and_optional_arrays_are_read_as_they_are(tmp_path: Path, ending: str) -> None:
    found = read_points(write(tmp_path, ending), ["position", "phase", "patch", "y"], ["group", "position_um"])
    assert sorted(found) == ["group", "patch", "phase", "position", "y"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, ARRAYS[name])
        assert values.dtype.kind == ARRAYS[name].dtype.kind
    assert found["patch"].dtype == np.uint16


def test_zarr_is_read_too(tmp_path: Path) -> None:
    found = read_points(write(tmp_path, ".zarr", without_text()), ["position", "patch", "y"], ["group"])
    assert sorted(found) == ["group", "patch", "position", "y"]
    np.testing.assert_array_equal(found["patch"], ARRAYS["patch"])


def test_text_in_bytes_is_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["phase"] = np.array(["äged".encode(), b"fresh"])
        file["y"] = np.zeros(2)
    assert read_points(tmp_path / "a.h5", ["phase", "y"], [])["phase"].tolist() == ["äged", "fresh"]


@pytest.mark.parametrize("ending", [".npz", ".h5", ".zarr"])
def test_a_missing_array_is_told_with_those_that_are_there(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InputError) as caught:
        read_points(write(tmp_path, ending, without_text()), ["spectrum", "y"], [])
    assert caught.value.reason == "MISSING_ARRAY"
    assert "'spectrum'" in caught.value.message
    for name in without_text():
        assert name in caught.value.message
    assert "instrument" not in caught.value.message


def test_a_pickle_in_a_file_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.zeros(4), position=np.array([{"a": 1}, None, 2, 3], dtype=object))
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / "a.npz", ["position", "y"], [])
    assert caught.value.reason == "UNREADABLE_FILE"
    (tmp_path / "b.npz").write_bytes(pickle.dumps({"y": [1]}))
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / "b.npz", ["y"], [])
    assert caught.value.reason == "UNREADABLE_FILE"


@pytest.mark.parametrize("ending", [".npz", ".h5", ".zarr"])
def test_a_broken_file_is_told_by_its_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"broken{ending}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=f"broken{ending}") as caught:
        read_points(path, ["y"], [])
    assert caught.value.reason == "UNREADABLE_FILE"


def test_a_file_that_is_not_there_and_one_of_another_format_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / "none.npz", ["y"], [])
    assert caught.value.reason == "DATA_NOT_FOUND"
    (tmp_path / "a.csv").write_text("y\n1\n")
    with pytest.raises(InputError, match=r"\.npz, HDF5 \(\.h5\) or \.zarr") as caught:
        read_points(tmp_path / "a.csv", ["y"], [])
    assert caught.value.reason == "UNKNOWN_FORMAT"
