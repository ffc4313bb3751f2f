"""Errors as statuses: one ErrorInfo each, and nothing that was not meant to be told."""

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from watchword.core import errors
from watchword.core.errors import DomainError, Reason
from watchword.error.v1 import error_pb2
from watchword.rpc.status import CODES, DETAILS_KEY, to_status


def unpacked(raw: bytes) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for item in Status.FromString(raw).details:
        for kind in (ErrorInfo, RetryInfo, BadRequest):
            if item.Is(kind.DESCRIPTOR):
                message = kind()
                item.Unpack(message)
                found.setdefault(kind.__name__, []).append(message)
    return found


@pytest.mark.parametrize("kind", DomainError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_domain_error_has_a_code_and_one_error_info(kind: type[DomainError]) -> None:
    status = to_status(kind("fixed text"))
    ((key, raw),) = status.trailing_metadata
    assert key == DETAILS_KEY
    assert status.code is CODES[kind]
    (info,) = unpacked(raw)["ErrorInfo"]
    assert isinstance(info, ErrorInfo)
    assert (info.domain, info.reason) == ("watchword", str(kind.default_reason))
    assert Status.FromString(raw).code == status.code.value[0]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_published(reason: Reason) -> None:
    assert f"ERROR_REASON_{reason}" in error_pb2.ErrorReason.keys()  # noqa: SIM118 - no dict


def test_a_field_is_named_by_its_path() -> None:
    status = to_status(errors.InvalidArgument("too long", field="code_policy.ttl"))
    (bad,) = unpacked(status.trailing_metadata[0][1])["BadRequest"]
    assert isinstance(bad, BadRequest)
    (violation,) = bad.field_violations
    assert (violation.field, violation.description) == ("code_policy.ttl", "too long")


def test_a_wait_is_told_to_the_millisecond() -> None:
    status = to_status(errors.ResourceExhausted("wait", retry_after=30_250))
    (retry,) = unpacked(status.trailing_metadata[0][1])["RetryInfo"]
    assert isinstance(retry, RetryInfo)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (30, 250_000_000)


def test_unavailable_always_says_when_to_come_back() -> None:
    status = to_status(errors.Unavailable("down"))
    assert "RetryInfo" in unpacked(status.trailing_metadata[0][1])


@pytest.mark.parametrize("error", [RuntimeError("+14155550123"), DomainError("+14155550123")])
def test_anything_else_is_internal_with_a_correlation_id(error: Exception) -> None:
    status = to_status(error, "abc")
    assert status.code is grpc.StatusCode.INTERNAL
    assert status.message == "internal fault, correlation id abc"
    (info,) = unpacked(status.trailing_metadata[0][1])["ErrorInfo"]
    assert isinstance(info, ErrorInfo)
    assert dict(info.metadata) == {"correlation_id": "abc"}
    assert b"4155550123" not in status.trailing_metadata[0][1]
