"""Domain errors as gRPC statuses: the one place that decides what a caller is told.

Every status carries `google.rpc.Status` in `grpc-status-details-bin` with exactly one
`ErrorInfo` (domain "watchword"), a `RetryInfo` where waiting helps, a `BadRequest` with
the field's path where a field is to blame. Whatever is no `DomainError` becomes INTERNAL
with a fixed text and a correlation id.
"""

from typing import NamedTuple

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from watchword.core import errors
from watchword.core.errors import DomainError, Reason
from watchword.core.ports import SECOND, Millis

DOMAIN = "watchword"
DETAILS_KEY = "grpc-status-details-bin"
INTERNAL_TEXT = "internal fault, correlation id "

CODES: dict[type[DomainError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
}

_RETRY_UNAVAILABLE: Millis = SECOND


class CallStatus(NamedTuple):
    """A status ready for `ServicerContext.abort`."""

    code: grpc.StatusCode
    message: str
    reason: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def to_status(error: BaseException, correlation_id: str = "") -> CallStatus:
    """Return what the caller is told of `error`; `correlation_id` is for what is INTERNAL."""
    code = _code_of(type(error))
    if code is None or not isinstance(error, DomainError):
        return _internal(correlation_id)
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN)]
    retry_after = error.retry_after
    if retry_after is None and code is grpc.StatusCode.UNAVAILABLE:
        retry_after = _RETRY_UNAVAILABLE
    if retry_after is not None:
        details.append(RetryInfo(retry_delay=_duration(max(0, retry_after))))
    if error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(BadRequest(field_violations=[violation]))
    return _status(code, error.message, error.reason, details)


def _code_of(kind: type[BaseException]) -> grpc.StatusCode | None:
    # An adapter or a floor below may refine a domain error; its base tells the status.
    return next((CODES[base] for base in kind.__mro__ if base in CODES), None)


def _internal(correlation_id: str) -> CallStatus:
    info = ErrorInfo(reason=Reason.INTERNAL_FAULT, domain=DOMAIN)
    if correlation_id:
        info.metadata["correlation_id"] = correlation_id
    text = INTERNAL_TEXT + correlation_id
    return _status(grpc.StatusCode.INTERNAL, text, Reason.INTERNAL_FAULT, [info])


def _status(
    code: grpc.StatusCode, message: str, reason: Reason, details: list[Message]
) -> CallStatus:
    packed = []
    for detail in details:
        item = Any()
        item.Pack(detail)
        packed.append(item)
    status = RpcStatus(code=code.value[0], message=message, details=packed)
    return CallStatus(code, message, str(reason), ((DETAILS_KEY, status.SerializeToString()),))


def _duration(millis: Millis) -> Duration:
    return Duration(seconds=millis // SECOND, nanos=millis % SECOND * 1_000_000)
