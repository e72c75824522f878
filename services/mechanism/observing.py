"""What Observe takes in: where the points are, and what a session gains by them. Graphs run in the engine, arithmetic on threads."""

from __future__ import annotations

import numpy as np

from dichroic.bundle.arrays import pack
from dichroic.errors import InvalidFieldError, InvalidTensorError
from services.mechanism.answers import Float64, Int64
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.graphs import Described, describe, rows_of
from services.mechanism.inputs import Given, checked, checked_index, checked_y
from services.mechanism.lanes import Call
from services.mechanism.session import Session
from services.mechanism.state import Block, Measured

# Points of one Observe: their covariances with all candidates are there at once.
MOST_POINTS = 512


async def points_of(  # noqa: PLR0917 - the request, in its own order
    call: Call, session: Session, given: Given | None, candidate_index: Int64 | None, y: Float64, y_unit: str
) -> Described:
    """Where the measured points are: `given`, or of the session's candidates.

    Raises:
        DichroicError: they, or y, are not what the model takes, or are too many; see inputs.py.
    """
    quantity, mean = call.section.quantity, session.row.mean
    if given is not None:
        found = checked(call.model, call.section, given)
        checked_y(y, found.rows, y_unit, quantity, mean)
        _check_points(found.rows)
        return await describe(call.model, call.section, found, call.deadline)
    index = checked_index(np.zeros(0, np.int64) if candidate_index is None else candidate_index, session.candidate_count)
    checked_y(y, len(index), y_unit, quantity, mean)
    _check_points(len(index))
    there = session.described
    if there is None:
        raise ValueError("a session without candidates has no index of one")
    return Described(there.latents[index], there.factor_variance[index], there.mean)


async def plan(call: Call, posterior: SessionPosterior, points: Described, y: Float64) -> tuple[Block, bytes]:
    """What the posterior gains by y (n,) measured at the points, and its bytes for the journal; nothing has changed yet.

    Raises:
        InvalidTensorError: a number in it is not finite: once acknowledged, every later answer would be NaN.
        DeadlineExceededError: the deadline passed in between.
    """
    known = np.concatenate((posterior.points(), points.latents))
    told = await rows_of(call.model, points.latents, known, call.deadline)
    measured = Measured(points.latents, y, points.factor_variance, told["rows"], told["factor"], told["prior"])
    return await call.run(_planned, posterior, measured)


def _planned(posterior: SessionPosterior, measured: Measured) -> tuple[Block, bytes]:
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        block = posterior.plan(measured)
    row = posterior.first_not_finite(block)
    if row is not None:
        message = f"Row {row} cannot be taken in: what the session would know by it is not finite. Check its y and mechanisms, or leave the row out."
        raise InvalidTensorError(message, field="y", row=row)
    return block, pack(block.arrays())


def _check_points(rows: int) -> None:
    if rows > MOST_POINTS:
        raise InvalidFieldError(f"{rows} points are too many for one Observe; send {MOST_POINTS} at most, and the others in the next.", field="y")
