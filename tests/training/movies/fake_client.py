"""A client whose service is numpy: the toy of whole images, told by the same types. It counts what it is asked, and fails where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from dichroic import ModelIdentity
from dichroic.client.frame_answers import FrameEncoding, LatentMap, StreamedFrame, StreamFrame
from dichroic.errors import DichroicError
from tests.toy_frames import ToyFrames, grid

TOY = ToyFrames(dense_px=0)
NDArray = np.ndarray[Any, np.dtype[Any]]


@dataclass
class FakeClient:
    """Stands for Client. `fails`: given how many frames were asked before and the frame's name, raises or returns an error in place of its answer."""

    digest: str = "a" * 64
    stages: tuple[dict[str, float], ...] = tuple({"window_px": px, "window_nm": 2 * px} for px in TOY.window_px)
    fails: Callable[[int, str], DichroicError | None] = lambda asked, name: None
    asked: list[str] = field(default_factory=list)

    def __call__(self, address: str) -> FakeClient:
        return self

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def model(self, name: str, *, version: int) -> Any:
        manifest = {"latent": {"frames": {"stages": list(self.stages)}, "latent_names": ["content_1", "content_2"]}}
        return SimpleNamespace(model=ModelIdentity(name, 1, self.digest), manifest=manifest)

    def stream_encode(self, name: str, frames: Iterable[StreamFrame], *, max_in_flight: int, version: int, **where: Any) -> Iterator[StreamedFrame]:
        assert 1 <= max_in_flight <= 8
        for number, frame in enumerate(frames, 1):
            error = self.fails(len(self.asked), frame.frame_id)
            self.asked.append(frame.frame_id)
            maps = () if error else self._maps(frame.data, **where)
            yield StreamedFrame(number, frame.frame_id, 0, 0, maps, None if error else ModelIdentity(name, 1, self.digest), error)

    def encode_frame(self, name: str, frame: NDArray, *, version: int, timeout_s: float | None, **where: Any) -> FrameEncoding:
        self.asked.append("")
        return FrameEncoding(ModelIdentity(name, 1, self.digest), "", 0, self._maps(frame, **where))

    def _maps(self, frame: NDArray, *, window_px: Any, window_nm: Any, stride_px: Any, pixel_size_nm: Any, centres_px: Any) -> tuple[LatentMap, ...]:
        in_nm = [length / pixel_size_nm for length in window_nm or [stage["window_nm"] for stage in self.stages]] if pixel_size_nm else None
        lengths = window_px or in_nm or [stage["window_px"] for stage in self.stages]
        return tuple(toy_map(frame, length, stride_px, centres_px, pixel_size_nm or 0.0) for length in lengths)


def toy_map(frame: NDArray, length: float, stride: float | None, centres: NDArray | None, pixel_size_nm: float) -> LatentMap:
    """What the toy answers through windows of one length."""
    stage = 1 + int(abs(np.log(length / TOY.window_px[1])) < abs(np.log(length / TOY.window_px[0])))
    found = grid(*frame.shape, length, stride or length / 4) if centres is None else centres
    rows = 0 if centres is not None else len(np.unique(found[:, 0]))
    told = {name: values.astype(np.float32) for name, values in TOY.encode_frame(frame, found, length, stage).items()}
    valid = np.array([np.isfinite(touched(frame, centre, length)).all() for centre in found])
    for values in told.values():
        values[~valid] = np.nan
    told.pop("explained")
    index = np.where(valid, np.nan_to_num(told["class_probabilities"]).argmax(axis=1), -1)
    return LatentMap(
        window_px=length,
        window_nm=length * pixel_size_nm,
        stage=stage,
        rows=rows,
        columns=len(found) // rows if rows else 0,
        centres_px=found,
        valid=valid,
        invalid_count=int((~valid).sum()),
        evaluated="windows",
        class_index=index,
        **told,
    )


def touched(frame: NDArray, centre: NDArray, length: float) -> NDArray:
    """The pixels under a window."""
    low, high = np.floor(centre - length / 2).astype(int), np.ceil(centre + length / 2).astype(int)
    return frame[low[0] : high[0], low[1] : high[1]]
