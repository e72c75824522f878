"""What a request asked for, as a digest: so that a request_id stands for one request, and only a repeat of it gets its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from dichroic.errors import RequestIdReusedError
from services.mechanism.inputs import Given, NDArray


def digest_of(facts: Mapping[str, object], given: Given | None, arrays: dict[str, NDArray]) -> str:
    """SHA-256, hexadecimal, of what was asked for; expected_revision and the deadline are not, because a repeat may change them.

    Args:
        facts: by name.
        given: mechanisms' values, in any order, and units as declared; None: none.
        arrays: others, by name.
    """
    digest = hashlib.sha256()

    def add(content: bytes | memoryview) -> None:
        # Lengths first: no two requests are the same bytes cut elsewhere.
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)

    units = None if given is None else {name: unit for name, unit in given.units.items() if unit}
    add(json.dumps([facts, units], sort_keys=True).encode())
    named = {f"given.{name}": values for name, values in ({} if given is None else given.values).items()} | arrays
    for name, array in sorted(named.items()):
        add(json.dumps([name, array.dtype.str, array.shape]).encode())
        add(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_same(request_id: str, stored: str, digest: str, what: str) -> None:
    """Whether a request_id that was used before comes with what it came with then.

    Args:
        request_id: as sent.
        stored: the digest of the first request.
        digest: that of this one.
        what: what the first request did, for the message: "made a session".

    Raises:
        RequestIdReusedError: it asks for something else.
    """
    if stored != digest:
        message = (
            f"request_id {request_id!r} was used before, and {what} from other values: a repeat gets the first answer, so it must ask for the same. "
            "Nothing was done. Send this request with a request_id of its own, or the first one unchanged."
        )
        raise RequestIdReusedError(message, field="request_id", metadata={"request_id": request_id})
