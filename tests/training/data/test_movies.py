"""Movies are read in runs, and a run is what the whole would be."""

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from training.data.readers import movies, open_movie
from training.errors import InputError

MOVIE = np.random.default_rng(0).random((11, 6, 9)).astype(np.float32)


def write_zarr(path, movie):
    zarr.create_array(path, data=movie, chunks=(3, 4, *movie.shape[2:]))


def write_hdf5(path, movie):
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/stack", data=movie, chunks=(2, *movie.shape[1:]), compression="gzip")


def write_nsid(path, movie):
    """Time last and columns before rows, as an instrument may write them; 2 nm a pixel."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("scan", data=movie.transpose(2, 1, 0))
        data.attrs["quantity"] = "Height"
        for axis, (name, kind, length) in enumerate((("x", "SPATIAL", 9), ("y", "SPATIAL", 6), ("t", "TEMPORAL", 11))):
            file[name] = 2.0 * np.arange(length)
            file[name].make_scale(name)
            file[name].attrs["dimension_type"], file[name].attrs["units"] = kind, "nm" if kind == "SPATIAL" else "s"
            data.dims[axis].attach_scale(file[name])
            data.dims[axis].label = name


WRITERS = {
    "m.zarr": write_zarr,
    "m.h5": write_hdf5,
    "n.h5": write_nsid,
    "m.npy": np.save,
    "m.tif": lambda path, movie: tifffile.imwrite(path, movie, metadata={"axes": "TYX"}),
    "i.tif": lambda path, movie: tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TYX"}),
}


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        open_movie(path, channel)
    return caught.value


@pytest.mark.parametrize("name", WRITERS)
def test_runs_of_frames_are_the_whole_movie(tmp_path, name, monkeypatch):
    monkeypatch.setattr(movies, "RUN_BYTES", 4 * MOVIE[0].nbytes)
    WRITERS[name](tmp_path / name, MOVIE)
    with open_movie(tmp_path / name) as movie:
        assert (movie.shape, movie.dtype) == ((11, 6, 9), np.float32)
        assert (movie.frames(2, 7) == MOVIE[2:7]).all()
        wanted = np.ones(11, dtype=bool)
        wanted[[0, 4, 5, 6, 7]] = False
        told = list(movie.runs(wanted))
        assert 1 <= movie.run_frames <= 4
    assert [t for t, _ in told] == [1, 2, 3, 8, 9, 10]
    assert all((frame == MOVIE[t]).all() for t, frame in told)


def test_a_labelled_file_tells_its_pixel_size(tmp_path):
    write_nsid(tmp_path / "n.h5", MOVIE)
    with open_movie(tmp_path / "n.h5", "Height") as movie:
        assert movie.pixel_size_nm == 2.0


def test_our_names_bring_the_pixel_size_and_frames_come_before_images(tmp_path):
    root = zarr.create_group(tmp_path / "m.zarr")
    root.create_array("frames", data=MOVIE)
    root.create_array("images", data=MOVIE[:2])
    root.create_array("pixel_size_nm", data=np.array(0.5))
    with open_movie(tmp_path / "m.zarr") as movie:
        assert (movie.shape[0], movie.pixel_size_nm) == (11, 0.5)


def test_one_channel_of_a_hyperstack_is_a_movie(tmp_path):
    both = np.random.default_rng(1).integers(0, 60000, (5, 2, 6, 9)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.ome.tif", both, ome=True, metadata={"axes": "TCYX", "PhysicalSizeX": 0.003, "PhysicalSizeY": 0.003})
    with open_movie(tmp_path / "m.ome.tif", "channel 1") as movie:
        assert (movie.frames(0, 5) == both[:, 1]).all()
        assert (movie.dtype, movie.pixel_size_nm) == (np.uint16, pytest.approx(3.0))


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        (MOVIE > 0.5, (MOVIE > 0.5).astype(np.uint8) * 255),
        ((MOVIE * 99).astype(np.int16), (MOVIE * 99).astype(np.int16).astype(np.float32)),
        ((MOVIE * 99).astype(">u2"), (MOVIE * 99).astype(np.uint16)),
        (np.where(MOVIE > 0.9, np.nan, MOVIE).astype(np.float64), np.where(MOVIE > 0.9, np.nan, MOVIE)),
    ],
    ids=["bool", "int16", "big-endian", "NaN"],
)
def test_pixels_come_in_a_dtype_that_models_take(tmp_path, stored, given):
    np.save(tmp_path / "m.npy", stored)
    with open_movie(tmp_path / "m.npy") as movie:
        found = movie.frames(0, 11)
    assert found.dtype == movie.dtype == given.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, given)


def test_pieces_that_are_too_large_are_read_in_part(tmp_path, monkeypatch):
    zarr.create_array(tmp_path / "m.zarr", data=MOVIE, chunks=(11, 6, 9))
    monkeypatch.setattr(movies, "RUN_BYTES", 2 * MOVIE[0].nbytes)
    with open_movie(tmp_path / "m.zarr") as movie:
        assert movie.run_frames == 11
        monkeypatch.setattr(movies, "PIECE_BYTES", 5 * MOVIE[0].nbytes)
        assert movie.run_frames == 2


def test_what_is_no_movie_is_refused(tmp_path):
    np.save(tmp_path / "image.npy", MOVIE[0])
    error = refused(tmp_path / "image.npy")
    assert error.reason == "UNSUPPORTED_SHAPE"
    assert "one image of 6 × 9" in error.message
    np.save(tmp_path / "complex.npy", MOVIE.astype(np.complex64))
    assert refused(tmp_path / "complex.npy").reason == "UNSUPPORTED_DTYPE"
    np.savez(tmp_path / "m.npz", frames=MOVIE)
    assert refused(tmp_path / "m.npz").reason == "UNSUPPORTED_FORMAT"
    np.save(tmp_path / "deep.npy", MOVIE[None, None])
    assert refused(tmp_path / "deep.npy").reason == "UNSUPPORTED_SHAPE"
    assert refused(tmp_path / "none.zarr").reason == "FILE_NOT_FOUND"


def test_a_channel_that_is_not_there_is_refused_and_images_beside_a_movie_need_no_choice(tmp_path):
    root = zarr.create_group(tmp_path / "m.zarr")
    root.create_array("stack", data=MOVIE)
    root.create_array("mask", data=MOVIE[0])
    assert refused(tmp_path / "m.zarr", "nothing").reason == "UNKNOWN_CHANNEL"
    assert refused(tmp_path / "m.zarr", "mask").reason == "UNSUPPORTED_SHAPE"
    with open_movie(tmp_path / "m.zarr") as movie:
        assert movie.info.name == "stack"


def test_a_spectrum_at_each_place_is_no_movie(tmp_path):
    write_nsid(tmp_path / "n.h5", MOVIE)
    with h5py.File(tmp_path / "n.h5", "r+") as file:
        file["t"].attrs["dimension_type"] = "SPECTRAL"
    assert refused(tmp_path / "n.h5").reason == "UNSUPPORTED_SHAPE"


def test_a_damaged_chunk_is_told_with_its_frames(tmp_path):
    write_zarr(tmp_path / "m.zarr", MOVIE)
    chunk = next(path for path in (tmp_path / "m.zarr" / "c" / "1").rglob("*") if path.is_file())
    chunk.write_bytes(b"nothing")
    with open_movie(tmp_path / "m.zarr") as movie:
        assert (movie.frames(0, 3) == MOVIE[:3]).all()
        with pytest.raises(InputError, match="frames 3 to 5 cannot be read") as caught:
            movie.frames(3, 6)
    assert caught.value.reason == "UNREADABLE_FILE"
