"""The one error map: every exception becomes a named error, every named error an HTTP status. gRPC's status is the error's own."""

from __future__ import annotations

import asyncio
import logging
import secrets

from dichroic.errors import CancelledError, DichroicError, InternalError

log = logging.getLogger("dichroic.transport")

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "FAILED_PRECONDITION": 412,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def named(error: BaseException) -> DichroicError:
    """The error as one of ours. Anything unforeseen is logged whole under an id, and only the id leaves the server."""
    if isinstance(error, DichroicError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return CancelledError("The caller gave up.")
    error_id = secrets.token_hex(8)
    log.error("internal error %s", error_id, exc_info=error)
    return InternalError(f"An internal error happened; quote id {error_id} to whoever runs this server.", metadata={"error_id": error_id})


def http_status(error: DichroicError) -> int:
    """The HTTP status of a named error. A message that is too large is 413, not 429: waiting does not help."""
    return 413 if error.reason == "MESSAGE_TOO_LARGE" else HTTP_STATUS[error.status]


def json_body(error: DichroicError) -> dict[str, object]:
    """The JSON body of an error answer."""
    return {
        "error": {
            "reason": error.reason,
            "status": error.status,
            "message": error.message,
            "field": error.field,
            "row": error.row,
            "retry_delay_s": error.retry_delay_s,
            "metadata": error.metadata,
        }
    }
