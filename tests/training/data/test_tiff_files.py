import numpy as np
import pytest
import tifffile

from training.data.readers import list_channels, read_data
from training.errors import InputError

PICTURE = np.arange(54, dtype=np.float32).reshape(6, 9)


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.tif"


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_one_page_is_one_image_of_the_same_dtype(path, dtype, compression):
    tifffile.imwrite(path, PICTURE.astype(dtype), compression=compression)
    images = read_data(path).arrays["images"]
    assert images.dtype == np.dtype(dtype)
    assert (images[0] == PICTURE).all()


def test_pages_become_images(path):
    stack = np.stack([PICTURE + k for k in range(5)])
    tifffile.imwrite(path, stack)
    assert (read_data(path).arrays["images"] == stack).all()


def test_pages_of_different_sizes_are_chosen_from(path):
    with tifffile.TiffWriter(path) as file:
        file.write(PICTURE)
        file.write(PICTURE[:4])
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert (read_data(path, "series 1").arrays["images"][0] == PICTURE[:4]).all()


def test_colours_stay_together_as_the_last_axis(path):
    colours = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    tifffile.imwrite(path, colours, photometric="rgb")
    assert (read_data(path).arrays["images"] == colours[None]).all()


def test_ome_channels_are_chosen_by_name_and_give_the_pixel_size(tmp_path):
    path = tmp_path / "scan.ome.tif"
    array = np.random.default_rng(0).random((2, 3, 6, 9)).astype(np.float32)  # time, channel
    metadata = {
        "axes": "TCYX",
        "Channel": {"Name": ["HAADF", "BF", "EDX"]},
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "nm",
    }
    tifffile.imwrite(path, array, metadata=metadata, ome=True)
    assert [info.name for info in list_channels(path)] == ["HAADF", "BF", "EDX"]
    data = read_data(path, "BF")
    assert (data.arrays["images"] == array[:, 1]).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.25)
    assert data.quantity == "BF"
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert refused(path, "ADF").reason == "UNKNOWN_CHANNEL"


def test_imagej_channels_and_pixel_size(path):
    array = np.random.default_rng(0).random((2, 6, 9)).astype(np.float32)
    tifffile.imwrite(path, array, imagej=True, resolution=(20, 20), metadata={"axes": "CYX", "unit": "micron", "Labels": ["Height", "Phase"]})
    data = read_data(path, "Phase")
    assert (data.arrays["images"] == array[1]).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(50)


def test_a_printers_resolution_is_not_believed(path):
    tifffile.imwrite(path, PICTURE, resolution=(72, 72), resolutionunit="INCH")
    data = read_data(path)
    assert "pixel_size_nm" not in data.arrays
    assert data.notes


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_truncated_file_is_unreadable(path, compression):
    tifffile.imwrite(path, np.random.default_rng(0).random((64, 64)), compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(path).reason == "UNREADABLE_FILE"
