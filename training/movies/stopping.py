"""Ctrl-C that waits for the frames on their way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = b"\nStopping when the frames on their way are answered and written; Ctrl-C again does not wait for them.\n"


class Stop:
    """`asked`: whether the user wants the run to end."""

    asked = False


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """In this block a first SIGINT only sets `asked`, and the next does what SIGINT did before. Main thread only.

    A KeyboardInterrupt comes anywhere, also where a `with` statement of gRPC has taken its lock and not yet entered its block: the lock is then never
    released, and closing the channel waits for ever. About one Ctrl-C in a hundred in the middle of a stream was such a one.
    """
    stop = Stop()
    before = signal.getsignal(signal.SIGINT)

    def heard(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)
        # Not by sys.stderr: what it was interrupted in may be a write of its own.
        os.write(2, STOPPING)

    # Ignored, as a shell without job control has it for what runs in the background, it stays ignored.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, heard)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
