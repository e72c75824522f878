"""A stream of frames: in order, several at a time, bounded whoever is slow, dropping only what waited longest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.latent.streams import UNDER_WAY, FrameStream, Limits, Mode, Outcome


class Lab:
    """Frames are numbers, sent when a test says so, and encoded when it says so; a frame of n is answered 10 n, below 0 an error."""

    def __init__(self, mode: Mode = Mode.BLOCK, most: int = 3, most_bytes: int = 1 << 30) -> None:
        self.arriving: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.read: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.told_dropped: list[int] = []
        self.cancelled: list[int] = []
        limits = Limits[int](most, most_bytes, lambda frame: 100)
        self.stream = FrameStream[int, int](self.encode, limits, mode, self.told_dropped.append)

    async def frames(self) -> AsyncIterator[int]:
        while (frame := await self.arriving.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            self.read.append(frame)
            yield frame

    async def encode(self, frame: int) -> int:
        try:
            await self.gates.setdefault(frame, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled.append(frame)
            raise
        if frame < 0:
            raise ValueError(f"{frame} is below 0")
        return 10 * frame

    def send(self, *frames: int | Exception | None) -> None:
        for frame in frames:
            self.arriving.put_nowait(frame)

    def let(self, *frames: int) -> None:
        for frame in frames:
            self.gates.setdefault(frame, asyncio.Event()).set()

    def outcomes(self) -> AsyncIterator[Outcome[int, int]]:
        return self.stream.outcomes(self.frames())


async def settled() -> None:
    """All that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_frames_are_answered_in_their_order_whichever_is_done_first() -> None:
    lab = Lab()
    lab.send(1, 2, 3, None)
    lab.let(3, 2, 1)
    assert [(each.given, each.found, each.dropped) async for each in lab.outcomes()] == [(1, 10, 0), (2, 20, 0), (3, 30, 0)]


async def test_several_are_under_way_at_once() -> None:
    lab = Lab()
    lab.send(1, 2, 3, 4)
    async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(outcomes))
        await settled()
        assert list(lab.gates) == [1, 2, 3]
        lab.let(1)
        assert (await first).found == 10
    assert sorted(lab.cancelled) == [2, 3]


async def test_blocking_reads_no_further_than_there_is_room_for() -> None:
    lab = Lab(most=3)
    lab.send(*range(1, 10))
    lab.let(*range(1, 10))
    async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
        assert (await anext(outcomes)).given == 1
        await settled()
        assert lab.read == [1, 2, 3]  # the first is not taken until the next is asked for
        assert (await anext(outcomes)).given == 2
        await settled()
        assert (lab.read, lab.stream.held) == ([1, 2, 3, 4], 3)


async def test_bytes_are_room_too_and_one_frame_always_has_it() -> None:
    lab = Lab(most=8, most_bytes=250)
    lab.send(*range(1, 10))
    async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
        waiting = asyncio.ensure_future(anext(outcomes))
        await settled()
        assert lab.read == [1, 2]
        waiting.cancel()
        await settled()
    narrow = Lab(most=8, most_bytes=10)
    narrow.send(1, 2, None)
    narrow.let(1, 2)
    assert [each.found async for each in narrow.outcomes()] == [10, 20]


async def test_dropping_reads_on_and_drops_what_waited_longest() -> None:
    lab = Lab(Mode.DROP_OLDEST, most=2)
    lab.send(*range(1, 10))
    async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(outcomes))
        await settled()
        assert UNDER_WAY == 2
        assert (lab.read, list(lab.gates)) == (list(range(1, 10)), [1, 2])
        assert lab.told_dropped == [3, 4, 5, 6, 7]
        assert lab.stream.held == 4
        lab.let(*range(1, 10))
        lab.send(None)
        rest = [await first, *[each async for each in outcomes]]
    assert [(each.given, each.dropped) for each in rest] == [(1, 5), (2, 5), (8, 5), (9, 5)]


async def test_dropping_drops_nothing_while_frames_are_encoded_in_time() -> None:
    lab = Lab(Mode.DROP_OLDEST, most=1)
    lab.let(*range(1, 30))
    found = []
    async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
        for frame in range(1, 30):
            lab.send(frame)
            found.append((await anext(outcomes)).found)
    assert found == [10 * frame for frame in range(1, 30)]
    assert lab.told_dropped == []


async def test_one_bad_frame_is_told_and_the_others_are_answered() -> None:
    lab = Lab()
    lab.send(1, -2, 3, None)
    lab.let(1, -2, 3)
    found = [each async for each in lab.outcomes()]
    assert [each.found for each in found] == [10, None, 30]
    assert str(found[1].error) == "-2 is below 0"


async def all_of(lab: Lab) -> tuple[list[int | None], str]:
    """What is answered, and what is raised after it."""
    found = []
    try:
        async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
            async for each in outcomes:
                found.append(each.found)  # noqa: PERF401 - an error must not lose those before it
    except RuntimeError as error:
        return found, str(error)
    return found, ""


async def test_what_ends_the_reading_is_raised_once_all_before_are_answered() -> None:
    lab = Lab()
    lab.send(1, 2, RuntimeError("garbage"), 3)
    taking = asyncio.create_task(all_of(lab))
    await settled()
    lab.let(1, 2)
    assert await taking == ([10, 20], "garbage")
    assert lab.read == [1, 2]


async def test_an_end_from_outside_answers_what_was_read_and_says_why() -> None:
    lab = Lab()
    lab.send(1, 2)
    taking = asyncio.create_task(all_of(lab))
    await settled()
    lab.stream.end(RuntimeError("stopping"))
    lab.stream.end()  # the first word counts
    lab.send(3)
    lab.let(1, 2, 3)
    assert await taking == ([10, 20], "stopping")


async def test_a_caller_that_goes_away_cancels_what_is_under_way() -> None:
    lab = Lab(Mode.DROP_OLDEST, most=2)
    lab.send(1, 2, 3, 4)

    async def take() -> None:
        async with aclosing(lab.outcomes()) as outcomes:  # type: ignore[type-var]
            async for _ in outcomes:
                pass

    taking = asyncio.create_task(take())
    await settled()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert sorted(lab.cancelled) == [1, 2]
    assert lab.told_dropped == [3, 4]
    assert len(asyncio.all_tasks()) == 1
