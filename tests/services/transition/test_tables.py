"""Action tables: made once for whoever waits, kept while they are used, and never in the way of anybody's deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from dichroic.bundle.arrays import Arrays
from dichroic.bundle.transition_section import TrainedRange
from dichroic.errors import CancelledError, DeadlineExceededError, QueueFullError
from services.transition.actions import perfect_neighbours
from services.transition.chain import Chain
from services.transition.table import SHELLS
from services.transition.tables import MOST_WAITING, Key, Tables
from services.transition.values import NEUTRAL, Risk
from tests.services.transition.served import soon
from tests.toy_transition import CURRENT, VOLTAGE, NDArray, ToyTransition

TOY = ToyTransition()


class Model:
    """Stands for a serving model: answers as the toy, once the gate is open; `failures` come first."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.asked: list[str] = []
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()
        self.users = 0

    def hold(self) -> None:
        self.users += 1

    def release(self) -> None:
        self.users -= 1

    async def run(self, signature: str, inputs: Arrays, deadline: float) -> Arrays:
        self.asked.append(signature)
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.failures:
            raise self.failures.pop()
        answers: Callable[[Arrays], Arrays] = getattr(TOY, signature)
        return answers(inputs)


def key(image_s: float = 2.0) -> Key:
    return Key("a" * 64, CURRENT, VOLTAGE, image_s)


@pytest.fixture
async def tables() -> AsyncIterator[Tables]:
    made = Tables(most=2)
    yield made
    await made.close()


def get(tables: Tables, model: Any, which: Key, deadline: float | None = None) -> Any:
    return tables.get(which, model, TOY.section, soon() if deadline is None else deadline)


async def test_all_who_ask_at_once_get_the_same_table_and_it_is_kept(tables: Tables) -> None:
    model = Model()
    found = await asyncio.gather(*[get(tables, model, key()) for _ in range(5)])
    assert all(each is found[0] for each in found)
    runs = len(model.asked)
    assert (await get(tables, model, key()), len(model.asked), model.users) == (found[0], runs, 0)
    assert set(model.asked) == {"rates"}
    assert np.hypot(found[0].actions.along, found[0].actions.across).max() <= TOY.section.beam_radius_angstrom + 1e-9


async def test_no_action_takes_longer_than_was_trained(tables: Tables) -> None:
    section = TOY.section.model_copy(update={"dwell_s": TrainedRange(low=0.0, high=1.5)})
    found = await tables.get(key(), Model(), section, soon())  # type: ignore[arg-type]
    assert 0 < found.actions.dwell_s.max() <= 1.5


async def test_actions_are_told_by_each_member_over_as_many_hops_as_a_plan_needs(tables: Tables) -> None:
    made = await get(tables, Model(), key())
    context = np.tile([CURRENT, VOLTAGE], (len(made.actions), 1))

    def rates(beam: NDArray, neighbours: NDArray, context: NDArray) -> NDArray:
        return TOY.rates({"beam_xy_angstrom": beam, "neighbours_xy_angstrom": neighbours, "current_na": context[:, 0]})["member_rates"]

    neighbours = np.broadcast_to(perfect_neighbours(1.42), (len(made.actions), 3, 2)).copy()
    beam = np.stack([made.actions.along, made.actions.across], axis=1)
    wanted = Chain(rates, SHELLS)(beam, neighbours, made.actions.dwell_s, context)
    assert wanted.shape[1] == len(TOY.peaks)
    np.testing.assert_allclose(made.choices.occupancy[: len(made.actions)], wanted.mean(axis=1), atol=1e-12)
    risky, sure = (made.choices.costs(np.full((1, wanted.shape[2] - 1), 10.0), risk) for risk in (NEUTRAL, Risk(worst=True)))
    assert (sure > risky + 1e-3).any(), "members are told apart"


async def test_the_least_recently_used_is_forgotten(tables: Tables) -> None:
    model = Model()
    first = await get(tables, model, key(1.0))
    await get(tables, model, key(2.0))
    assert await get(tables, model, key(1.0)) is first
    await get(tables, model, key(3.0))
    assert (len(tables), tables.find(key(2.0))) == (2, None)
    assert tables.find(key(1.0)) is first


async def test_who_cannot_wait_is_told_and_the_table_is_made_for_the_next(tables: Tables) -> None:
    model = Model()
    model.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await get(tables, model, key(), asyncio.get_running_loop().time() + 0.01)
    waiting = asyncio.ensure_future(get(tables, model, key()))
    giving_up = asyncio.ensure_future(get(tables, model, key()))
    await asyncio.sleep(0)
    giving_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving_up
    assert model.users == 1, "the model is kept for the table"
    model.gate.set()
    assert await waiting is tables.find(key())
    assert model.users == 0


async def test_a_failure_is_told_to_all_who_wait_and_not_kept(tables: Tables) -> None:
    model = Model()
    model.failures.append(QueueFullError("full", retry_delay_s=1.0))
    outcomes = await asyncio.gather(*[get(tables, model, key()) for _ in range(2)], return_exceptions=True)
    assert [type(each) for each in outcomes] == [QueueFullError] * 2
    assert (len(tables), model.users) == (0, 0)
    await get(tables, model, key())


async def test_so_many_are_made_at_a_time_and_no_more(tables: Tables) -> None:
    model = Model()
    model.gate.clear()
    waiting = [asyncio.ensure_future(get(tables, model, key(1.0 + number))) for number in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError) as caught:
        await get(tables, model, key(0.5))
    assert caught.value.retry_delay_s is not None
    await asyncio.wait_for(model.entered.wait(), 5)
    await tables.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [CancelledError] * MOST_WAITING
    assert model.users == 0
    # The thread that made one waits for no answer any more.
    await asyncio.wait_for(model.cancelled.wait(), 5)


async def test_a_table_that_was_given_up_asks_nothing_more(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def asks_late(occupancy: Any, *_: Any, **__: Any) -> None:
        begun.set()
        go.wait(10)
        occupancy(np.zeros((1, 2)), np.zeros((1, 3, 2)), np.ones(1), np.ones((1, 2)))

    monkeypatch.setattr("services.transition.tables.tabulate", asks_late)
    model = Model()
    waiting = asyncio.ensure_future(get(tables, model, key()))
    await asyncio.to_thread(begun.wait, 10)
    await tables.close()
    with pytest.raises(CancelledError):
        await waiting
    go.set()
    for thread in [each for each in threading.enumerate() if each.name.startswith("tables")]:
        await asyncio.to_thread(thread.join, 10)
    assert model.asked == []
