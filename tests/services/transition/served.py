"""A room over toy bundles in the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.engine.budget import QueueBudget
from services.engine.device import choose_device
from services.engine.loader import Loader
from services.engine.observe import Unobserved
from services.engine.repository import Repository
from services.transition.room import TransitionRoom
from services.transition.scenes import Scene
from tests.services.transition.graphene import nearest
from tests.toy_transition import NDArray, ToyTransition, image, write_toy_transition

TOY = ToyTransition()
ATOMS, NUMBERS = image()
DOPANT = int(np.argmax(NUMBERS))
GOAL = nearest(ATOMS, np.array([6.0, 3.0]))
SCENE = Scene(ATOMS, NUMBERS, ATOMS[[GOAL]])
EDGE = int(np.argmax(ATOMS[:, 0] + ATOMS[:, 1]))


@dataclass(frozen=True)
class Served:
    """A room, and what it serves from."""

    room: TransitionRoom
    repository: Repository
    folder: Path


@asynccontextmanager
async def served(folder: Path, max_bytes: int = 1 << 28, **toys: ToyTransition) -> AsyncIterator[Served]:
    """`toys`: by the model's name."""
    device = choose_device("cpu", intra_op_threads=1, gpu_memory_bytes=0)
    repository = Repository(folder, Loader(device, max_batch=1024), QueueBudget(256, max_bytes), Unobserved())
    for name, toy in toys.items():
        write_toy_transition(folder, toy, name=name)
        await repository.load(name, 1)
    room = TransitionRoom(repository)
    yield Served(room, repository, folder)
    await room.close()
    await repository.drain(5)


def soon() -> float:
    """A deadline that is far enough."""
    return asyncio.get_running_loop().time() + 60


def silicon(*dopants: int) -> NDArray:
    """The atomic numbers, with dopants at these atoms and carbon elsewhere."""
    found = np.full(len(ATOMS), 6, np.int64)
    found[list(dopants)] = 14
    return found
