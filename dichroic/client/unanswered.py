"""Observations that were sent and not answered: sent again, they go under the name that they had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from dichroic.client.requests import fresh_id
from dichroic.v1 import mechanism_pb2

# How many are remembered; the oldest is forgotten first.
MOST_KEPT = 256


class Unanswered:
    """The request_id of each observation that ended without an answer, by what was observed.

    Whether the server has taken it is not known then: the answer may have been lost on its way, or come too late. Under another name the same
    measurement would count twice; under the same one the server answers what it answered first, or takes it if it has not.
    """

    def __init__(self) -> None:
        self._ids: dict[bytes, str] = {}

    @contextmanager
    def named(self, request: mechanism_pb2.ObserveRequest) -> Iterator[None]:
        """Names a request that has no name yet, for the block that sends it."""
        if request.request_id:
            yield
            return
        digest = _digest(request)
        # Taken out meanwhile: two that are under way at once are two measurements.
        request.request_id = self._ids.pop(digest, "") or fresh_id()
        try:
            yield
        except BaseException:  # a refusal too: it may be that of a second attempt, after a first one that was taken
            self._ids[digest] = request.request_id
            while len(self._ids) > MOST_KEPT:
                self._ids.pop(next(iter(self._ids)), None)
            raise


def _digest(request: mechanism_pb2.ObserveRequest) -> bytes:
    """Of what was measured where, in which session; not of the revision, which the lost answer may have been about to tell."""
    bare = mechanism_pb2.ObserveRequest()
    bare.CopyFrom(request)
    bare.ClearField("expected_revision")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).digest()
