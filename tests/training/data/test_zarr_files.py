import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from training.data.readers import list_channels, read_data
from training.data.readers.zarr_files import _refuse_pickle
from training.errors import InputError

PICTURE = np.arange(54, dtype=np.float32).reshape(6, 9)


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_of_one_array_needs_no_channel(tmp_path, version):
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, data=PICTURE, zarr_format=version)
    assert (read_data(path).arrays["images"][0] == PICTURE).all()


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_of_several_arrays_is_chosen_from_by_quantity_or_path(tmp_path, version):
    path = tmp_path / "scan.zarr"
    root = zarr.create_group(path, zarr_format=version)
    root.create_array("b/height", data=PICTURE, attributes={"quantity": "Height", "units": "nm"})
    root.create_array("a", data=PICTURE + 1)
    root.create_array("trace", data=PICTURE[0])
    assert [info.name for info in list_channels(path)] == ["a", "Height"]
    data = read_data(path, "Height")
    assert (data.arrays["images"][0] == PICTURE).all()
    assert (data.unit, data.quantity) == ("nm", "Height")
    assert (read_data(path, "a").arrays["images"][0] == PICTURE + 1).all()
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert refused(path, "b").reason == "UNKNOWN_CHANNEL"


def test_a_zipped_store_reads_alike(tmp_path):
    path = tmp_path / "scan.zarr.zip"
    with ZipStore(path, mode="w") as store:
        zarr.create_array(store, data=PICTURE)
    assert (read_data(path).arrays["images"][0] == PICTURE).all()


def test_our_names_at_the_root_are_one_data_set(tmp_path):
    path = tmp_path / "set.zarr"
    root = zarr.create_group(path, attributes={"unit": "V", "quantity": "Deflection"})
    root.create_array("images", data=np.zeros((4, 6, 9), dtype=np.uint8))
    root.create_array("labels", data=np.array([0, 1, 1, -1]))
    data = read_data(path)
    assert set(data.arrays) == {"images", "labels"}
    assert (data.unit, data.quantity) == ("V", "Deflection")


def ome_facts(unit):
    axes = [{"name": name, "type": "space" if name in "yx" else "channel"} for name in "cyx"]
    for axis in axes[1:]:
        axis["unit"] = unit
    levels = [{"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * 2**k, 0.5 * 2**k]}]} for k in range(2)]
    return {"multiscales": [{"axes": axes, "datasets": levels}], "omero": {"channels": [{"label": "HAADF"}, {"label": "BF"}]}}


@pytest.mark.parametrize("nested", [False, True], ids=["0.4", "0.5"])
def test_ome_zarr_offers_its_channels_at_the_finest_level_with_pixel_size(tmp_path, nested):
    path = tmp_path / "scan.zarr"
    facts = ome_facts("nanometer")
    root = zarr.create_group(path, attributes={"ome": facts} if nested else facts, zarr_format=3 if nested else 2)
    root.create_array("0", data=np.stack([PICTURE, PICTURE + 1]))
    root.create_array("1", data=np.zeros((2, 3, 4), dtype=np.float32))
    assert [info.name for info in list_channels(path)] == ["HAADF", "BF"]
    data = read_data(path, "BF")
    assert (data.arrays["images"] == PICTURE + 1).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.5)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(("place", "dtype"), [("filters", "<f4"), ("compressor", "<f4"), ("filters", "|O")])
def test_a_pickle_in_the_store_is_refused_before_anything_is_read(tmp_path, place, dtype):
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, data=PICTURE, zarr_format=2, compressors=None, filters=None)
    metadata = json.loads((path / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    metadata |= {"dtype": dtype, place: [codec] if place == "filters" else codec}
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    # zarr itself refuses these since 3.1; none may be loaded.
    assert refused(path).reason in {"PICKLE_REFUSED", "UNREADABLE_FILE"}
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(("kind", "metadata"), [("f", {"filters": [{"id": "pickle"}]}), ("f", {"codecs": [{"name": "numcodecs.Pickle"}]}), ("O", {})])
def test_a_pickle_that_zarr_opened_is_refused_by_its_metadata(kind, metadata):
    item = SimpleNamespace(dtype=SimpleNamespace(kind=kind), metadata=SimpleNamespace(to_dict=lambda: metadata))
    with pytest.raises(InputError) as caught:
        _refuse_pickle(item, "scan.zarr")
    assert caught.value.reason == "PICKLE_REFUSED"


def test_an_empty_folder_is_unreadable(tmp_path):
    (tmp_path / "scan.zarr").mkdir()
    assert refused(tmp_path / "scan.zarr").reason == "UNREADABLE_FILE"


def test_the_hash_changes_with_any_byte_of_the_store(tmp_path):
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, data=PICTURE)
    before = read_data(path).sha256
    assert before == read_data(path).sha256
    (path / "note.txt").write_text("more")
    assert read_data(path).sha256 != before
