import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from training.data.readers import list_channels, read_data
from training.errors import InputError

PICTURE = np.arange(54, dtype=np.float32).reshape(6, 9) * 1e-10  # 6 rows, 9 columns


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


def write_nsid(file, place, array, quantity, axes):
    """One dataset as pyNSID writes it. `axes`: (label, dimension type, unit, positions) for each."""
    group = file.create_group(place)
    item = group.create_dataset("data", data=array)
    item.attrs.update({"quantity": quantity, "units": "m", "data_type": "IMAGE"})
    for index, (label, kind, axis_unit, positions) in enumerate(axes):
        scale = group.create_dataset(label, data=positions)
        scale.attrs.update({"dimension_type": kind, "units": axis_unit, "name": label})
        scale.make_scale(label)
        item.dims[index].label = label
        item.dims[index].attach_scale(scale)
    return item


def place_axes(width=9, height=6, step=2e-9, unit="m"):
    return [("x", "SPATIAL", unit, np.arange(width) * step), ("y", "SPATIAL", unit, np.arange(height) * step)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


def test_nsid_with_x_first_is_turned_so_that_rows_are_y(path):
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/Channel_0", PICTURE.T, "Height", place_axes())
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(2.0)
    assert (data.unit, data.quantity, data.notes) == ("m", "Height", ())


def test_nsid_with_y_first_stays(path):
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/Channel_0", PICTURE, "Height", place_axes()[::-1])
    assert (read_data(path).arrays["images"][0] == PICTURE).all()


def test_nsid_without_x_and_y_takes_the_first_place_as_across_as_sidpy_does(path):
    axes = [("fast", "DimensionType.SPATIAL", "um", np.arange(9) * 0.5), ("slow", "DimensionType.SPATIAL", "um", np.arange(6) * 0.5)]
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/Channel_0", PICTURE.T, "Height", axes)
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(500)


def test_channels_are_chosen_by_quantity_wherever_they_lie(path):
    with h5py.File(path, "w") as file:
        for number, quantity in enumerate(["Phase", "Height", "Amplitude"]):
            write_nsid(file, f"M/Channel_{number}", PICTURE.T + number, quantity, place_axes())
        file["M/Channel_0/metadata"] = np.zeros((3, 3))  # two axes but no quantity: not a channel
    assert [(info.name, info.quantity, info.unit, info.shape) for info in list_channels(path)] == [
        (name, name, "m", (9, 6)) for name in ("Phase", "Height", "Amplitude")
    ]
    assert read_data(path, "Height").arrays["images"][0] == pytest.approx(PICTURE + 1)
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert refused(path, "Topography").reason == "UNKNOWN_CHANNEL"


def test_two_channels_of_one_quantity_are_chosen_by_their_path(path):
    with h5py.File(path, "w") as file:
        write_nsid(file, "trace", PICTURE.T, "Height", place_axes())
        write_nsid(file, "retrace", PICTURE.T + 1, "Height", place_axes())
    assert [info.name for info in list_channels(path)] == ["retrace/data", "trace/data"]
    assert read_data(path, "retrace/data").arrays["images"][0] == pytest.approx(PICTURE + 1)
    error = refused(path, "Height")
    assert error.reason == "CHANNEL_REQUIRED"
    assert "trace/data" in error.message


def test_a_grid_of_spectra_becomes_one_spectrum_for_each_place_rows_first(path):
    cube = np.random.default_rng(0).random((9, 6, 20)).astype(np.float32)  # x, y, bias
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/C", cube, "Piezoresponse", [*place_axes(step=1e-6), ("Voltage", "SPECTRAL", "V", np.linspace(0, 8, 20))])
    data = read_data(path)
    assert data.arrays["spectra"].shape == (54, 20)
    row, column = 4, 7
    assert (data.arrays["spectra"][row * 9 + column] == cube[column, row]).all()
    assert data.arrays["position_um"][row * 9 + column] == pytest.approx([column, row])


def test_a_stack_over_time_becomes_images(path):
    stack = np.random.default_rng(0).random((4, 9, 6)).astype(np.float32)
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/C", stack, "Height", [("t", "TEMPORAL", "s", np.arange(4.0)), *place_axes()])
    data = read_data(path)
    assert data.arrays["images"].shape == (4, 6, 9)
    assert (data.arrays["images"][2] == stack[2].T).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(2.0)


def test_four_labelled_axes_are_refused_by_their_names(path):
    axes = [*place_axes(), ("u", "RECIPROCAL", "1/nm", np.arange(3.0)), ("v", "RECIPROCAL", "1/nm", np.arange(3.0))]
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/C", np.zeros((9, 6, 3, 3)), "4D", axes)
    error = refused(path)
    assert error.reason == "UNSUPPORTED_SHAPE"
    assert "u (reciprocal)" in error.message


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (place_axes(unit="deg"), "no pixel size in a unit of length"),
        ([("x", "SPATIAL", "m", np.arange(9) ** 2 * 1e-9), place_axes()[1]], "no pixel size"),
        ([("x", "SPATIAL", "m", np.arange(9) * 4e-9), place_axes()[1]], "4 nm across, 2 nm down"),
    ],
    ids=["not a length", "uneven", "not square"],
)
def test_a_pixel_size_that_cannot_be_is_left_out_and_noted(path, axes, said):
    with h5py.File(path, "w") as file:
        write_nsid(file, "M/C", PICTURE.T, "Height", axes)
    data = read_data(path)
    assert "pixel_size_nm" not in data.arrays
    assert said in data.notes[0]


def test_plain_hdf5_with_one_dataset_needs_no_channel(path):
    with h5py.File(path, "w") as file:
        file["deep/scan"] = PICTURE
        file["trace"] = np.zeros(5)
        file["name"] = "a text"
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.unit == "unknown"


def test_plain_hdf5_with_several_datasets_lists_their_paths(path):
    with h5py.File(path, "w") as file:
        file["a/one"] = PICTURE
        file["two"] = np.stack([PICTURE, PICTURE])
    error = refused(path)
    assert error.reason == "CHANNEL_REQUIRED"
    assert "a/one" in error.message
    assert read_data(path, "two").arrays["images"].shape == (2, 6, 9)


def test_hdf5_with_our_names_is_one_data_set(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 6, 9), dtype=np.uint16)
        file["labels"] = np.array([0, 1, 1, -1])
        file["images"].attrs.update({"units": "counts", "quantity": "HAADF"})
        file["other"] = PICTURE
    data = read_data(path)
    assert set(data.arrays) == {"images", "labels"}
    assert data.arrays["images"].dtype == np.uint16
    assert (data.unit, data.quantity) == ("counts", "HAADF")


def test_a_truncated_file_is_unreadable(path):
    with h5py.File(path, "w") as file:
        file["scan"] = np.random.default_rng(0).random((100, 100))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(path).reason == "UNREADABLE_FILE"


@pytest.fixture
def measured():
    folder = os.environ.get("DICHROIC_DATA")
    if not folder:
        pytest.skip("DICHROIC_DATA is not set: it names the folder of the measured scans")
    return Path(folder) / "dtmicroscope"


@pytest.mark.measured
@pytest.mark.parametrize("name", ["PZT_final0001.h5", "PZT_final0002.h5"])
def test_measured_pzt_scans_read_by_quantity(measured, name):
    assert len(list_channels(measured / name)) == 8
    data = read_data(measured / name, "AmplitudeRetrace")
    assert data.arrays["images"].shape == (1, 256, 256)
    assert data.arrays["pixel_size_nm"] == pytest.approx(2000 / 255)
    assert data.unit == "m"
    assert 1e-10 < np.median(data.arrays["images"]) < 1.5e-10
    # Scan lines run along the rows: within a row neighbours are more alike than across rows. Fails when rows and columns are exchanged.
    image = data.arrays["images"][0]
    assert np.abs(np.diff(image, axis=1)).mean() < np.abs(np.diff(image, axis=0)).mean()


@pytest.mark.measured
@pytest.mark.parametrize(("number", "field_um"), [(1, 1), (2, 5), (3, 1), (4, 3)])
def test_measured_pto_scans_have_their_own_field_of_view(measured, number, field_um):
    data = read_data(measured / f"PTO_Funakubo000{number}.h5", "HeightRetrace")
    assert data.arrays["pixel_size_nm"] == pytest.approx(field_um * 1000 / 255)


@pytest.mark.measured
def test_a_measured_phase_image_whose_scale_is_in_degrees_gets_no_pixel_size(measured):
    data = read_data(measured / "PZT_final0001.h5", "PhaseRetrace")
    assert "pixel_size_nm" not in data.arrays
    assert data.notes


@pytest.mark.measured
def test_measured_loops_are_spectra_with_their_places(measured):
    data = read_data(measured / "BEPS_PTO_50x50.h5")
    assert data.arrays["spectra"].shape == (2500, 64)
    assert data.arrays["position_um"].min() == 0
    assert data.arrays["position_um"].max() == pytest.approx(2, rel=0.05)
    assert data.arrays["position_um"][1, 0] > 0 == data.arrays["position_um"][1, 1]  # x runs first
