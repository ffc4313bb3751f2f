"""The life of a verification: its row, its states, and the moves that end it.

Pure, as are `starting` and `checking` beside it: `(state, command, now) → (state, outcome)`
with no I/O, no clock and no keys. Codes arrive as the set of generations that they match,
and everything personal arrives sealed or as a keyed index.
"""

from enum import StrEnum
from typing import NamedTuple

from watchword.core.errors import DomainError, FailedPrecondition
from watchword.core.ports import Millis
from watchword.delivery.carrier import Channel
from watchword.tenancy.model import MAX_SENDS, Resend


class State(StrEnum):
    """States of a verification; all but PENDING are terminal."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXHAUSTED = "EXHAUSTED"
    FAILED = "FAILED"


class CodeOrigin(StrEnum):
    """Whether Watchword derived the code or the caller brought its own."""

    DERIVED = "derived"
    CALLER = "caller"


class RejectionReason(StrEnum):
    """Why a code was not accepted; an outcome, never an error."""

    WRONG_CODE = "WRONG_CODE"
    SUPERSEDED = "SUPERSEDED"
    BINDING_MISMATCH = "BINDING_MISMATCH"
    EXPIRED = "EXPIRED"
    EXHAUSTED = "EXHAUSTED"
    CANCELED = "CANCELED"
    ALREADY_USED = "ALREADY_USED"
    FAILED = "FAILED"


class Verification(NamedTuple):
    """One verification as every store keeps it; the field order is the column order.

    Keyed with the account's index key: `binding_key`, `action_mac`, `phone_index`. With
    the cross-account limits key: `limits_index`. Sealed under the epoch key and the id:
    `phone_sealed`, `custom_sealed`; both, with `limits_index`, are b"" once terminal.
    `custom_mac` is b"" unless the code is the caller's own or a test number's.
    `hint` shows the last two digits. `tags` and `message` are JSON objects.
    Times are milliseconds since the Unix epoch, 0 for "not yet".
    """

    verification_id: str
    account_id: str
    application_id: str
    version: int
    state: State
    channel: Channel
    purpose: str
    binding_key: bytes
    action_mac: bytes
    phone_index: bytes
    limits_index: bytes
    phone_sealed: bytes
    phone_commitment: bytes
    custom_mac: bytes
    custom_sealed: bytes
    code_origin: CodeOrigin
    carrier_trust: str
    test: bool
    hint: str
    region_code: str
    line_type: str
    generation: int
    resend: Resend
    checks_used: int
    max_checks: int
    send_count: int
    next_send_time: Millis
    create_time: Millis
    update_time: Millis
    expire_time: Millis
    approve_time: Millis
    receipt_kid: str
    tags: str
    message: str

    @property
    def checks_remaining(self) -> int:
        """Return how many codes may still be compared."""
        return max(0, self.max_checks - self.checks_used) if self.state is State.PENDING else 0

    @property
    def sends_remaining(self) -> int:
        """Return how many more messages this verification may cause."""
        return max(0, MAX_SENDS - self.send_count) if self.state is State.PENDING else 0


class RequestKey(NamedTuple):
    """A caller's `request_id` within its scope (application) and method; `mac` covers the body."""

    scope: str
    method: str
    request_id: str
    mac: bytes


class SendPlan(NamedTuple):
    """The message that a Start or Resend causes: its channel and first carrier."""

    channel: Channel
    carrier: str


def cancel(verification: Verification, now: Millis) -> tuple[Verification, DomainError | None]:
    """Return the verification canceled; canceling a canceled one changes nothing.

    The error is VERIFICATION_CLOSED where it had ended otherwise.
    """
    if verification.state is State.CANCELED:
        return verification, None
    if verification.state is State.PENDING and now < verification.expire_time:
        return closed(verification, State.CANCELED, now), None
    return expired(verification, now), closed_error()


def expired(verification: Verification, now: Millis) -> Verification:
    """Return the verification as EXPIRED where its time is over, else as it is."""
    if verification.state is State.PENDING and now >= verification.expire_time:
        return closed(verification, State.EXPIRED, now)
    return verification


def failed(verification: Verification, now: Millis) -> Verification:
    """Return the verification as FAILED: its last live send has ended in a refusal."""
    if verification.state is not State.PENDING:
        return verification
    return closed(verification, State.FAILED, now)


def closed(verification: Verification, state: State, now: Millis) -> Verification:
    """Return the verification in a terminal state; what is personal leaves the row."""
    return verification._replace(
        version=verification.version + 1,
        state=state,
        limits_index=b"",
        phone_sealed=b"",
        custom_sealed=b"",
        update_time=now,
    )


def closed_error() -> FailedPrecondition:
    """Return the refusal to change a verification that has ended."""
    return FailedPrecondition("the verification has ended")


def clears_sends(verification: Verification) -> bool:
    """Tell whether an approval proves that the person got the message.

    A caller's own code or a test number's proves nothing of the phone: clearing the
    send counters by it would let a caller bomb a number without end.
    """
    return verification.code_origin is CodeOrigin.DERIVED and not verification.test


def leaf_content(verification: Verification) -> bytes:
    """Return what the audit leaf of this version commits to; nothing personal."""
    v = verification
    return (
        f"{v.state}|{v.channel}|{v.purpose}|{v.generation}|{v.checks_used}|{v.send_count}"
        f"|{v.expire_time}|{v.approve_time}|{v.update_time}"
    ).encode()
