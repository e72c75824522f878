"""Frames to a service and back, several on their way at once, as few as memory allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic import Client
from dichroic.client.frame_answers import FrameEncoding, LatentMap, StreamFrame
from dichroic.errors import DichroicError
from training.data.dataset import Array
from training.data.readers import MovieFile
from training.errors import InputError
from training.movies.asked import Asked
from training.movies.tracks import Tracks

# What frames that are sent and not answered may take together; one is always on its way.
IN_FLIGHT_BYTES = 64 << 20
MOST_IN_FLIGHT = 8

# t, from 0, and the frame.
Frames = Iterator[tuple[int, Array]]


@dataclass(frozen=True)
class Answer:
    """Of frame `t`, from 0: one map for each window, or the `error` of one that may be sent again."""

    t: int
    maps: tuple[LatentMap, ...]
    error: DichroicError | None = None


def encoded(client: Client, asked: Asked, frames: Frames, tracks: Tracks | None, most: int) -> Iterator[Answer]:
    """The frames' answers, in order, with `most` of them on their way. With tracks the maps have a row for each that is present in the frame.

    Raises:
        InputError: a frame that cannot be encoded, or another model than was asked; and what reading the movie raises.
        DichroicError: the service cannot be reached or stops.
    """
    if tracks is not None and tracks.move:
        return _one_by_one(client, asked, frames, tracks, most)
    return _streamed(client, asked, frames, None if tracks is None else tracks.at(0)[1], most)


def credit(movie: MovieFile) -> int:
    """How many frames may be on their way."""
    frame_bytes = int(np.prod(movie.shape[1:], dtype=np.int64)) * movie.dtype.itemsize
    return max(1, min(MOST_IN_FLIGHT, IN_FLIGHT_BYTES // frame_bytes))


def _streamed(client: Client, asked: Asked, numbered: Frames, centres_px: Array | None, most: int) -> Iterator[Answer]:
    frames = (StreamFrame(frame, frame_id=str(t)) for t, frame in numbered)
    where = _where(asked) | {"centres_px": centres_px}
    for answer in client.stream_encode(asked.name, frames, max_in_flight=most, version=asked.version, **where):
        t = int(answer.frame_id)
        if answer.error is not None:
            yield Answer(t, (), _again(t, answer.error))
            continue
        _check_model(asked, "" if answer.model is None else answer.model.digest)
        yield Answer(t, answer.maps)


def _one_by_one(client: Client, asked: Asked, numbered: Frames, tracks: Tracks, most: int) -> Iterator[Answer]:
    """A stream's header has the centres of all its frames, so frames whose centres move are calls of their own."""
    where = _where(asked) | {"version": asked.version, "timeout_s": None}
    on_their_way: deque[tuple[int, Future[FrameEncoding]]] = deque()

    def oldest() -> Answer:
        t, future = on_their_way.popleft()
        try:
            found = future.result()
        except DichroicError as error:
            if error.status == "UNAVAILABLE":
                raise
            return Answer(t, (), _again(t, error))
        _check_model(asked, found.model.digest)
        return Answer(t, found.maps)

    with ThreadPoolExecutor(max_workers=most) as pool:
        try:
            for t, frame in numbered:
                if len(on_their_way) == most:
                    yield oldest()
                on_their_way.append((t, pool.submit(client.encode_frame, asked.name, frame, centres_px=tracks.at(t)[1], **where)))
            while on_their_way:
                yield oldest()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _where(asked: Asked) -> dict[str, Any]:
    return {
        "window_px": asked.window_px or None,
        "window_nm": asked.window_nm or None,
        "stride_px": asked.stride_px,
        "pixel_size_nm": asked.pixel_size_nm,
    }


def _again(t: int, error: DichroicError) -> DichroicError:
    """The error, where sending the frame again may help.

    Raises:
        InputError: where it does not.
    """
    if error.retry_delay_s is None:
        raise InputError(error.reason, f"Frame {t} (counted from 0): {error.message}") from error
    return error


def _check_model(asked: Asked, digest: str) -> None:
    if digest != asked.digest:
        message = f"{asked.name} version {asked.version} was replaced while the movie was encoded: its digest is no longer {asked.digest}."
        raise InputError("MODEL_CHANGED", f"{message} Begin anew with another --out.")
