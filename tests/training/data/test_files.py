"""What holds for every format: names of errors, and that each says what to do."""

import gc
import hashlib

import numpy as np
import pytest

from training.data.readers import SUFFIXES, list_channels, read_data
from training.errors import InputError


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_missing_file_is_not_found(tmp_path, suffix):
    error = refused(tmp_path / f"scan{suffix}")
    assert error.reason == "FILE_NOT_FOUND"
    assert f"scan{suffix}" in error.message


@pytest.mark.filterwarnings("ignore")  # the libraries warn about rubbish in their own ways
@pytest.mark.parametrize("content", [b"", b"not this format at all" * 50, bytes(5000)], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("suffix", sorted(set(SUFFIXES) - {".zarr"}))
def test_a_file_that_is_not_of_its_format_is_unreadable(tmp_path, suffix, content):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    error = refused(path)
    gc.collect()  # a library that leaves a file open after its error warns here, not in another test
    assert error.reason == "UNREADABLE_FILE"
    assert path.name in error.message


def test_a_folder_where_a_file_belongs_and_the_reverse_are_unreadable(tmp_path):
    (tmp_path / "scan.npy").mkdir()
    (tmp_path / "scan.zarr").write_text("")
    assert refused(tmp_path / "scan.npy").reason == "UNREADABLE_FILE"
    assert refused(tmp_path / "scan.zarr").reason == "UNREADABLE_FILE"


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    (tmp_path / "scan.xyz").write_text("")
    error = refused(tmp_path / "scan.xyz")
    assert error.reason == "UNKNOWN_FORMAT"
    assert ".dm4" in error.message
    assert ".ibw" in error.message


def test_netcdf_is_not_read_because_its_reader_evaluates_text(tmp_path):
    (tmp_path / "scan.nc").write_text("")
    assert refused(tmp_path / "scan.nc").reason == "UNKNOWN_FORMAT"


def test_several_channels_and_none_chosen_lists_them(tmp_path):
    np.savez(tmp_path / "two.npz", height=np.zeros((4, 5)), phase=np.zeros((4, 6)), scalar=np.zeros(3))
    error = refused(tmp_path / "two.npz")
    assert error.reason == "CHANNEL_REQUIRED"
    assert "--channel" in error.message
    assert "height  4 × 5" in error.message
    assert "phase  4 × 6" in error.message
    assert "scalar" not in error.message
    assert [info.name for info in list_channels(tmp_path / "two.npz")] == ["height", "phase"]


def test_an_unknown_channel_lists_those_there(tmp_path):
    np.savez(tmp_path / "two.npz", height=np.zeros((4, 5)), phase=np.zeros((4, 6)))
    error = refused(tmp_path / "two.npz", "amplitude")
    assert error.reason == "UNKNOWN_CHANNEL"
    assert "amplitude" in error.message
    assert "height" in error.message


def test_non_finite_pixels_are_counted_and_the_first_is_placed(tmp_path):
    image = np.zeros((2, 5, 7))
    image[1, 3, 2] = np.nan
    image[1, 4, 0] = np.inf
    image[1, 4, 1] = 1e300  # finite in float64, not in float32
    np.save(tmp_path / "scan.npy", image)
    error = refused(tmp_path / "scan.npy")
    assert error.reason == "NON_FINITE_PIXELS"
    assert "3 values" in error.message
    assert "image 1, row 3, column 2" in error.message


def test_the_source_is_the_files_name_alone_and_the_hash_that_of_its_bytes(tmp_path):
    np.save(tmp_path / "scan.npy", np.zeros((4, 4)))
    data = read_data(tmp_path / "scan.npy")
    assert data.source == "scan.npy"
    assert data.sha256 == hashlib.sha256((tmp_path / "scan.npy").read_bytes()).hexdigest()
