"""What one run of a graph computes: rows of several callers put together, and taken apart again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from dichroic.bundle.arrays import Arrays


@dataclass(eq=False)
class Work:
    """One caller's rows. `inputs` share their first axis, `rows` long; `deadline` and `queued_at` in the event loop's time, seconds.

    Works whose `fixed` are not the same object, or whose rows have other lengths, never run together.
    """

    inputs: Arrays
    rows: int
    deadline: float
    queued_at: float
    answer: asyncio.Future[Arrays]
    fixed: Arrays | None = None  # of the graph; None: the bundle's own
    lengths: tuple[tuple[str, int], ...] = ()  # of the named axes of its rows
    given_rows: int = 0  # rows already given to the lane
    answered_rows: int = 0
    outputs: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """Rows start..stop of one work, in one run."""

    work: Work
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.stop - self.start

    def inputs(self) -> Arrays:
        """Views of the caller's arrays, not copies."""
        return {name: array[self.start : self.stop] for name, array in self.work.inputs.items()}


@dataclass(frozen=True)
class SegmentResult:
    """What became of a segment: its outputs or its error."""

    segment: Segment
    outputs: Arrays | None
    error: Exception | None


class ShapeError(RuntimeError):
    """A graph answered with another shape than its signature promises."""


def may_run_together(one: Work, other: Work) -> bool:
    """Whether rows of both may be in one run."""
    return one.fixed is other.fixed and one.lengths == other.lengths


def joined(segments: list[Segment], padded_rows: int) -> Arrays:
    """One array for each input with every segment's rows in order, then rows of zeros up to `padded_rows`."""
    if len(segments) == 1 and segments[0].rows == padded_rows:
        return segments[0].inputs()
    result: Arrays = {}
    for name, first in segments[0].work.inputs.items():
        whole = np.empty((padded_rows, *first.shape[1:]), dtype=first.dtype)
        at = 0
        for segment in segments:
            whole[at : at + segment.rows] = segment.work.inputs[name][segment.start : segment.stop]
            at += segment.rows
        whole[at:] = 0
        result[name] = whole
    return result


def parted(segments: list[Segment], outputs: Arrays) -> list[Arrays]:
    """Each segment's own rows of every output. Copies, so that one caller's answer does not keep the whole batch in memory."""
    if len(segments) == 1:
        return [{name: array[: segments[0].rows] for name, array in outputs.items()}]
    parts: list[Arrays] = []
    at = 0
    for segment in segments:
        parts.append({name: array[at : at + segment.rows].copy() for name, array in outputs.items()})
        at += segment.rows
    return parts


def deliver(result: SegmentResult) -> None:
    """Gives a segment's outcome to its caller; a work of several segments is answered with its last one."""
    work = result.segment.work
    if work.answer.done():  # cancelled, or an earlier segment failed
        return
    if result.error is not None:
        work.answer.set_exception(result.error)
        return
    outputs = result.outputs or {}
    if result.segment.rows == work.rows:
        work.answer.set_result(outputs)
        return
    for name, part in outputs.items():
        whole = work.outputs.setdefault(name, np.empty((work.rows, *part.shape[1:]), dtype=part.dtype))
        if part.shape[1:] != whole.shape[1:]:  # nothing may be raised here: other callers wait for their answers
            work.answer.set_exception(ShapeError(f"{name} came out as {part.shape[1:]} for some rows and as {whole.shape[1:]} for others"))
            return
        whole[result.segment.start : result.segment.stop] = part
    work.answered_rows += result.segment.rows
    if work.answered_rows == work.rows:
        work.answer.set_result(work.outputs)


def fail(work: Work, error: Exception) -> None:
    """Answers with an error, unless the caller is gone."""
    if not work.answer.done():
        work.answer.set_exception(error)
