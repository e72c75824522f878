"""Movies: stacks of frames that are larger than memory, read a run of frames at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from training.data.dataset import Array
from training.data.readers.channels import Channel, ChannelInfo, choose
from training.data.readers.files import readable, scan
from training.data.readers.stacks import Stack
from training.errors import InputError

# What one run of frames takes as it is stored, where the file's own pieces are not larger.
RUN_BYTES = 32 << 20
# Pieces larger than this are not read as a whole, but decoded again for every run of their frames.
PIECE_BYTES = 256 << 20


@dataclass(frozen=True)
class MovieFile:
    """An open movie. A `with` block closes it.

    Attributes:
        name: the file's.
        info: the channel.
        shape: (t, h, w) or (t, h, w, c).
        dtype: of what `frames` gives: uint8, uint16 or float32.
        pixel_size_nm: side of a pixel, nm; None where the file does not say.
        run_frames: how many frames are best read at once.
        notes: what a person should know about how it is read.
    """

    name: str
    info: ChannelInfo
    stack: Stack

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, h, w) or (t, h, w, c)."""
        return self.stack.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As check_arrays of images: small unsigned integers stay, truth becomes uint8, all others float32."""
        stored = self.stack.dtype
        if stored.kind == "b":
            return np.dtype(np.uint8)
        return np.dtype(f"u{stored.itemsize}") if stored.kind == "u" and stored.itemsize <= 2 else np.dtype(np.float32)

    @property
    def pixel_size_nm(self) -> float | None:
        """Side of a pixel, nm; None where the file does not say."""
        return self.stack.pixel_size_nm

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how it is read."""
        return self.stack.notes

    @property
    def run_frames(self) -> int:
        """Whole pieces of the file, as many as RUN_BYTES hold; of pieces that are too large, so many frames."""
        frame_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.stack.dtype.itemsize
        fitting, piece = max(1, RUN_BYTES // frame_bytes), self.stack.chunk_frames
        if piece <= fitting:
            return fitting // piece * piece
        return piece if piece * frame_bytes <= PIECE_BYTES else fitting

    def frames(self, start: int, stop: int) -> Array:
        """(n, h, w[, c]) of this dtype, contiguous: the frames start to stop − 1. NaN and infinity stay as they are.

        Raises:
            InputError: UNREADABLE_FILE: they are damaged.
        """
        try:
            stored = self.stack.read(start, stop)
        except Exception as error:  # whatever the format's library throws
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError("UNREADABLE_FILE", f"{self.name}: frames {start} to {stop - 1} cannot be read: {first}. Copy the file again.") from error
        if stored.dtype.kind == "b":
            return np.ascontiguousarray(stored, dtype=np.uint8) * np.uint8(255)
        with np.errstate(over="ignore"):  # what overflows float32 is infinite, and its windows are not valid
            return np.ascontiguousarray(stored, dtype=self.dtype)

    def runs(self, wanted: Array) -> Iterator[tuple[int, Array]]:
        """Index and frame (h, w[, c]) of every t where `wanted` (t,) bool is true, in order; a run of the file at a time is held."""
        held: Array | None = None
        for start in range(0, self.shape[0], self.run_frames):
            chosen = np.flatnonzero(wanted[start : start + self.run_frames])
            if not len(chosen):
                continue
            first = start + int(chosen[0])
            held = None  # the run before is let go before the next is read
            held = self.frames(first, start + int(chosen[-1]) + 1)
            for index in chosen:
                yield start + int(index), held[start + int(index) - first]

    def first_frame_sha256(self) -> str:
        """Of the first frame's bytes, little-endian: with shape and dtype, which movie this is."""
        frame = self.frames(0, 1)
        return hashlib.sha256(frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stack.close()


def open_movie(path: Path | str, channel: str | None = None) -> MovieFile:
    """Opens one channel of a file as a movie; no frame is read.

    Args:
        path: zarr, HDF5, .npy or TIFF.
        channel: name or quantity; None where only one has frames.

    Raises:
        InputError: FILE_NOT_FOUND, UNKNOWN_FORMAT, UNREADABLE_FILE, PICKLE_REFUSED, NO_DATA, CHANNEL_REQUIRED, UNKNOWN_CHANNEL, UNSUPPORTED_DTYPE,
            UNSUPPORTED_SHAPE.
    """
    path = Path(path)
    channels = scan(path)
    moving = [each for each in channels if len(each.info.shape) > 2]
    chosen = choose(moving if channel is None and moving else channels, channel, path.name)
    stack = readable(path, lambda: _opened(chosen, path.name))
    if stack.dtype.kind not in "biuf":
        stack.close()
        told = "is complex; save its amplitude or its phase and give that" if stack.dtype.kind == "c" else f"has dtype {stack.dtype}, not numbers"
        raise InputError("UNSUPPORTED_DTYPE", f"{chosen.info.name} in {path.name} {told}.")
    return MovieFile(path.name, chosen.info, stack)


def _opened(chosen: Channel, name: str) -> Stack:
    shape = " × ".join(map(str, chosen.info.shape))
    if len(chosen.info.shape) < 3:
        raise InputError("UNSUPPORTED_SHAPE", f"{chosen.info.name} in {name} is one image of {shape}; a movie is (t, h, w) or (t, h, w, c).")
    if chosen.open_stack is None:
        raise InputError("UNSUPPORTED_FORMAT", f"{name} cannot be read frame by frame; save the movie as zarr, HDF5, .npy or TIFF.")
    return chosen.open_stack()
