"""A server of the toy of frames, for tests that share one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.v1 import frames_pb2
from dichroic.wire import put_array
from tests.services.conftest import SMALL, Running, running_on
from tests.toy_bundle import write_toy
from tests.toy_frames import NDArray, ToyFrames, write_frames

TOY = ToyFrames()
FRAME = np.random.default_rng(3).random((21, 17)).astype(np.float32)


@asynccontextmanager
async def frame_server(folder: Path) -> AsyncIterator[Running]:
    """The toy as "frames", and one that has no frames as "toy"."""
    write_frames(folder / "bundles", TOY)
    write_toy(folder / "bundles", SMALL)
    async with running_on(folder / "bundles") as found:
        yield found


def filled(kind: Any, arrays: dict[str, NDArray] | None = None, **fields: Any) -> Any:
    """A message with arrays."""
    message = kind(**fields)
    for name, values in (arrays or {}).items():
        put_array(getattr(message, name), values)
    return message


def header(**fields: Any) -> frames_pb2.StreamEncodeRequest:
    return frames_pb2.StreamEncodeRequest(**{"model_name": "frames"} | fields)


def item(sequence: int, frame: NDArray = FRAME, **fields: Any) -> frames_pb2.StreamEncodeRequest:
    message: frames_pb2.StreamEncodeRequest = filled(frames_pb2.StreamEncodeRequest, {"frame": frame}, sequence=sequence, **fields)
    return message
