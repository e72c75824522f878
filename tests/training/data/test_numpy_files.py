import numpy as np
import pytest

from training.data.readers import read_data
from training.errors import InputError

PICTURE = np.arange(54, dtype=np.float64).reshape(6, 9) * 1e-10


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


@pytest.mark.parametrize(("shape", "read_as"), [((6, 9), (1, 6, 9)), ((3, 6, 9), (3, 6, 9)), ((3, 6, 9, 2), (3, 6, 9, 2))])
def test_an_npy_is_one_image_or_many(tmp_path, shape, read_as):
    array = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "a.npy", array)
    images = read_data(tmp_path / "a.npy").arrays["images"]
    assert images.shape == read_as
    assert images.dtype == np.float32
    assert images == pytest.approx(array.reshape(read_as), rel=1e-6)


@pytest.mark.parametrize(
    ("stored", "read_as"),
    [("u1", "u1"), ("<u2", "u2"), (">u2", "u2"), ("?", "u1"), (">f4", "f4"), ("f8", "f4"), ("f2", "f4"), ("i2", "f4"), ("i4", "f4"), ("u4", "f4")],
)
def test_integers_of_one_and_two_bytes_stay_and_other_numbers_become_float32(tmp_path, stored, read_as):
    array = np.arange(12).reshape(3, 4).astype(stored)
    np.save(tmp_path / "a.npy", array)
    images = read_data(tmp_path / "a.npy").arrays["images"]
    assert images.dtype == np.dtype(read_as)
    assert images.dtype.isnative
    # A mask's true is the greatest byte, not 1 of 255.
    assert (images[0] == (array * np.uint8(255) if stored == "?" else array)).all()


def test_fortran_order_is_read_as_rows_and_columns(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(PICTURE))
    images = read_data(tmp_path / "a.npy").arrays["images"]
    assert images.flags.c_contiguous
    assert images[0] == pytest.approx(PICTURE)


@pytest.mark.parametrize("shape", [(5,), (2, 2, 2, 2, 2), (0, 5), (3, 0, 2)])
def test_a_shape_that_is_no_image_is_named(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert refused(tmp_path / "a.npy").reason == "UNSUPPORTED_SHAPE"


def test_complex_numbers_are_refused_with_what_to_do(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3), dtype=complex))
    error = refused(tmp_path / "a.npy")
    assert error.reason == "UNSUPPORTED_DTYPE"
    assert "amplitude or its phase" in error.message


def test_objects_are_refused_and_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    array = np.empty((2, 2), dtype=object)
    array[0, 0] = Trap()
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 2)), labels=array)
    assert refused(tmp_path / "a.npy").reason == "PICKLE_REFUSED"
    assert refused(tmp_path / "a.npz").reason == "PICKLE_REFUSED"
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_npy_and_npz_are_unreadable(tmp_path):
    np.save(tmp_path / "a.npy", PICTURE)
    np.savez(tmp_path / "a.npz", images=PICTURE)
    for name in ("a.npy", "a.npz"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-100])
        assert refused(tmp_path / name).reason == "UNREADABLE_FILE"


def test_an_npz_with_our_names_is_one_data_set(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        images=np.zeros((4, 6, 9), dtype=np.uint8),
        labels=np.array([0, 1, -1, 1], dtype=np.int8),
        pixel_size_nm=np.float32(2.5),
        targets=np.array([0.5, np.nan, 1, 2]),
        unit=np.array("V"),
        quantity=np.array("Deflection"),
        notes_of_mine=np.zeros((4, 4)),
    )
    data = read_data(tmp_path / "a.npz")
    assert set(data.arrays) == {"images", "labels", "pixel_size_nm", "targets"}
    assert data.arrays["labels"].dtype == np.int64
    assert data.arrays["pixel_size_nm"] == 2.5
    assert np.isnan(data.arrays["targets"][1])  # unlabelled, not a fault
    assert (data.unit, data.quantity) == ("V", "Deflection")
    assert (read_data(tmp_path / "a.npz", "Deflection").arrays["images"] == 0).all()


def test_images_and_spectra_of_one_file_stay_together(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 9)), spectra=np.zeros((4, 20)))
    assert {name: array.shape for name, array in read_data(tmp_path / "a.npz").arrays.items()} == {"images": (4, 6, 9), "spectra": (4, 20)}


def test_rows_that_do_not_match_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 9)), labels=np.zeros(3, dtype=int))
    error = refused(tmp_path / "a.npz")
    assert error.reason == "ROW_COUNT"
    assert "labels" in error.message


def test_labels_that_are_not_integers_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 9)), labels=np.zeros(4))
    assert refused(tmp_path / "a.npz").reason == "UNSUPPORTED_DTYPE"


def test_one_array_of_any_name_needs_no_channel(tmp_path):
    np.savez(tmp_path / "a.npz", height=PICTURE)
    assert read_data(tmp_path / "a.npz").arrays["images"][0] == pytest.approx(PICTURE)


def test_a_file_without_an_image_says_so(tmp_path):
    np.savez(tmp_path / "a.npz", trace=np.zeros(9))
    assert refused(tmp_path / "a.npz").reason == "NO_DATA"
