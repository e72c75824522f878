"""A grid of decoded images as one picture: a PNG writer for 8 bits, grey or red-green-blue."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

from dichroic.errors import UnsupportedCapabilityError
from services.latent import Manifold

UInt8 = np.ndarray[Any, np.dtype[np.uint8]]
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RED_GREEN_BLUE = 0, 2


def manifold_png(found: Manifold) -> bytes:
    """The grid as one picture, tile beside tile, pixel by pixel.

    Black is the least and white the greatest value of the whole grid, so that tiles compare; three channels are red, green and blue, each with
    its own range; two, or more than three, lie side by side in each tile. The text chunk `dichroic` holds, as JSON, which model answered, the
    values along both axes and each channel's range.

    Raises:
        UnsupportedCapabilityError: the model gives spectra, which are no picture.
    """
    if found.images is None:
        raise UnsupportedCapabilityError("The model decodes to spectra, which make no picture. Ask for application/json.", field="model_name")
    # (count_1, count_2, h, w, c)
    images = found.images if found.images.ndim == 5 else found.images[..., None]
    low, high = images.min(axis=(0, 1, 2, 3)), images.max(axis=(0, 1, 2, 3))
    span = np.where(high > low, high - low, 1)  # an even picture is black
    shades = np.round((images - low) / span * 255).astype(np.uint8)
    count_1, count_2, height, width, channels = shades.shape
    if channels == 3:
        pixels = shades.transpose(0, 2, 1, 3, 4).reshape(count_1 * height, count_2 * width, 3)
    else:
        pixels = shades.transpose(0, 2, 1, 4, 3).reshape(count_1 * height, count_2 * channels * width)
    model = {"name": found.model.name, "version": found.model.version, "digest": found.model.digest}
    axes = {"values_1": found.values_1.tolist(), "values_2": found.values_2.tolist()}
    return write_png(pixels, json.dumps({"model": model, **axes, "low": low.tolist(), "high": high.tolist()}))


def write_png(pixels: UInt8, text: str) -> bytes:
    """(h, w) or (h, w, 3) uint8 as PNG (ISO/IEC 15948); `text`, in ASCII, under the keyword `dichroic`."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, GREY if pixels.ndim == 2 else RED_GREEN_BLUE, 0, 0, 0)
    # Each line begins with its filter's number; 0 is none.
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    chunks = ((b"IHDR", header), (b"tEXt", b"dichroic\0" + text.encode("ascii")), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
