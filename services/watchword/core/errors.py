"""The closed set of errors that Watchword's own code raises.

Everything below the RPC layer raises a `DomainError`; `rpc/status.py` alone turns
one into a gRPC status with exactly one `google.rpc.ErrorInfo`. Messages are fixed
texts: they never hold a value that a caller sent.
"""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Names of `watchword.error.v1.ErrorReason`, without their prefix."""

    FIELD_INVALID = "FIELD_INVALID"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    SCOPE_MISSING = "SCOPE_MISSING"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    APPLICATION_NOT_FOUND = "APPLICATION_NOT_FOUND"
    CREDENTIAL_NOT_FOUND = "CREDENTIAL_NOT_FOUND"
    TEST_NUMBER_NOT_FOUND = "TEST_NUMBER_NOT_FOUND"
    VERIFICATION_NOT_FOUND = "VERIFICATION_NOT_FOUND"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    DEVICE_NOT_FOUND = "DEVICE_NOT_FOUND"
    VERIFICATION_AMBIGUOUS = "VERIFICATION_AMBIGUOUS"
    VERIFICATION_CLOSED = "VERIFICATION_CLOSED"
    REQUEST_ID_MISMATCH = "REQUEST_ID_MISMATCH"
    SEND_COOLDOWN = "SEND_COOLDOWN"
    SEND_BUDGET_EXHAUSTED = "SEND_BUDGET_EXHAUSTED"
    GUESS_BUDGET_EXHAUSTED = "GUESS_BUDGET_EXHAUSTED"
    ACCOUNT_BUDGET_EXHAUSTED = "ACCOUNT_BUDGET_EXHAUSTED"
    REGION_DISABLED = "REGION_DISABLED"
    NUMBER_NOT_ALLOWED = "NUMBER_NOT_ALLOWED"
    CHANNEL_UNAVAILABLE = "CHANNEL_UNAVAILABLE"
    CUSTOM_CODE_NOT_GRANTED = "CUSTOM_CODE_NOT_GRANTED"
    RECIPIENT_OPTED_OUT = "RECIPIENT_OPTED_OUT"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    ACCOUNT_TRIAL = "ACCOUNT_TRIAL"
    TEST_NUMBER_LIMIT = "TEST_NUMBER_LIMIT"
    CREDENTIAL_LIMIT = "CREDENTIAL_LIMIT"
    PROOF_REQUIRED = "PROOF_REQUIRED"
    RETAINED_BY_LAW = "RETAINED_BY_LAW"
    OVERLOADED = "OVERLOADED"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    METHOD_UNIMPLEMENTED = "METHOD_UNIMPLEMENTED"
    CALLER_THROTTLED = "CALLER_THROTTLED"
    INTERNAL_FAULT = "INTERNAL_FAULT"


class DomainError(Exception):
    """Base of the closed set; each subclass stands for one gRPC status code.

    `reason` tells programs why, `retry_after` (milliseconds) says when waiting
    helps, `field` is the path of the offending request field, never its value.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL_FAULT

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Keep the fixed text and what goes into the status details."""
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.retry_after = retry_after


class InvalidArgument(DomainError):
    """INVALID_ARGUMENT: the request is malformed whatever the state."""

    default_reason = Reason.FIELD_INVALID


class Unauthenticated(DomainError):
    """UNAUTHENTICATED: no caller could be established; one text for all causes."""

    default_reason = Reason.CREDENTIALS_INVALID


class PermissionDenied(DomainError):
    """PERMISSION_DENIED: the caller is known and may not do this."""

    default_reason = Reason.SCOPE_MISSING


class NotFound(DomainError):
    """NOT_FOUND: nothing by that id for this caller, another's included."""

    default_reason = Reason.VERIFICATION_NOT_FOUND


class FailedPrecondition(DomainError):
    """FAILED_PRECONDITION: a state that the caller may know of forbids it."""

    default_reason = Reason.VERIFICATION_CLOSED


class ResourceExhausted(DomainError):
    """RESOURCE_EXHAUSTED: a limit, a budget or a cool-down."""

    default_reason = Reason.SEND_BUDGET_EXHAUSTED


class Unavailable(DomainError):
    """UNAVAILABLE: overload or a dependency that is down; nothing was done."""

    default_reason = Reason.DEPENDENCY_UNAVAILABLE


class DeadlineExceeded(DomainError):
    """DEADLINE_EXCEEDED: too little time was left to begin."""

    default_reason = Reason.DEADLINE_TOO_SHORT


class Unimplemented(DomainError):
    """UNIMPLEMENTED: the method is published and does not exist yet."""

    default_reason = Reason.METHOD_UNIMPLEMENTED
