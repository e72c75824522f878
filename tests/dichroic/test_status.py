"""Named errors survive the wire, and gRPC's own become named."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from dichroic.errors import (
    BY_REASON,
    BundleRefusedError,
    CancelledError,
    DeadlineExceededError,
    DichroicError,
    InternalError,
    InvalidTensorError,
    MessageTooLargeError,
    NoCredentialError,
    QueueFullError,
    ServerUnreachableError,
    UnknownModelError,
    UnrecognisedError,
    UnsupportedCapabilityError,
)
from dichroic.status import DETAILS_KEY, abort_arguments, from_rpc_error, from_status_details, to_status_details


class Failed(grpc.RpcError):
    """What a stub raises."""

    def __init__(self, code: grpc.StatusCode, text: str = "", trailing: tuple[tuple[str, Any], ...] | None = ()) -> None:
        super().__init__()
        self.facts = code, text, trailing

    def code(self) -> grpc.StatusCode:
        return self.facts[0]

    def details(self) -> str:
        return self.facts[1]

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...] | None:
        return self.facts[2]


def over_the_wire(error: DichroicError) -> DichroicError:
    return from_rpc_error(Failed(*abort_arguments(error)))


def detail(error: DichroicError, empty: Any) -> Any:
    for packed in to_status_details(error).details:
        if packed.Is(empty.DESCRIPTOR):
            packed.Unpack(empty)
            return empty
    return None


@pytest.mark.parametrize("kind", sorted(set(BY_REASON.values()) - {BundleRefusedError}, key=lambda kind: kind.reason))
def test_every_named_error_comes_back_as_itself(kind: type[DichroicError]) -> None:
    sent = kind("what was wrong", field="images", row=7, retry_delay_s=1.5, metadata={"model_name": "domains"})
    back = over_the_wire(sent)
    assert type(back) is kind
    assert (back.message, back.field, back.row, back.retry_delay_s, back.metadata) == ("what was wrong", "images", 7, 1.5, sent.metadata)


@given(
    message=st.text(max_size=100).filter(lambda text: text.isprintable()),
    row=st.none() | st.integers(0, 2**40),
    delay=st.none() | st.floats(0, 1e6),
    metadata=st.dictionaries(st.sampled_from(["model_name", "x"]), st.text(max_size=20)),
)
def test_nothing_is_lost_on_the_way(message: str, row: int | None, delay: float | None, metadata: dict[str, str]) -> None:
    back = over_the_wire(InvalidTensorError(message, field="images" if row else "", row=row, retry_delay_s=delay, metadata=metadata))
    assert (back.message, back.row, back.metadata) == (message, row, metadata)
    assert (back.retry_delay_s is None) == (delay is None)
    assert back.retry_delay_s == pytest.approx(delay, abs=1e-9)


def test_a_refused_bundle_keeps_its_step_and_cause() -> None:
    back = over_the_wire(BundleRefusedError("files", "WRONG_HASH", "copy it again"))
    assert isinstance(back, BundleRefusedError)
    assert (back.step, back.cause, back.message) == ("files", "WRONG_HASH", "copy it again")
    violation = detail(back, error_details_pb2.PreconditionFailure()).violations[0]
    assert (violation.type, violation.subject) == ("WRONG_HASH", "files")


def test_the_details_are_those_the_interface_promises() -> None:
    error = InvalidTensorError("NaN", field="images", row=3, metadata={"a": "b"})
    info = detail(error, error_details_pb2.ErrorInfo())
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_TENSOR", "dichroic", {"a": "b", "row": "3"})
    violation = detail(error, error_details_pb2.BadRequest()).field_violations[0]
    assert (violation.field, violation.description) == ("images", "images, row 3")
    delay = detail(QueueFullError("busy", retry_delay_s=0.25), error_details_pb2.RetryInfo()).retry_delay
    assert (delay.seconds, delay.nanos) == (0, 250_000_000)
    unknown = UnknownModelError("none", metadata={"model_name": "x", "model_version": "2"})
    assert detail(unknown, error_details_pb2.ResourceInfo()).resource_name == "x/2"
    assert detail(InternalError("id 5"), error_details_pb2.BadRequest()) is None


def test_long_texts_fit_into_metadata() -> None:
    huge = InvalidTensorError("ü" * 100_000, field="images", metadata={"a": "é" * 100_000})
    code, text, trailing = abort_arguments(huge)
    # Percent-encoding triples each of UTF-8's two bytes.
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(text) * 6 + len(trailing[0][1]) * 4 // 3 < 8192
    assert text.endswith("…")


def test_a_reason_from_a_newer_server_is_kept() -> None:
    class NewerError(DichroicError):
        reason = "TOO_PURPLE"
        status = "INVALID_ARGUMENT"

    back = over_the_wire(NewerError("the image is too purple", retry_delay_s=2.0))
    assert type(back) is UnrecognisedError
    assert back.metadata == {"reason": "TOO_PURPLE", "status": "INVALID_ARGUMENT"}
    assert (back.message, back.retry_delay_s) == ("the image is too purple", 2.0)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (grpc.StatusCode.INTERNAL, "Internal error from Core", ServerUnreachableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)", MessageTooLargeError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests", UnrecognisedError),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", ServerUnreachableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceededError),
        (grpc.StatusCode.CANCELLED, "", CancelledError),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", UnsupportedCapabilityError),
        (grpc.StatusCode.UNAUTHENTICATED, "who?", NoCredentialError),
        (grpc.StatusCode.INTERNAL, "Exception deserializing request!", InternalError),
        (grpc.StatusCode.UNKNOWN, "", UnrecognisedError),
        (grpc.StatusCode.PERMISSION_DENIED, "RBAC", UnrecognisedError),
    ],
)
def test_errors_of_grpc_itself_are_named(code: grpc.StatusCode, text: str, kind: type[DichroicError]) -> None:
    error = from_rpc_error(Failed(code, text))
    assert type(error) is kind
    assert text in error.message
    assert error.retry_delay_s is None


@pytest.mark.parametrize("trailing", [None, (), ((DETAILS_KEY, b"\xff\xff"),), (("other", "x"),), ((DETAILS_KEY, b""),)])
def test_damaged_or_missing_details_fall_back_to_the_code(trailing: tuple[tuple[str, Any], ...] | None) -> None:
    assert type(from_rpc_error(Failed(grpc.StatusCode.UNAVAILABLE, "gone", trailing))) is ServerUnreachableError


def test_another_domains_details_are_not_ours() -> None:
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="INVALID_TENSOR", domain="googleapis.com"))
    assert from_status_details(status_pb2.Status(code=3, details=[packed])) is None
