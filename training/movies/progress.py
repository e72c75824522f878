"""How far a movie is: a bar on a terminal, and lines where nobody looks at once, such as in the log of a job."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

# Between two lines, seconds. Work that is over before the first needs none.
LINE_S = 30.0


class Progress:
    """Frames done of all. A `with` block ends the bar."""

    def __init__(self, frames: int, done: int, stream: TextIO | None = None) -> None:
        """`done` of `frames` were there before; `stream`: where to say it, by default standard error."""
        self._stream = sys.stderr if stream is None else stream
        self._frames, self._before, self._done = frames, done, done
        self._lines = not self._stream.isatty()
        self._bar = tqdm(total=frames, initial=done, desc="movie", unit="frame", file=self._stream, disable=self._lines)
        self._started = self._said = time.monotonic()

    def one_more(self) -> None:
        """A frame is done."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        if self._lines and now - self._said >= LINE_S:
            self._said = now
            left_s = (now - self._started) / (self._done - self._before) * (self._frames - self._done)
            print(
                f"movie: {self._done} of {self._frames} frames, {100 * self._done // self._frames} %, {left_s:.0f} s left",
                file=self._stream,
                flush=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
