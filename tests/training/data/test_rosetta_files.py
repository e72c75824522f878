"""Files are written by rosettasciio where it writes the format, and byte by byte here where it does not (.dm3, .dm4, .mrc, .ser)."""

import struct
from typing import ClassVar

import numpy as np
import pytest
from rsciio import digitalsurf, emd, hspy

from training.data.readers import list_channels, read_data
from training.errors import InputError

PICTURE = np.arange(54, dtype=np.float32).reshape(6, 9)


def refused(path, channel=None):
    with pytest.raises(InputError) as caught:
        read_data(path, channel)
    return caught.value


class GatanFile:
    """A DigitalMicrograph file, version 3 or 4: tags within tags, big-endian, with little-endian data."""

    CODES: ClassVar = {"<i2": 2, "<i4": 3, "<u2": 4, "<u4": 5, "<f4": 6, "<f8": 7, "|u1": 10}
    DATA_TYPES: ClassVar = {"<i2": 1, "<f4": 2, "|u1": 6, "<i4": 7, "<u2": 10, "<u4": 11, "<f8": 12}

    def __init__(self, version):
        self.version = version
        self.word = ">q" if version == 4 else ">i"

    def words(self, *values):
        return b"".join(struct.pack(self.word, value) for value in values)

    def tag(self, kind, name, body):
        size = self.words(len(body)) if self.version == 4 else b""
        return struct.pack(">bh", kind, len(name)) + name.encode() + size + body

    def group(self, name, entries):
        return self.tag(20, name, b"\1\0" + self.words(len(entries)) + b"".join(entries))

    def value(self, name, number, code=5):
        packed = struct.pack({5: "<I", 6: "<f", 7: "<d", 8: "<?"}[code], number)
        return self.tag(21, name, b"%%%%" + self.words(1, code) + packed)

    def array(self, name, values):
        code = self.CODES[values.dtype.str]
        return self.tag(21, name, b"%%%%" + self.words(3, 20, code, values.size) + values.tobytes())

    def text(self, name, text):
        return self.array(name, np.frombuffer(text.encode("utf-16-le"), dtype="<u2"))

    def image(self, picture, title, scale, unit):
        axes = [self.group("", [self.value("Origin", 0, 6), self.value("Scale", scale, 6), self.text("Units", unit)]) for _ in range(picture.ndim)]
        brightness = self.group("Brightness", [self.value("Origin", 0, 6), self.value("Scale", 1, 6), self.text("Units", "counts")])
        data = self.group(
            "ImageData",
            [
                self.group("Calibrations", [brightness, self.group("Dimension", axes)]),
                self.array("Data", picture.ravel()),
                self.value("DataType", self.DATA_TYPES[picture.dtype.str]),
                self.group("Dimensions", [self.value("", length) for length in picture.shape[::-1]]),
                self.value("PixelDepth", picture.itemsize),
            ],
        )
        return self.group("", [data, self.group("ImageTags", [self.value("Seen", 1)]), self.text("Name", title)])

    def content(self, pictures, *, scale=0.25, unit="nm"):
        images = [self.image(picture, title, scale, unit) for title, picture in pictures.items()]
        tags = [self.group("ImageList", images), self.group("DocumentObjectList", []), self.value("InImageMode", 1, 8)]
        body = b"\1\0" + self.words(len(tags)) + b"".join(tags)
        return struct.pack(">i", self.version) + self.words(len(body)) + struct.pack(">i", 1) + body + bytes(8)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("dtype", ["<f4", "<i2", "<u2", "<i4", "<f8", "|u1"])
def test_a_gatan_image_reads_with_its_pixel_size(tmp_path, version, dtype):
    path = tmp_path / f"scan.dm{version}"
    path.write_bytes(GatanFile(version).content({"HAADF": PICTURE.astype(dtype)}))
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["images"].dtype == np.dtype(dtype if dtype in {"<u2", "|u1"} else "f4")
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.25)
    assert data.quantity == "HAADF"


@pytest.mark.parametrize("version", [3, 4])
def test_several_gatan_images_are_chosen_from_by_title(tmp_path, version):
    path = tmp_path / f"scan.dm{version}"
    path.write_bytes(GatanFile(version).content({"HAADF": PICTURE, "BF": PICTURE + 1}))
    assert [info.name for info in list_channels(path)] == ["HAADF", "BF"]
    assert (read_data(path, "BF").arrays["images"][0] == PICTURE + 1).all()
    assert refused(path).reason == "CHANNEL_REQUIRED"
    assert refused(path, "ADF").reason == "UNKNOWN_CHANNEL"


def test_a_gatan_stack_becomes_images(tmp_path):
    path = tmp_path / "scan.dm4"
    stack = np.stack([PICTURE + k for k in range(4)])
    path.write_bytes(GatanFile(4).content({"series": stack}))
    assert (read_data(path).arrays["images"] == stack).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", [3, 4])
def test_a_truncated_gatan_file_is_unreadable(tmp_path, version):
    path = tmp_path / f"scan.dm{version}"
    content = GatanFile(version).content({"HAADF": PICTURE})
    path.write_bytes(content[: content.index(PICTURE.tobytes()) + 20])
    assert refused(path).reason == "UNREADABLE_FILE"


def signal(array, title, *, units="nm", scale=0.5):
    """As rosettasciio's writers take one."""
    names = ["frame", "y", "x"][-array.ndim :]
    axes = [
        {"size": size, "name": name, "units": units, "scale": scale, "offset": 0.0, "navigate": name == "frame", "index_in_array": index}
        for index, (size, name) in enumerate(zip(array.shape, names, strict=True))
    ]
    for axis in axes:
        axis |= {"_type": "UniformDataAxis", "is_binned": False}
    metadata = {"General": {"title": title}, "Signal": {"signal_type": "", "quantity": "Current (nA)"}}
    return {
        "data": array,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "dichroic tests", "package_version": "1"},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }


def test_an_emd_image_reads_with_its_pixel_size(tmp_path):
    path = tmp_path / "scan.emd"
    emd.file_writer(str(path), signal(PICTURE, "HAADF"))
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.5)


def test_a_hyperspy_stack_reads_with_unit_and_pixel_size(tmp_path):
    path = tmp_path / "scan.hspy"
    stack = np.stack([PICTURE + k for k in range(4)])
    hspy.file_writer(str(path), signal(stack, "movie"))
    data = read_data(path)
    assert (data.arrays["images"] == stack).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.5)
    assert (data.unit, data.quantity) == ("nA", "movie")


def test_a_digital_surf_image_reads_with_its_pixel_size(tmp_path):
    path = tmp_path / "scan.sur"
    digitalsurf.file_writer(str(path), signal(PICTURE.astype(np.int16), "height"), is_special=False)
    data = read_data(path)
    assert data.arrays["images"][0] == pytest.approx(PICTURE)
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.5)


def test_an_mrc_image_reads_with_its_pixel_size(tmp_path):
    path = tmp_path / "scan.mrc"
    # nx ny nz, mode 2 (float32), start, intervals, cell in ångström: 9 px of 2 Å.
    header = struct.pack("<10i 3f 3f 3i", 9, 6, 1, 2, 0, 0, 0, 9, 6, 1, 18, 12, 2, 90, 90, 90, 1, 2, 3)
    path.write_bytes(header.ljust(208, b"\0") + b"MAP \x44\x44\0\0".ljust(816, b"\0") + PICTURE.tobytes())
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.2)


def test_a_tia_image_reads_with_its_pixel_size(tmp_path):
    path = tmp_path / "scan.ser"
    # Series header (one image, little-endian, version 0x210), one dimension, offsets, then calibration and pixels.
    head = struct.pack("<3h 6i", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 1, 1, 0, 1)
    dimension = struct.pack("<i 2d i i", 1, 0, 1, 0, 6) + b"Number" + struct.pack("<i", 0)
    table = len(head) + len(dimension)
    head = head[:22] + struct.pack("<i", table) + head[26:]
    element = struct.pack("<2d i 2d i h 2i", 0, 3e-10, 0, 0, 3e-10, 0, 7, 9, 6) + PICTURE[::-1].tobytes()  # TIA counts rows from below
    start = table + 8
    path.write_bytes(head + dimension + struct.pack("<2i", start, start + len(element)) + element + struct.pack("<2i", 0x4152, 0))
    data = read_data(path)
    assert (data.arrays["images"][0] == PICTURE).all()
    assert data.arrays["pixel_size_nm"] == pytest.approx(0.3)
