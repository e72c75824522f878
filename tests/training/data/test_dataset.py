import hashlib
import zipfile

import numpy as np
import pytest

from training.data.cards import draw_cards
from training.data.dataset import hash_arrays, save_npz
from training.data.readers import read_data
from training.errors import InputError


@pytest.fixture
def cards():
    return draw_cards(2, angle_deg=30, shear_deg=0, shift=0.1, side=16, seed=0)


def test_a_saved_data_set_reads_back_equal_with_its_truth_unit_and_generator(tmp_path, cards):
    save_npz(tmp_path / "cards.npz", cards)
    read = read_data(tmp_path / "cards.npz")
    assert set(read.arrays) == set(cards.arrays)
    for name, array in cards.arrays.items():
        assert read.arrays[name].dtype == array.dtype, name
        assert (read.arrays[name] == array).all(), name
    assert (read.unit, read.quantity, read.source) == (cards.unit, cards.quantity, cards.source)
    assert read.sha256 == hashlib.sha256((tmp_path / "cards.npz").read_bytes()).hexdigest()


def test_the_same_data_set_gives_the_same_bytes(tmp_path, cards):
    for name in ("a.npz", "b.npz"):
        save_npz(tmp_path / name, cards)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # not the time of writing


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path, cards):
    path = tmp_path / "cards.npz"
    path.write_text("mine")
    with pytest.raises(InputError, match="--force") as caught:
        save_npz(path, cards)
    assert caught.value.reason == "FILE_EXISTS"
    assert path.read_text() == "mine"
    save_npz(path, cards, overwrite=True)
    assert read_data(path).arrays["labels"].shape == (8,)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cards.npz"]


def test_a_folder_that_is_not_there_is_said(tmp_path, cards):
    with pytest.raises(InputError, match="choose a folder that exists") as caught:
        save_npz(tmp_path / "missing" / "cards.npz", cards)
    assert caught.value.reason == "CANNOT_WRITE"


def test_the_hash_sees_names_dtypes_shapes_and_values_but_not_byte_order_or_layout():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    one = hash_arrays({"a": array})
    assert one == hash_arrays({"a": array.astype(">f4")}) == hash_arrays({"a": np.asfortranarray(array)})
    others = [{"b": array}, {"a": array.astype("<f8")}, {"a": array.reshape(3, 2)}, {"a": array + 1}]
    assert len({one, *(hash_arrays(other) for other in others)}) == 5
