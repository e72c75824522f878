"""The file of a movie's maps, zarr or HDF5: made whole once, then filled frame by frame, so that a killed run loses what was on its way and no more.

`done` (t,) is written after a frame's arrays. zarr replaces each chunk's file as a whole. HDF5 keeps no journal: its arrays are therefore laid out
in full, uncompressed, before the first frame, so that nothing but numbers is ever written into the file again, and a kill leaves it readable.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py  # type: ignore[import-untyped]
import numpy as np
import zarr
from zarr.storage import LocalStore

from training.data.dataset import Array
from training.errors import InputError

SUFFIXES = (".zarr", ".h5", ".hdf5")
FORMAT = "dichroic movie maps 1"
DONE = "done"
# Frames share a chunk as far as they fit in this: maps have chunks of their own, a few tracked positions do not make a file for each frame.
CHUNK_BYTES = 64 << 10
MOST_CHUNK_FRAMES = 1 << 16
# So many frames, so many bytes of them, or what a second brought, are written at once: a write of zarr takes milliseconds, however little it is.
HELD_FRAMES, HELD_BYTES, HELD_S = 16, 16 << 20, 1.0

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class WindowMaps:
    """One frame's arrays for one window, by name; `facts`: what is the same in every frame; `fixed`: arrays that are."""

    arrays: Mapping[str, Array]
    facts: Facts
    fixed: Mapping[str, Array]


class MapsFile:
    """An open file of maps. A `with` block writes what is held and closes it.

    Attributes:
        path: of the file, or the folder of the zarr store.
        facts: its attributes.
        done: (t,) bool: which frames are written.
    """

    def __init__(self, path: Path, root: Any, flush: Callable[[], None], close: Callable[[], None]) -> None:
        self.path = path
        self.facts: dict[str, Any] = {name: _plain(value) for name, value in dict(root.attrs).items()}
        self._settle, self._close = flush, close
        self.done: Array = np.asarray(root[DONE][...])
        several = "window_1" in root
        self.groups: list[Any] = [root[f"window_{k + 1}"] for k in range(int(self.facts["windows"]))] if several else [root]
        # Looked up once: of zarr that reads a file each time.
        self._arrays: list[dict[str, Any]] = [_per_frame(group) for group in self.groups]
        self._done = root[DONE]
        self._held: list[tuple[int, Sequence[Mapping[str, Array]]]] = []
        self._flushed_s = time.monotonic()

    def write(self, t: int, maps: Sequence[Mapping[str, Array]]) -> None:
        """One frame: its arrays by name, for each window. It is held until a few more are there, or a second is over, or `flush`.

        Raises:
            InputError: CANNOT_WRITE; RESUME_MISMATCH: the arrays are not of the shapes that the file has.
        """
        for known, arrays in zip(self._arrays, maps, strict=True):
            shapes = {name: item.shape[1:] for name, item in known.items()}
            found = {name: values.shape for name, values in arrays.items()}
            if shapes != found:
                raise InputError("RESUME_MISMATCH", f"Frame {t} gives {found}, but {self.path.name} has {shapes}. Begin anew with another --out.")
        if self._held and t != self._held[-1][0] + 1:
            self.flush()
        self._held.append((t, maps))
        held_bytes = sum(values.nbytes for _, held in self._held for arrays in held for values in arrays.values())
        if len(self._held) == HELD_FRAMES or held_bytes > HELD_BYTES or time.monotonic() - self._flushed_s > HELD_S:
            self.flush()

    def write_absent(self, t: int) -> None:
        """A frame that no track is in: NaN and not valid."""
        self.write(
            t, [{name: np.full(item.shape[1:], fill_of(name, item.dtype), item.dtype) for name, item in known.items()} for known in self._arrays]
        )

    def flush(self) -> None:
        """Writes what is held: the arrays, and then that these frames are done.

        Raises:
            InputError: CANNOT_WRITE.
        """
        self._flushed_s = time.monotonic()
        if not self._held:
            return
        run = slice(self._held[0][0], self._held[-1][0] + 1)
        try:
            for window, known in enumerate(self._arrays):
                for name, item in known.items():
                    item[run] = np.stack([maps[window][name] for _, maps in self._held])
            self._settle()
            self._done[run] = True
            self._settle()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.done[run] = True
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if not isinstance(error, InputError):  # of what could not be written nothing more can
                self.flush()
        finally:
            self._close()


def check_name(path: Path) -> None:
    """Raises InputError UNKNOWN_FORMAT where the name ends in nothing that is written here."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("UNKNOWN_FORMAT", f"{path.name} is of no format that maps are written in; give a name ending in {' or '.join(SUFFIXES)}.")


def create(path: Path, frames: int, windows: Sequence[WindowMaps], facts: Facts) -> MapsFile:
    """Makes the file with room for every frame, under another name first: it is there as a whole, or not at all.

    Args:
        path: ends in .zarr, .h5 or .hdf5; nothing is there.
        frames: t.
        windows: one frame's arrays, which tell shapes and dtypes; nothing of them but `fixed` is written.
        facts: attributes of the file.

    Raises:
        InputError: CANNOT_WRITE.
    """
    making = path.with_name(path.name + ".making")
    everything = {"format": FORMAT, "windows": len(windows)} | dict(facts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if making.is_dir():
            shutil.rmtree(making)
        (_create_zarr if path.suffix.lower() == ".zarr" else _create_hdf5)(making, frames, windows, everything)
        making.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return reopen(path)


def reopen(path: Path, *, read_only: bool = False) -> MapsFile:
    """Opens a file that `create` made, for the frames that it lacks, or to read it.

    Raises:
        InputError: NOT_MAPS: it is another file, or damaged; IN_USE: another process writes it.
    """
    close = _nothing
    try:
        if path.suffix.lower() == ".zarr":
            if not read_only:
                for left in path.rglob("*.partial"):  # of a chunk that was being written when the run was killed
                    left.unlink()
            store = LocalStore(path, read_only=read_only)
            close = store.close
            root: Any = zarr.open_group(store=store, mode="r" if read_only else "r+")
            flush = _nothing
        else:
            root = h5py.File(path, "r" if read_only else "r+")
            close, flush = root.close, root.flush
        if root.attrs.get("format") == FORMAT:
            return MapsFile(path, root, flush, close)
    except BlockingIOError as error:  # HDF5 locks what is written
        raise InputError("IN_USE", f"{path} is being written by another process; wait for it, or give another --out.") from error
    except Exception as error:  # whatever the formats' libraries throw
        close()
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError("NOT_MAPS", f"{path} cannot be opened as a file of maps: {first}. Give another --out.") from error
    close()
    raise InputError("NOT_MAPS", f"{path} was not written by `python -m training movie`; give another --out.")


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error of a full disk, or of a folder that may not be written."""
    told = error.strerror or str(error)
    return InputError("CANNOT_WRITE", f"{path} cannot be written ({told}). Frames that are done stay; make room and go on with --resume.")


def fill_of(name: str, dtype: Any) -> Any:
    """What stands for "nothing there": NaN, false, no class, none."""
    if np.dtype(dtype).kind == "f":
        return np.nan
    return -1 if name == "class_index" else 0


def _nothing() -> None:
    """Zarr's files are whole as soon as they are there."""


def _groups(root: Any, windows: Sequence[WindowMaps]) -> list[Any]:
    return [root] if len(windows) == 1 else [root.create_group(f"window_{k + 1}") for k in range(len(windows))]


def _create_zarr(path: Path, frames: int, windows: Sequence[WindowMaps], facts: Facts) -> None:
    store = LocalStore(path)
    root = zarr.create_group(store=store, attributes=dict(facts))
    for group, window in zip(_groups(root, windows), windows, strict=True):
        group.attrs.update({**group.attrs.asdict(), **window.facts})
        for name, values in window.fixed.items():
            group.create_array(name, data=values)
        for name, values in window.arrays.items():
            chunk = min(frames, max(1, min(MOST_CHUNK_FRAMES, CHUNK_BYTES // max(1, values.nbytes))))
            group.create_array(
                name,
                shape=(frames, *values.shape),
                chunks=(chunk, *values.shape),
                dtype=values.dtype,
                fill_value=fill_of(name, values.dtype),
                attributes={"per_frame": True},
            )
    # Its whole chunk is written again with every frame; it is small.
    root.create_array(DONE, shape=(frames,), chunks=(min(frames, MOST_CHUNK_FRAMES),), dtype=bool, fill_value=False)
    store.close()


def _create_hdf5(path: Path, frames: int, windows: Sequence[WindowMaps], facts: Facts) -> None:
    with h5py.File(path, "w") as root:
        root.attrs.update(facts)
        for group, window in zip(_groups(root, windows), windows, strict=True):
            group.attrs.update(window.facts)
            for name, values in window.fixed.items():
                group[name] = values
            for name, values in window.arrays.items():
                _laid_out(group, name, (frames, *values.shape), values.dtype).attrs["per_frame"] = True
        _laid_out(root, DONE, (frames,), np.dtype(bool))[...] = False


def _laid_out(group: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Room in the file for all of it at once, as a hole where the file system has those."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return group.create_dataset(name, shape, dtype, dcpl=layout)


def _per_frame(group: Any) -> dict[str, Any]:
    items = ((name, group[name]) for name in group)
    return {name: item for name, item in items if "per_frame" in item.attrs}


def _plain(value: Any) -> Any:
    """An attribute as JSON has it, whichever format it comes from."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
