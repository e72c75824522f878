"""Work in a session, and every number of it that an answer depends on."""

from __future__ import annotations

import numpy as np

from services.mechanism import Given, Observed, SessionMade
from services.mechanism.session import Session
from tests.services.mechanism.world import Lab, NDArray, World, places, soon

WORLD = World(outliers=True)


def at(count: int, seed: int = 5) -> Given:
    return WORLD.given(places(count, seed))


def held(lab: Lab, made: SessionMade) -> Session | None:
    return lab.room._sessions._held[made.session_id].session if made.session_id in lab.room._sessions._held else None


def arrays_of(session: Session | None) -> dict[str, NDArray]:
    """Every number that an answer depends on."""
    assert session is not None
    found = {name: array.copy() for name, array in session.posterior.fixed().items()}
    candidates = session.candidates
    if candidates is not None and candidates.paths is not None:
        for name in ("mean", "variance_left", "part_variance_left", "half", "columns", "with_gauge"):
            found[f"candidates.{name}"] = getattr(candidates, name).copy()
        found |= {"paths.prior": candidates.paths.prior.copy(), "paths.loads": candidates.paths.loads.copy()}
    return found


async def worked_in(lab: Lab) -> tuple[SessionMade, list[Observed]]:
    """A session with candidates and four Observes of several points each."""
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(15, 8), seed=2)
    answers = []
    for j in range(4):
        y = np.random.default_rng(j).normal(size=j + 1) * 3
        answers.append(await lab.room.observe(made.session_id, soon(), given=at(j + 1, 20 + j), y=y, request_id=f"r{j}"))
        if j == 1:
            await lab.room.suggest(soon(), session_id=made.session_id, strategy="ei")
    return made, answers
