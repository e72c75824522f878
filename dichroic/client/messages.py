"""One call over several messages: how many rows go into each, and that one model answered them all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic

import numpy as np

from dichroic.client.answers import ModelIdentity, ModelInfo, Signature
from dichroic.client.models import identity_of
from dichroic.client.requests import Answer, BatchCall, Request, Response
from dichroic.errors import MessageTooLargeError, ModelChangedError

# Enough that two messages in flight keep the server busy, small enough that the first answer is soon there.
MESSAGE_BYTES = 1 << 20
IN_FLIGHT = 2
# Field tags and lengths, generously.
OVERHEAD_BYTES = 512

Progress = Callable[[int, int], None]


class Messages(Generic[Request, Response, Answer]):
    """The messages of one call. The first one's answer pins the model version for the others."""

    def __init__(self, call: BatchCall[Request, Response, Answer], info: ModelInfo, message_bytes: int, progress: Progress | None) -> None:
        """message_bytes: what to aim at, for the request and for its answer. progress: called with (rows done, rows in all)."""
        self._call = call
        self._progress = progress
        self._responses: list[Response] = []
        self._model: ModelIdentity | None = None
        each = _rows_per_message(call, info, message_bytes)
        self._slices = [slice(start, min(start + each, call.rows)) for start in range(0, call.rows, each)]

    def __len__(self) -> int:
        return len(self._slices)

    def request(self, index: int) -> Request:
        """The index-th message, of the version that answered the first."""
        return self._call.build(self._slices[index], self._call.model_version if self._model is None else self._model.version)

    def add(self, response: Response) -> None:
        """Takes the next answer, in order.

        Raises:
            ModelChangedError: another model answered than the first message's.
        """
        model = identity_of(response.model)
        if self._model is None:
            self._model = model
        elif model != self._model:
            raise ModelChangedError(
                f"{self._model.name} version {self._model.version} was replaced during the call ({self._model.digest[:12]} became "
                f"version {model.version}, {model.digest[:12]}); call again to have all rows from the new one.",
                metadata={"model_name": model.name, "model_version": str(model.version)},
            )
        self._responses.append(response)
        if self._progress is not None:
            self._progress(self._slices[len(self._responses) - 1].stop, self._call.rows)

    def answer(self) -> Answer:
        """All rows together."""
        return self._call.join(self._responses)


def _rows_per_message(call: BatchCall[Request, Response, Answer], info: ModelInfo, message_bytes: int) -> int:
    """Rows for each message: at most the server's limit, about `message_bytes` either way, and evenly shared out.

    Raises:
        MessageTooLargeError: not even one row fits.
    """
    room = info.max_message_bytes - call.build(slice(0, 0), call.model_version).ByteSize() - OVERHEAD_BYTES
    if call.row_bytes > room:
        raise MessageTooLargeError(
            f"One row has {call.row_bytes} bytes, and the server receives {info.max_message_bytes} in one message; "
            "crop or bin the images, or raise DICHROIC_MAX_MESSAGE_BYTES on the server."
        )
    widest = max(call.row_bytes, _answer_row_bytes(call.capability, info.signatures), 1)
    each = max(1, min(room // max(call.row_bytes, 1), message_bytes // widest))
    return math.ceil(call.rows / math.ceil(call.rows / each))


def _answer_row_bytes(capability: str, signatures: tuple[Signature, ...]) -> int:
    """Bytes of one row of the capability's outputs; 0 where the model does not have it, which the server will say."""
    for signature in signatures:
        if signature.name.split(".")[0] == capability:
            return sum(math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize for spec in signature.outputs if spec.dtype in np.sctypeDict)
    return 0
