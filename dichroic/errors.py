"""Every error Dichroic names, with its stable reason: raised by the server's rooms, and raised again, as the same type, by the client.

A reason never changes once released. `status` is the canonical gRPC code's name; services/transport/errors.py maps it to HTTP.
"""

from __future__ import annotations

from typing import ClassVar


class DichroicError(Exception):
    """Base of every named error.

    Attributes:
        reason: stable upper-case word, as in google.rpc.ErrorInfo.reason.
        status: canonical gRPC status name, such as "INVALID_ARGUMENT".
        message: one sentence for people: what was wrong, what was expected, what to do.
        field: the request field at fault, such as "images"; empty when there is none.
        row: index along the batch axis of the item at fault; None when there is none.
        retry_delay_s: seconds after which the same request may succeed; None when a retry is of no use.
        metadata: further facts for programs, string to string.
    """

    reason: ClassVar[str] = "INTERNAL"
    status: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        row: int | None = None,
        retry_delay_s: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.row = row
        self.retry_delay_s = retry_delay_s
        self.metadata = dict(metadata or {})


class InternalError(DichroicError):
    """Our fault. The message carries an id to quote; the server's log has the rest under that id."""


class InvalidTensorError(DichroicError):
    """A tensor has the wrong shape, dtype or byte count, is empty, or holds NaN or infinity."""

    reason = "INVALID_TENSOR"
    status = "INVALID_ARGUMENT"


class InvalidFieldError(DichroicError):
    """A field other than a tensor is missing or out of range."""

    reason = "INVALID_FIELD"
    status = "INVALID_ARGUMENT"


class UnknownModelError(DichroicError):
    """No model of this name is known."""

    reason = "UNKNOWN_MODEL"
    status = "NOT_FOUND"


class UnknownVersionError(DichroicError):
    """The model is known, this version of it is not."""

    reason = "UNKNOWN_VERSION"
    status = "NOT_FOUND"


class UnknownRouteError(DichroicError):
    """HTTP only: there is no such route, or not with this method."""

    reason = "UNKNOWN_ROUTE"
    status = "NOT_FOUND"


class ModelNotReadyError(DichroicError):
    """The version is known but does not answer: it is loading, was refused, or was unloaded."""

    reason = "MODEL_NOT_READY"
    status = "UNAVAILABLE"


class UnsupportedCapabilityError(DichroicError):
    """The model exists but does not do this."""

    reason = "UNSUPPORTED_CAPABILITY"
    status = "UNIMPLEMENTED"


class QueueFullError(DichroicError):
    """The server has as much waiting work as it allows itself."""

    reason = "QUEUE_FULL"
    status = "RESOURCE_EXHAUSTED"


class MessageTooLargeError(DichroicError):
    """The request is larger than the server receives."""

    reason = "MESSAGE_TOO_LARGE"
    status = "RESOURCE_EXHAUSTED"


class DeadlineExceededError(DichroicError):
    """The caller's deadline passed before the answer was there."""

    reason = "DEADLINE_EXCEEDED"
    status = "DEADLINE_EXCEEDED"


class CancelledError(DichroicError):
    """The caller gave up."""

    reason = "CANCELLED"
    status = "CANCELLED"


class ServerStartingError(DichroicError):
    """The server is up but not ready yet."""

    reason = "SERVER_STARTING"
    status = "UNAVAILABLE"


class ServerStoppingError(DichroicError):
    """The server is draining: it finishes what it accepted and takes nothing new."""

    reason = "SERVER_STOPPING"
    status = "UNAVAILABLE"


class ServerUnreachableError(DichroicError):
    """Client side only: no server answered at this address."""

    reason = "SERVER_UNREACHABLE"
    status = "UNAVAILABLE"


class ModelChangedError(DichroicError):
    """Client side only: the model was replaced between two messages of one call, so their answers are not mixed. Call again."""

    reason = "MODEL_CHANGED"
    status = "ABORTED"


class UnrecognisedError(DichroicError):
    """Client side only: an error this client has no name for, from a newer server or a proxy. `metadata`: its `status`, and `reason` if any."""

    reason = "UNRECOGNISED"
    status = "UNKNOWN"


class NoCredentialError(DichroicError):
    """The call needs a credential and carried none, or a wrong one."""

    reason = "NO_CREDENTIAL"
    status = "UNAUTHENTICATED"


class AdminOnlyError(DichroicError):
    """The call needs the admin role, and this server grants it to nobody or not to this caller."""

    reason = "ADMIN_ONLY"
    status = "PERMISSION_DENIED"


class BundleRefusedError(DichroicError):
    """A bundle did not pass a step of the load sequence. `metadata` holds `step` and `cause` (a stable word)."""

    reason = "BUNDLE_REFUSED"
    status = "FAILED_PRECONDITION"

    def __init__(self, step: str, cause: str, message: str) -> None:
        super().__init__(message, metadata={"step": step, "cause": cause})
        self.step = step
        self.cause = cause


class MissingMechanismError(DichroicError):
    """A mechanism of the model was not told. Every one is needed: what is left out would have to be guessed."""

    reason = "MISSING_MECHANISM"
    status = "INVALID_ARGUMENT"


class UnknownMechanismError(DichroicError):
    """Something was sent under a name that is none of the model's mechanisms."""

    reason = "UNKNOWN_MECHANISM"
    status = "INVALID_ARGUMENT"


class UnknownCategoryError(DichroicError):
    """A category's index is none that the model was trained with; `row` says which. `metadata`: `category`, and `known`, how many there are."""

    reason = "UNKNOWN_CATEGORY"
    status = "INVALID_ARGUMENT"


class UnitMismatchError(DichroicError):
    """The unit the caller declared is not the model's. `metadata`: `declared` and `expected`. Nothing is converted silently."""

    reason = "UNIT_MISMATCH"
    status = "INVALID_ARGUMENT"


class UnknownSessionError(DichroicError):
    """No session has this id: it was never made here, or was deleted. `metadata`: `session_id`."""

    reason = "SESSION_UNKNOWN"
    status = "NOT_FOUND"


class SessionExpiredError(DichroicError):
    """The session was not used for as long as it was made to last. `metadata`: `session_id`."""

    reason = "SESSION_EXPIRED"
    status = "NOT_FOUND"


class SessionConflictError(DichroicError):
    """Somebody else observed in the session meanwhile. `metadata`: `expected_revision` and `revision`, the one it has."""

    reason = "SESSION_CONFLICT"
    status = "ABORTED"


class RequestIdReusedError(DichroicError):
    """A request_id came again with another request than the first. Nothing was done. `metadata`: `request_id`."""

    reason = "REQUEST_ID_REUSED"
    status = "ABORTED"


class SessionModelChangedError(DichroicError):
    """The bundle that the session was made from no longer serves. `metadata`: `session_id`, `model_name`, `model_version`, `digest`."""

    reason = "SESSION_MODEL_CHANGED"
    status = "FAILED_PRECONDITION"


class SessionMemoryError(DichroicError):
    """The session needs more memory than all sessions may have, or than those in use at this moment leave (then with a delay)."""

    reason = "SESSION_MEMORY"
    status = "RESOURCE_EXHAUSTED"


class SessionStoreError(DichroicError):
    """The journal of sessions cannot be read or written, so nothing can be promised to outlive a restart."""

    reason = "SESSION_STORE"
    status = "FAILED_PRECONDITION"


class NoDopantError(DichroicError):
    """No atom that was sent is a dopant, so there is none to move."""

    reason = "NO_DOPANT"
    status = "INVALID_ARGUMENT"


class SeveralDopantsError(DichroicError):
    """Several atoms are dopants where one is meant. `metadata`: `dopants`, their indices, separated by commas."""

    reason = "SEVERAL_DOPANTS"
    status = "INVALID_ARGUMENT"


class EdgeSiteError(DichroicError):
    """The dopant has fewer than three neighbours, or all on one side: it stands at an edge, in a hole or at the border of the view."""

    reason = "EDGE_SITE"
    status = "FAILED_PRECONDITION"


class NotThreeFoldError(DichroicError):
    """The dopant has more than three neighbours: it does not stand in one atom's place."""

    reason = "NOT_THREE_FOLD"
    status = "FAILED_PRECONDITION"


class BondLengthError(DichroicError):
    """Atoms do not lie a bond's length apart, most likely because they were not sent in Å. `metadata`: `distance` and `expected`."""

    reason = "BOND_LENGTH"
    status = "INVALID_ARGUMENT"


class BeamOutOfRangeError(DichroicError):
    """The beam lies farther from the dopant than anything that could be meant. `metadata`: `distance` and `most`, Å."""

    reason = "BEAM_OUT_OF_RANGE"
    status = "INVALID_ARGUMENT"


class GoalOffLatticeError(DichroicError):
    """No atom lies within half a bond of the goal."""

    reason = "GOAL_OFF_LATTICE"
    status = "INVALID_ARGUMENT"


class GoalUnreachableError(DichroicError):
    """No way leads to the goal: forbidden sites, defects, foreign atoms or edges lie across all. `metadata`: `atom`, where one goal is meant."""

    reason = "GOAL_UNREACHABLE"
    status = "FAILED_PRECONDITION"


class ForbiddenSiteError(DichroicError):
    """The dopant stands, or is to end, where it may not be.

    `metadata`: `cause`: "forbidden", "dopant" (another one's site), "foreign" (neither dopant nor of the lattice) or "defect"; and `atom`.
    """

    reason = "FORBIDDEN_SITE"
    status = "FAILED_PRECONDITION"


def _named(base: type[DichroicError]) -> dict[str, type[DichroicError]]:
    found = {base.reason: base}
    for child in base.__subclasses__():
        found |= _named(child)
    return found


# InternalError shares its base's reason; the base itself is never raised.
BY_REASON: dict[str, type[DichroicError]] = _named(DichroicError) | {"INTERNAL": InternalError}
