"""What a call raises: one class a gRPC status code, and the reason for programs.

A server's statuses carry google.rpc details: `ErrorInfo` (why), `RetryInfo` (when
waiting helps) and `BadRequest` (which fields). A status that the transport makes, a
refused connection for example, carries none: its reason is "".
"""

from typing import Any, ClassVar, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "watchword"
"""`ErrorInfo.domain` of the reasons that are ours."""

_DETAILS_KEY = "grpc-status-details-bin"


class WatchwordError(Exception):
    """A call that was refused or could not be judged; a wrong code is no error.

    `code` is the gRPC status, `reason` a name of `watchword.error.v1.ErrorReason` without
    its prefix ("" when the transport failed), `retry_after` seconds to wait before another
    try (None when waiting does not help), `fields` the paths of the request's fields to
    blame. The message never holds a value that the caller sent.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        retry_after: float | None = None,
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.message = message
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.fields = fields

    @property
    def field(self) -> str | None:
        """The first field to blame, None when none is."""
        return self.fields[0] if self.fields else None


class InvalidArgument(WatchwordError):
    """The request is malformed whatever the state; `fields` says where."""


class Unauthenticated(WatchwordError):
    """No caller could be established: the credential is unknown, wrong, expired or revoked."""


class PermissionDenied(WatchwordError):
    """The credential lacks the scope or the grant."""


class NotFound(WatchwordError):
    """Nothing by that id is visible to the caller."""


class FailedPrecondition(WatchwordError):
    """A state that the caller may know of forbids it; `reason` says which."""


class ResourceExhausted(WatchwordError):
    """A limit, a budget or a cool-down; `retry_after` says how long it lasts."""


class Unavailable(WatchwordError):
    """No server could be reached, or it did nothing; raised once all tries are used."""


class DeadlineExceeded(WatchwordError):
    """The deadline passed; what the call did is known by repeating its request_id."""


class Unimplemented(WatchwordError):
    """The method is published and does not exist yet."""


class Internal(WatchwordError):
    """A fault of the server's own; the message holds a correlation id to report."""


class ReceiptError(ValueError):
    """A receipt that proves nothing here; the message says which check it failed."""

    default: ClassVar[str] = "the receipt is not valid"

    def __init__(self, message: str = default) -> None:
        super().__init__(message)


_BY_CODE: dict[grpc.StatusCode, type[WatchwordError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.INTERNAL: Internal,
}


def from_rpc_error(error: grpc.RpcError) -> WatchwordError:
    """Return the typed error for what `grpc` or `grpc.aio` raised."""
    code = error.code()
    details = _details(error)
    return _BY_CODE.get(code, WatchwordError)(
        error.details() or "the call failed",
        code=code,
        reason=details.reason,
        retry_after=details.retry_after,
        fields=details.fields,
    )


class _Details(NamedTuple):
    reason: str = ""
    retry_after: float | None = None
    fields: tuple[str, ...] = ()


def _details(error: grpc.RpcError) -> _Details:
    metadata: Any = error.trailing_metadata() or ()
    encoded = next((value for key, value in metadata if key == _DETAILS_KEY), b"")
    found = _Details()
    try:
        for detail in status_pb2.Status.FromString(encoded).details:
            found = _with(found, detail)
    except DecodeError:
        return _Details()
    return found


def _with(found: _Details, detail: Any) -> _Details:  # noqa: ANN401 - google.protobuf.Any
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    request = error_details_pb2.BadRequest()
    if detail.Unpack(info) and info.domain == DOMAIN:
        return found._replace(reason=info.reason)
    if detail.Unpack(retry):
        return found._replace(retry_after=max(0.0, retry.retry_delay.ToMilliseconds() / 1000))
    if detail.Unpack(request):
        return found._replace(fields=tuple(v.field for v in request.field_violations))
    return found
