"""Positions that are followed through a movie: (row, column) in pixels of the frame, NaN where a track is absent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.dataset import Array
from training.data.plain_arrays import plain_arrays
from training.errors import InputError

NAME = "positions_px"


@dataclass(frozen=True)
class Tracks:
    """Attributes: positions_px: (p, 2) for all frames or (t, p, 2) float64, (row, column); a track's row is NaN where it is absent."""

    positions_px: Array

    @property
    def move(self) -> bool:
        """Whether every frame has positions of its own."""
        return self.positions_px.ndim == 3

    @property
    def count(self) -> int:
        """How many tracks."""
        return int(self.positions_px.shape[-2])

    def at(self, t: int) -> tuple[Array, Array]:
        """Which tracks are present in frame t, (p,) bool, and their centres (n, 2) float64."""
        here = self.positions_px[t] if self.move else self.positions_px
        present = ~np.isnan(here[:, 0])
        return present, here[present]

    def absent(self, frames: int) -> int:
        """How many of the positions in so many frames are NaN: of `frames` x `count`."""
        return int(np.isnan(self.positions_px[..., 0]).sum()) * (1 if self.move else frames)

    @property
    def sha256(self) -> str:
        """Of shape and values."""
        return hashlib.sha256(f"{self.positions_px.shape}".encode() + self.positions_px.astype("<f8").tobytes()).hexdigest()


def read_tracks(path: Path, shape: tuple[int, ...], largest_px: float) -> Tracks:
    """Tracks of a movie (t, h, w[, c]) whose largest window is `largest_px`.

    Args:
        path: .npy, or .npz with the array `positions_px` or one array alone: (p, 2) or (t, p, 2), numbers.
        shape: of the movie.
        largest_px: pixels of the frame.

    Raises:
        InputError: FILE_NOT_FOUND, UNREADABLE_FILE or POSITIONS, with the frame and the track.
    """
    positions = _read(path)
    frames, height, width = shape[:3]
    fits = positions.ndim in (2, 3) and positions.shape[-1] == 2 and positions.shape[-2] > 0 and positions.dtype.kind in "iuf"
    if not fits or (positions.ndim == 3 and len(positions) != frames):
        told = f"it has shape {positions.shape} and dtype {positions.dtype}"
        raise InputError("POSITIONS", f"{path.name} holds positions (p, 2) or (t, p, 2), (row, column) in pixels, of {frames} frames; {told}.")
    positions = positions.astype(np.float64)
    absent = np.isnan(positions)
    if absent.all():
        raise InputError("POSITIONS", f"{path.name} holds nothing but NaN: no track is in any frame.")
    half = largest_px / 2 - 1e-6
    with np.errstate(invalid="ignore"):
        outside = ((positions < half) | (positions > np.array([height, width]) - half)).any(axis=-1)
    wrong = outside | (absent[..., 0] != absent[..., 1])
    if wrong.any():
        place = np.unravel_index(int(wrong.argmax()), wrong.shape)
        where = f"track {place[-1]}" + (f" in frame {place[0]}" if positions.ndim == 3 else "")
        row, column = positions[place]
        problem = f"a window of {largest_px:g} px at ({row:g}, {column:g}) does not lie inside the frame of {height} × {width} px"
        raise InputError("POSITIONS", f"{path.name}, {where} (counted from 0): {problem}. Set both numbers to NaN there, or give smaller windows.")
    return Tracks(positions)


def _read(path: Path) -> Array:
    arrays = plain_arrays(path)
    if NAME not in arrays and len(arrays) != 1:
        raise InputError("POSITIONS", f"{path.name} holds {', '.join(arrays)}; name the array of positions {NAME}.")
    return arrays[NAME] if NAME in arrays else next(iter(arrays.values()))
