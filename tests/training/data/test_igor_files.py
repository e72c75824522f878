"""The waves are written here byte by byte, from WaveMetrics' description of the format."""

import struct

import numpy as np
import pytest

from training.data.readers import list_channels, read_data
from training.errors import InputError

TYPES = {"f4": 2, "f8": 4, "i1": 8, "i2": 16, "i4": 32, "u1": 72, "u2": 80, "u4": 96}
PICTURE = np.arange(54).reshape(6, 9)


def igor_wave(stack, labels=(), *, order="<", step=2e-9, step_y=None, unit="m", kind=None):
    """An .ibw of `stack`, shape (layers, rows y, columns x) or (rows, columns)."""
    wave = stack.T if stack.ndim <= 2 else stack.transpose(2, 1, 0)  # Igor's [x, y, layer]
    values = wave.astype(order + stack.dtype.str[1:]).tobytes(order="F")
    shape = (*wave.shape, 0, 0, 0)[:4]
    note = b"ScanSize: 1\r"
    texts = b"".join(name.encode().ljust(32, b"\0") for name in ("", *labels)) if labels else b""
    header = struct.pack(f"{order}3I i 2h 6s h 32s 2i", 0, 0, 0, wave.size, kind or TYPES[stack.dtype.str[1:]], 0, b"", 0, b"Image0000", 0, 0)
    header += struct.pack(f"{order}4i 4d 4d", *shape, step, step if step_y is None else step_y, 1, 1, 0, 0, 0, 0)
    header += unit.encode().ljust(4, b"\0") + b"m\0\0\0" * 2 + bytes(8)
    header = header.ljust(320, b"\0")
    sizes = [320 + len(values), 0, len(note), 0, 0, 0, 0, 0, 0, 0, len(texts), 0, 0, 0, 0]
    head = struct.pack(f"{order}2h 15i", 5, 0, *sizes)
    checksum = -int(np.frombuffer(head + header, dtype=f"{order}i2").sum()) & 0xFFFF
    head = head[:2] + struct.pack(f"{order}H", checksum) + head[4:]
    return head + header + values + note + texts


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.ibw"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", sorted(TYPES))
def test_a_wave_of_one_image_reads_in_rows_and_columns(path, dtype, order):
    path.write_bytes(igor_wave(PICTURE.astype(dtype), order=order))
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(2.0)
    assert data.unit == "m"


def test_layers_are_channels_by_their_labels(path):
    stack = np.stack([PICTURE + 100 * k for k in range(3)]).astype("f4")
    path.write_bytes(igor_wave(stack, ["HeightRetrace", "AmplitudeRetrace", "PhaseRetrace"]))
    assert [info.name for info in list_channels(path)] == ["HeightRetrace", "AmplitudeRetrace", "PhaseRetrace"]
    assert (read_data(path, "AmplitudeRetrace").arrays["images"][0] == PICTURE + 100).all()
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert refused(path, "Height").reason == "UNKNOWN_CHANNEL"


def test_layers_without_labels_are_numbered(path):
    path.write_bytes(igor_wave(np.zeros((2, 6, 9), "f4")))
    assert [info.name for info in list_channels(path)] == ["layer 0", "layer 1"]


def test_pixels_that_are_not_square_are_noted(path):
    path.write_bytes(igor_wave(PICTURE.astype("f4"), step_y=3e-9))
    data = read_data(path)
    assert "pixel_size_nm" not in data.arrays
    assert "2 nm across, 3 nm down" in data.notes[0]


def test_a_cut_off_wave_a_damaged_header_and_an_old_version_are_unreadable(path):
    whole = igor_wave(PICTURE.astype("f8"))
    path.write_bytes(whole[:-100])
    assert "cut off" in refused(path).message
    path.write_bytes(whole[:30] + b"\x07" + whole[31:])
    assert "checksum" in refused(path).message
    path.write_bytes(struct.pack("<h", 2) + whole[2:])
    assert "version 5" in refused(path).message
    assert refused(path).reason == "UNREADABLE_FILE"


def test_complex_waves_and_waves_of_one_axis_are_refused(path):
    path.write_bytes(igor_wave(PICTURE.astype("f4"), kind=3))
    assert refused(path).reason == "UNSUPPORTED_DTYPE"
    path.write_bytes(igor_wave(PICTURE[0].astype("f4")))
    assert refused(path).reason == "UNSUPPORTED_SHAPE"
