"""Igor Pro binary waves (.ibw), version 5, as Asylum Research microscopes write them: one layer for each channel.

Layout from WaveMetrics' Technical Note 3: a 64-byte file header, a 320-byte wave header, the data with the first axis fastest, then the
texts whose sizes stand in the file header.
"""

from __future__ import annotations

import functools
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.dataset import Array
from training.data.readers.channels import Channel, ChannelInfo, Content, unique_names
from training.data.readers.lengths import nm_per, pixel_size
from training.errors import InputError

_HEADERS_BYTES = 64 + 320
_LABEL_BYTES = 32
# type bits: 1 complex, 64 unsigned; the rest is the number.
_DTYPES = {2: "f4", 4: "f8", 8: "i1", 16: "i2", 32: "i4", 72: "u1", 80: "u2", 96: "u4"}


@dataclass(frozen=True)
class _Wave:
    """One wave. `data`: indexed as in Igor, [x, y[, layer]]; `spacing` and `units`: of the four axes."""

    data: Array
    spacing: tuple[float, ...]
    units: tuple[str, ...]
    data_unit: str
    layers: list[str]


def scan_ibw(path: Path) -> list[Channel]:
    """One channel for each layer of a wave of two or three axes.

    Raises:
        InputError: UNREADABLE_FILE or UNSUPPORTED_SHAPE.
    """
    wave = _read(path)
    if wave.data.ndim not in (2, 3):
        raise InputError("UNSUPPORTED_SHAPE", f"{path.name} is a wave of shape {wave.data.shape}; an image (x, y) or layers of it were expected.")
    stack = wave.data if wave.data.ndim == 3 else wave.data[..., None]
    count = stack.shape[2]
    labels = wave.layers if len(wave.layers) == count else [""] * count
    names = unique_names(labels, [f"layer {index}" for index in range(count)])
    size, notes = pixel_size(*(_step_nm(wave, axis) for axis in (1, 0)))
    return [
        Channel(
            ChannelInfo(name, label, wave.data_unit, wave.data.shape[:2]),
            # Igor's first axis is x: it becomes the columns.
            functools.partial(Content, {"images": stack[:, :, index].T[None]} | size, notes),
        )
        for index, (name, label) in enumerate(zip(names, labels, strict=True))
    ]


def _step_nm(wave: _Wave, axis: int) -> float | None:
    factor = nm_per(wave.units[axis])
    return None if factor is None else abs(wave.spacing[axis]) * factor


def _read(path: Path) -> _Wave:
    content = path.read_bytes()
    order = next((mark for mark in "<>" if content[:2] == struct.pack(f"{mark}h", 5)), None)
    if order is None or len(content) < _HEADERS_BYTES:
        raise InputError("UNREADABLE_FILE", f"{path.name} is not an Igor binary wave of version 5; save it again from Igor Pro 5 or later.")
    words = np.frombuffer(content[:_HEADERS_BYTES], dtype=f"{order}i2")
    if int(words.sum()) & 0xFFFF:  # the header's own checksum makes the sum zero
        raise InputError("UNREADABLE_FILE", f"{path.name} has a damaged header (its checksum does not hold); copy the file again.")
    wave_bytes, formula_bytes, note_bytes, unit_bytes = struct.unpack_from(f"{order}4i", content, 4)
    axis_unit_bytes = struct.unpack_from(f"{order}4i", content, 20)
    label_bytes = struct.unpack_from(f"{order}4i", content, 36)
    (kind,) = struct.unpack_from(f"{order}h", content, 64 + 16)
    shape = tuple(itertools.takewhile(lambda length: length > 0, struct.unpack_from(f"{order}4i", content, 64 + 68)))
    if kind not in _DTYPES:
        raise InputError("UNSUPPORTED_DTYPE", f"{path.name} holds complex numbers or text (Igor type {kind}); real numbers were expected.")
    dtype = np.dtype(order + _DTYPES[kind])
    count = int(np.prod(shape))
    if len(content) < _HEADERS_BYTES + count * dtype.itemsize or wave_bytes < count * dtype.itemsize:
        raise InputError("UNREADABLE_FILE", f"{path.name} ends before its {count} values do; it was cut off: copy the file again.")
    data = np.frombuffer(content, dtype, count, _HEADERS_BYTES).reshape(shape, order="F")
    position = 64 + wave_bytes + formula_bytes + note_bytes
    data_unit = content[position : position + unit_bytes] or content[64 + 148 : 64 + 152]
    position += unit_bytes
    units = []
    for axis, size in enumerate(axis_unit_bytes):
        short = content[64 + 152 + 4 * axis : 64 + 156 + 4 * axis]
        units.append(_text(content[position : position + size] or short))
        position += size
    position += sum(label_bytes[:2])
    layers = [_text(content[start : start + _LABEL_BYTES]) for start in range(position, position + label_bytes[2], _LABEL_BYTES)]
    # The first label names the axis as a whole.
    return _Wave(data, struct.unpack_from(f"{order}4d", content, 64 + 84), tuple(units), _text(data_unit) or "unknown", layers[1:])


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", errors="replace").strip()
