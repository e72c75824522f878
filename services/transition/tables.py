"""The action tables that plans are made of, each made once: asked of the model's graph, searched on a thread, kept while it is used."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle import TransitionSection
from dichroic.bundle.arrays import Arrays
from dichroic.errors import CancelledError, QueueFullError
from services.engine.lanes import Lanes, late
from services.engine.model import ServingModel
from services.transition.arrays import Float64
from services.transition.chain import Chain
from services.transition.table import LONGEST_DWELL_S, SHELLS, ActionTable, tabulate

# A table takes some megabytes, most of them its open lattice.
MOST_TABLES = 32
# Tables being made, one after another: each takes seconds.
MOST_WAITING = 8
RETRY_S = 2.0
# For the graph's runs of one table. Its callers wait no longer than they want to; the table is made all the same, for the next one.
MAKING_S = 120.0


@dataclass(frozen=True)
class Key:
    """What a table depends on."""

    digest: str
    current_na: float
    voltage_kv: float
    image_s: float


class Tables:
    """Tables by model and context; the least recently used goes first. Every method runs in the event loop."""

    def __init__(self, most: int = MOST_TABLES) -> None:
        """Keeps that many."""
        self._most = most
        self._tables: OrderedDict[Key, ActionTable] = OrderedDict()
        self._making: dict[Key, asyncio.Task[ActionTable]] = {}
        # One at a time: others' plans are made meanwhile.
        self._lanes = Lanes("tables", 1)

    def __len__(self) -> int:
        return len(self._tables)

    def find(self, key: Key) -> ActionTable | None:
        """The table, if it is there."""
        found = self._tables.get(key)
        if found is not None:
            self._tables.move_to_end(key)
        return found

    async def get(self, key: Key, model: ServingModel, section: TransitionSection, deadline: float) -> ActionTable:
        """The table, made if it is not there; who asks for it meanwhile waits for the same one.

        Args:
            key: what it depends on.
            model: of the key's digest, leased.
            section: of its manifest.
            deadline: until when to wait, in the event loop's time.

        Raises:
            DeadlineExceededError: it is not there in time; it is made for the next caller all the same.
            QueueFullError: too many are being made (with a delay), or the engine has too much waiting.
        """
        found = self.find(key)
        if found is not None:
            return found
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= MOST_WAITING:
                message = f"{len(self._making)} plans for other currents, voltages or image times are being prepared. Retry after {RETRY_S:g} s."
                raise QueueFullError(message, retry_delay_s=RETRY_S)
            model.hold()
            task = self._making[key] = asyncio.create_task(self._make(key, model, section))
            task.add_done_callback(lambda done: self._made(key, model, done))
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise late() from error
        except asyncio.CancelledError:
            if task.cancelled():
                raise CancelledError("The server stopped before the plan was prepared.") from None
            raise

    async def close(self) -> None:
        """Gives up what is being made."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        for task in making:
            with contextlib.suppress(BaseException):
                await task
        self._lanes.close()

    async def _make(self, key: Key, model: ServingModel, section: TransitionSection) -> ActionTable:
        loop = asyncio.get_running_loop()
        until = loop.time() + MAKING_S
        given_up = False
        asking: asyncio.Task[Any] | None = None

        async def ask(inputs: Arrays) -> Arrays:
            nonlocal asking
            if given_up:
                raise late()
            asking = asyncio.current_task()
            # By the engine, as any request: in its lane, within its budget, beside everybody else's rows.
            return await model.run("rates", inputs, until)

        def rates(beam: Float64, neighbours: Float64, context: Float64) -> Float64:
            inputs: Arrays = {
                "beam_xy_angstrom": beam,
                "neighbours_xy_angstrom": neighbours,
                "current_na": np.ascontiguousarray(context[:, 0]),
                "voltage_kv": np.ascontiguousarray(context[:, 1]),
            }
            return asyncio.run_coroutine_threadsafe(ask(inputs), loop).result(MAKING_S)["member_rates"]

        try:
            return await self._lanes.run(
                until,
                tabulate,
                Chain(rates, SHELLS),
                (key.current_na, key.voltage_kv),
                shells=SHELLS,
                image_s=key.image_s,
                bond_length=section.bond_length_angstrom,
                beam_radius=section.beam_radius_angstrom,
                longest_dwell_s=min(LONGEST_DWELL_S, section.dwell_s.high),
            )
        finally:
            given_up = True
            if asking is not None:
                asking.cancel()  # the thread must not wait on where this was given up

    def _made(self, key: Key, model: ServingModel, done: asyncio.Task[ActionTable]) -> None:
        model.release()
        del self._making[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._tables[key] = done.result()
        while len(self._tables) > self._most:
            self._tables.popitem(last=False)
