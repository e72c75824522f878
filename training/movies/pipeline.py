"""From a movie's file to a file of maps: what is missing is encoded and written, whatever ended the run before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dichroic import Client
from dichroic.errors import DichroicError
from training.data.dataset import Array
from training.data.readers import MovieFile, open_movie
from training.errors import InputError
from training.local_service import service_address
from training.movies.asked import Asked, Wish, asked_of
from training.movies.encoding import credit, encoded
from training.movies.frame_maps import arrays_of, windows_of
from training.movies.maps_file import MapsFile, check_name, create, reopen
from training.movies.progress import Progress
from training.movies.stopping import Stop, stop_on_interrupt
from training.movies.tracks import Tracks, read_tracks

# A service that is too busy is asked again so often without one frame answered in between.
MOST_TRIES = 20
# What must be the same when a run goes on.
IDENTITY = (
    *("model_digest", "movie_shape", "movie_dtype", "first_frame_sha256"),
    *("lengths_px", "stride_px", "pixel_size_nm", "positions_sha256"),
)


@dataclass(frozen=True)
class Request:
    """What `python -m training movie` was told; see its options."""

    movie: Path
    out: Path
    model_name: str
    model_version: int = 0
    channel: str | None = None
    server: str | None = None
    bundles: Path = Path("bundles")
    wish: Wish = field(default_factory=Wish)
    positions: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class Written:
    """What became of it. `encoded`: frames of this run; `seconds`: it took, without starting a service.

    Of the whole file, in all frames: `invalid_windows` touch NaN or infinity; of `positions`, 0 on a grid, `absent_positions` are NaN.
    """

    out: Path
    facts: dict[str, Any]
    frames: int
    encoded: int
    invalid_windows: int
    positions: int
    absent_positions: int
    seconds: float
    notes: tuple[str, ...]
    latent_names: tuple[str, ...]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. `done` of `frames` are in the file `out`."""

    def __init__(self, out: Path, done: int, frames: int) -> None:
        super().__init__()
        self.out, self.done, self.frames = out, done, frames


def encode_movie(request: Request) -> Written:
    """Encodes every frame that the file does not have.

    Raises:
        InputError: anything the user can change.
        Interrupted: Ctrl-C.
    """
    check_name(request.out)
    if request.out.exists() and not request.resume:
        raise InputError("FILE_EXISTS", f"{request.out} is already there; go on with --resume, or give another --out.")
    with open_movie(request.movie, request.channel) as movie:
        movie.frames(0, 1)  # what cannot be read is told before a service is started
        with service_address(request.server, request.bundles) as address, Client(address) as client, _told_as_input(request):
            asked = asked_of(client.model(request.model_name, version=request.model_version), movie, request.wish)
            tracks = None if request.positions is None else read_tracks(request.positions, movie.shape, max(asked.lengths_px))
            run = _Run(client, movie, asked, tracks, request.out)
            started = time.monotonic()
            try:
                with run, stop_on_interrupt() as stop:
                    count = run.all_frames(stop)
            except KeyboardInterrupt as error:
                raise Interrupted(request.out, int(run.done.sum()), movie.shape[0]) from error
            seconds = time.monotonic() - started
        notes = movie.notes
    with reopen(request.out, read_only=True) as file:
        invalid = sum(int(np.asarray(group["invalid_count"][...]).sum()) for group in file.groups)
        frames = len(file.done)
        positions, absent = (0, 0) if tracks is None else (frames * tracks.count, tracks.absent(frames))
        return Written(request.out, file.facts, frames, count, invalid, positions, absent, seconds, notes, asked.latent_names)


class _Run:
    """One run. The file is made with the first answer, which tells the maps' shapes, or was made by an earlier run."""

    def __init__(self, client: Client, movie: MovieFile, asked: Asked, tracks: Tracks | None, out: Path) -> None:
        self._client, self._movie, self._asked, self._tracks, self._out = client, movie, asked, tracks, out
        self._facts = _facts(movie, asked, tracks)
        self._file: MapsFile | None = None
        if out.exists():
            self._file = reopen(out)
            _check_same(self._file.facts, self._facts, out)

    @property
    def done(self) -> Array:
        """(t,) bool: which frames are in the file."""
        return np.zeros(self._movie.shape[0], dtype=bool) if self._file is None else self._file.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, trace)

    def all_frames(self, stop: Stop) -> int:
        """Encodes what is missing, again where the service was too busy. Returns how many frames.

        Raises:
            KeyboardInterrupt: it was asked to stop before all were done.
        """
        frames, before, tries = self._movie.shape[0], int(self.done.sum()), 0
        with Progress(frames, before) as progress:
            while not self.done.all():
                had, delay_s = int(self.done.sum()), self._missing(progress, stop)
                if stop.asked and not self.done.all():
                    raise KeyboardInterrupt
                tries = 0 if self.done.sum() > had else tries + 1
                if tries == MOST_TRIES:
                    raise InputError("QUEUE_FULL", f"The service is too busy: {had} of {frames} frames are done; go on later with --resume.")
                if delay_s:
                    time.sleep(delay_s)
        return frames - before

    def _missing(self, progress: Progress, stop: Stop) -> float:
        """One stream of what is missing, until it is to stop. Returns after how many seconds the service wants to be asked again, or 0."""
        delay_s = 0.0
        if self._file is not None:
            self._absent(progress)
        frames = takewhile(lambda _: not stop.asked, self._movie.runs(~self.done & self._present()))
        for answer in encoded(self._client, self._asked, frames, self._tracks, credit(self._movie)):
            if answer.error is not None:
                delay_s = max(delay_s, answer.error.retry_delay_s or 0.0)
                continue
            if self._file is None:
                windows = windows_of(answer.maps, self._tracks, answer.t)
                self._file = create(self._out, self._movie.shape[0], windows, self._facts)
                self._absent(progress)
            self._file.write(answer.t, arrays_of(answer.maps, self._tracks, answer.t))
            progress.one_more()
        if self._file is not None:
            self._file.flush()
        return delay_s

    def _present(self) -> Array:
        """(t,) bool: which frames have anything to encode."""
        if self._tracks is None or not self._tracks.move:
            return np.ones(self._movie.shape[0], dtype=bool)
        present: Array = ~np.isnan(self._tracks.positions_px[..., 0]).all(axis=1)
        return present

    def _absent(self, progress: Progress) -> None:
        if self._file is not None:
            for t in np.flatnonzero(~self.done & ~self._present()):
                self._file.write_absent(int(t))
                progress.one_more()


def _facts(movie: MovieFile, asked: Asked, tracks: Tracks | None) -> dict[str, Any]:
    """The file's attributes; 0 and empty: unknown."""
    return {
        "model_name": asked.name,
        "model_version": asked.version,
        "model_digest": asked.digest,
        "latent_names": list(asked.latent_names),
        "movie": movie.name,
        "quantity": movie.info.quantity,
        "unit": movie.info.unit,
        "movie_shape": list(movie.shape),
        "movie_dtype": movie.dtype.name,
        "first_frame_sha256": movie.first_frame_sha256(),
        "pixel_size_nm": asked.pixel_size_nm or 0.0,
        "lengths_px": list(asked.lengths_px),
        "stride_px": asked.stride_px or 0.0,
        "positions_sha256": "" if tracks is None else tracks.sha256,
    }


def _check_same(there: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    different = [name for name in IDENTITY if there.get(name) != now[name]]
    if different:
        told = "; ".join(f"{name} is {there.get(name)!r} there and {now[name]!r} now" for name in different)
        raise InputError("RESUME_MISMATCH", f"{out} was begun with other settings: {told}. Give those again, or another --out.")


@contextmanager
def _told_as_input(request: Request) -> Iterator[None]:
    """What the service says, as what the user can change."""
    try:
        yield
    except DichroicError as error:
        kept = f" What is done stays in {request.out}; go on with --resume." if request.out.exists() else ""
        raise InputError(error.reason, f"{error.message}{kept}") from error
