"""Named errors to google.rpc.Status and back: the server writes what the client raises again, as the same type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from dichroic.errors import (
    BY_REASON,
    BundleRefusedError,
    CancelledError,
    DeadlineExceededError,
    DichroicError,
    InternalError,
    MessageTooLargeError,
    NoCredentialError,
    ServerUnreachableError,
    SessionExpiredError,
    SessionModelChangedError,
    UnknownModelError,
    UnknownSessionError,
    UnknownVersionError,
    UnrecognisedError,
    UnsupportedCapabilityError,
)

DOMAIN: Final = "dichroic"
DETAILS_KEY: Final = "grpc-status-details-bin"
# Trailing metadata holds the text twice, percent-encoded once, and gRPC drops metadata over 8 KiB in favour of an error of its own.
MAX_MESSAGE_BYTES: Final = 800
MAX_VALUE_BYTES: Final = 200

# What to do where the time was too short; calls that have something better to say put it in its place.
SEND_LESS: Final = "send less at once"

# What grpc.aio makes up where a message could not be sent because the call was over, if the status that says why has not been read by then.
SEND_FAILED: Final = "Internal error from Core"

# What gRPC itself, or a proxy, answers without details.
_WITHOUT_DETAILS: Final[dict[grpc.StatusCode, type[DichroicError]]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedCapabilityError,
    grpc.StatusCode.UNAUTHENTICATED: NoCredentialError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def to_status_details(error: DichroicError) -> status_pb2.Status:
    """The error as google.rpc.Status, for trailing metadata `grpc-status-details-bin`.

    Details: always ErrorInfo (reason, domain "dichroic", metadata, and metadata "row" where a row is at fault); BadRequest where a field
    is; RetryInfo where a retry may help; ResourceInfo for an unknown model or version (metadata "model_name", "model_version") and for a session
    that is unknown or expired ("session_id"); PreconditionFailure for a refused bundle and for a session whose bundle is gone. Long texts are
    cut to what gRPC metadata carries.
    """
    message = _cut(error.message, MAX_MESSAGE_BYTES)
    metadata = {key: _cut(value, MAX_VALUE_BYTES) for key, value in error.metadata.items()}
    if error.row is not None:
        metadata["row"] = str(error.row)
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if error.field:
        where = error.field if error.row is None else f"{error.field}, row {error.row}"
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=where, reason=error.reason)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_delay_s is not None:
        nanoseconds = max(round(error.retry_delay_s * 1e9), 0)
        delay = duration_pb2.Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, UnknownModelError | UnknownVersionError):
        resource = "/".join(filter(None, (metadata.get("model_name", ""), metadata.get("model_version", ""))))
        details.append(error_details_pb2.ResourceInfo(resource_type="model", resource_name=resource, description=error.reason))
    if isinstance(error, UnknownSessionError | SessionExpiredError):
        resource = metadata.get("session_id", "")
        details.append(error_details_pb2.ResourceInfo(resource_type="session", resource_name=resource, description=error.reason))
    if isinstance(error, SessionModelChangedError):
        subject = metadata.get("session_id", "")
        broken = error_details_pb2.PreconditionFailure.Violation(type=error.reason, subject=subject, description=message)
        details.append(error_details_pb2.PreconditionFailure(violations=[broken]))
    if isinstance(error, BundleRefusedError):
        broken = error_details_pb2.PreconditionFailure.Violation(type=error.cause, subject=error.step, description=error.reason)
        details.append(error_details_pb2.PreconditionFailure(violations=[broken]))
    packed = [any_pb2.Any() for _ in details]
    for slot, detail in zip(packed, details, strict=True):
        slot.Pack(detail)
    return status_pb2.Status(code=grpc.StatusCode[error.status].value[0], message=message, details=packed)


def abort_arguments(error: DichroicError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """What a servicer hands to `context.abort`: code, text and trailing metadata."""
    status = to_status_details(error)
    return grpc.StatusCode[error.status], status.message, ((DETAILS_KEY, status.SerializeToString()),)


def from_status_details(status: status_pb2.Status) -> DichroicError | None:
    """The named error in a google.rpc.Status; None where it has no ErrorInfo of our domain.

    A reason this release does not know (a newer server) becomes UnrecognisedError with metadata "reason" and "status".
    """
    info = _detail(status, error_details_pb2.ErrorInfo())
    if info is None or info.domain != DOMAIN:
        return None
    metadata = dict(info.metadata)
    bad = _detail(status, error_details_pb2.BadRequest())
    retry = _detail(status, error_details_pb2.RetryInfo())
    field = bad.field_violations[0].field if bad is not None and bad.field_violations else ""
    row = metadata.get("row", "")
    error = _named(info.reason, status, metadata)
    error.field = field
    if row.isdecimal():
        error.row = int(error.metadata.pop("row"))
    if retry is not None:
        error.retry_delay_s = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
    return error


def from_rpc_error(error: grpc.RpcError | grpc.aio.AioRpcError) -> DichroicError:
    """What a failed call says, as a named error: from its details, or, for gRPC core's own errors, from its code.

    Args:
        error: as raised by a synchronous stub (grpc.RpcError that is a grpc.Call) or an asynchronous one (grpc.aio.AioRpcError).
    """
    code: grpc.StatusCode = error.code()
    text: str = error.details() or ""
    trailing = cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ())
    for key, value in trailing:
        named = _parsed(value) if key == DETAILS_KEY else None
        if named is not None:
            return named
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "message larger than max" in text:
        return MessageTooLargeError(f"The message is larger than its receiver takes ({text}); send fewer rows at once.")
    if code is grpc.StatusCode.INTERNAL and text == SEND_FAILED:
        return ServerUnreachableError(f"The call ended while a message was being sent, and why did not arrive (gRPC: {text}). Call again.")
    if code in _WITHOUT_DETAILS:
        return _WITHOUT_DETAILS[code](_explained(code, text))
    return UnrecognisedError(f"{code.name}: {text}", metadata={"status": code.name})


def _explained(code: grpc.StatusCode, text: str) -> str:
    meaning = {
        grpc.StatusCode.UNAVAILABLE: "No server answered; check the address, that the server runs, and that the port is reachable",
        grpc.StatusCode.DEADLINE_EXCEEDED: f"The answer did not come within the time given; raise timeout_s or {SEND_LESS}",
        grpc.StatusCode.CANCELLED: "The call was cancelled",
        grpc.StatusCode.UNIMPLEMENTED: "The server does not know this method; it is older than this client, or not a Dichroic server",
        grpc.StatusCode.UNAUTHENTICATED: "The server, or a proxy before it, wants a credential",
        grpc.StatusCode.INTERNAL: "gRPC reported an internal error",
    }[code]
    return f"{meaning} ({text})." if text else f"{meaning}."


def _parsed(value: bytes) -> DichroicError | None:
    try:
        return from_status_details(status_pb2.Status.FromString(value))
    except DecodeError:  # not our bytes
        return None


def _named(reason: str, status: status_pb2.Status, metadata: dict[str, str]) -> DichroicError:
    kind = BY_REASON.get(reason)
    if kind is None:
        return UnrecognisedError(status.message, metadata=metadata | {"reason": reason, "status": _code_name(status.code)})
    if issubclass(kind, BundleRefusedError):
        refused = BundleRefusedError(metadata.get("step", ""), metadata.get("cause", ""), status.message)
        refused.metadata |= metadata
        return refused
    return kind(status.message, metadata=metadata)


def _code_name(number: int) -> str:
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), str(number))


def _detail(status: status_pb2.Status, empty: Any) -> Any:
    for packed in status.details:
        if packed.Is(empty.DESCRIPTOR):
            packed.Unpack(empty)
            return empty
    return None


def _cut(text: str, limit_bytes: int) -> str:
    """The text's beginning that fits: gRPC percent-encodes every byte that is not printable ASCII, which makes it three."""
    taken = 0
    for index, character in enumerate(text):
        taken += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode("utf-8", "replace"))
        if taken > limit_bytes - 9:  # room for the mark that something was cut
            return text[:index] + "…"
    return text
