"""The outbox: what is to be sent, written in the transaction that decided it.

A `Send` row is the message's whole life: queued, leased to one dispatcher (the attempt
is recorded before anything leaves), submitted, delivered. The functions here decide its
transitions; the `Outbox` port makes each of them one atomic command.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from watchword.core.ports import MINUTE, SECOND, Millis
from watchword.delivery.carrier import Channel, Receipt, ReceiptState
from watchword.fraud.limits import PhoneLimits

OUTBOX_TOPIC = "outbox"
"""What the change bus is told when a send has been queued."""

NO_CARRIERS: frozenset[str] = frozenset()

MAX_ATTEMPTS = 8
NOTICE_TTL: Millis = 10 * MINUTE
_BACKOFF: Millis = 1 * SECOND


class SendKind(StrEnum):
    """A code of a verification, or a notice that carries none."""

    CODE = "CODE"
    NOTICE = "NOTICE"


class SendState(StrEnum):
    """Where a message stands; it only moves down this list."""

    QUEUED = "QUEUED"
    SUBMITTED = "SUBMITTED"
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    FAILED = "FAILED"


class SendError(StrEnum):
    """Why a send failed or is doubtful: the closed set behind `error_reason`."""

    NONE = ""
    DELIVERY_REFUSED = "DELIVERY_REFUSED"
    CARRIER_MISCONFIGURED = "CARRIER_MISCONFIGURED"
    CARRIER_UNREACHABLE = "CARRIER_UNREACHABLE"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    TOO_LATE = "TOO_LATE"
    NOT_NEEDED = "NOT_NEEDED"
    UNDELIVERABLE = "UNDELIVERABLE"


class Send(NamedTuple):
    """One message to one person.

    `subject_id` is the verification, or the send itself for a notice. `attempts` counts
    hand-overs to a carrier, `doubts` those whose outcome nobody knows. `withheld` marks
    a send that a limit outside the caller's view stops: it ends like a carrier's refusal.
    `lease_time` is when the current lease ends (0: not leased). `recipient_sealed` and
    `notice` are set for notices only.
    """

    send_id: str
    kind: SendKind
    account_id: str
    application_id: str
    subject_id: str
    version: int
    channel: Channel
    carrier: str
    generation: int
    state: SendState
    error_reason: SendError
    provider_id: str
    attempts: int
    doubts: int
    withheld: bool
    due_time: Millis
    lease_time: Millis
    expire_time: Millis
    notice: str
    recipient_sealed: bytes
    create_time: Millis
    submit_time: Millis
    update_time: Millis
    region_code: str = ""

    @property
    def live(self) -> bool:
        """Tell whether the message may still arrive."""
        return self.state is not SendState.FAILED

    @property
    def attempt_id(self) -> str:
        """Return the name of the current attempt, the carrier's idempotency key."""
        return f"{self.send_id}.{self.attempts}"


class Claim(NamedTuple):
    """A leased send with what the dispatcher needs to compose the message.

    `recipient_sealed` and `custom_sealed` are sealed under the epoch key of the
    verification (the send, for a notice); `message` is its `MessageSpec` as JSON.
    """

    send: Send
    recipient_sealed: bytes
    custom_sealed: bytes
    message: str


class Claimed(NamedTuple):
    """What a claim found due: `claims` are to be sent, `ended` must not go and are final."""

    claims: list[Claim]
    ended: list[Send]


class ResultKind(StrEnum):
    """How one attempt ended: a `CarrierError.kind`, `submitted`, or why it was not made."""

    SUBMITTED = "submitted"
    TOO_LATE = "too_late"
    NOT_NEEDED = "not_needed"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    MISCONFIGURED = "misconfigured"
    AMBIGUOUS = "ambiguous"


_FINAL = {
    ResultKind.REJECTED: SendError.DELIVERY_REFUSED,
    ResultKind.TOO_LATE: SendError.TOO_LATE,
    ResultKind.NOT_NEEDED: SendError.NOT_NEEDED,
}


class Result(NamedTuple):
    """What came of attempt number `attempt` of a send.

    `jitter` in [0, 1) spreads retries, `retry_after` is the carrier's own wish in
    milliseconds, `next_carrier` is who takes over where failing over helps ("": nobody).
    """

    send_id: str
    attempt: int
    kind: ResultKind
    provider_id: str = ""
    retry_after: Millis = 0
    jitter: float = 0.0
    next_carrier: str = ""


def claim(send: Send, *, wanted: bool, may_repeat: bool, now: Millis, lease: Millis) -> Send:
    """Return the send leased for one more attempt, or ended where it must not go.

    `wanted` tells whether its verification is still pending. A lease that
    ran out leaves its attempt in doubt, since the message may have left; `may_repeat`
    tells whether the budgets bear one more.
    """
    if send.lease_time:
        send = send._replace(doubts=send.doubts + 1)
        if send.doubts > 1 or not may_repeat:
            return _ended(send, SendState.SUBMITTED, SendError.OUTCOME_UNKNOWN, now)
    if not wanted:
        return _ended(send, SendState.FAILED, SendError.NOT_NEEDED, now)
    if now >= send.expire_time:
        return _ended(send, SendState.FAILED, SendError.TOO_LATE, now)
    if send.withheld:
        return _ended(send, SendState.FAILED, SendError.DELIVERY_REFUSED, now)
    return send._replace(attempts=send.attempts + 1, lease_time=now + lease)


def settle(send: Send, result: Result, now: Millis, *, may_repeat: bool) -> Send:
    """Return the send after an attempt; a result of an attempt that is over changes nothing.

    `may_repeat` tells whether the budgets bear one more message in case the doubtful
    one did leave.
    """
    if not send.lease_time or result.attempt != send.attempts:
        return send
    if result.kind is ResultKind.SUBMITTED:
        return _ended(
            send._replace(provider_id=result.provider_id), SendState.SUBMITTED, SendError.NONE, now
        )
    if result.kind in _FINAL:
        return _ended(send, SendState.FAILED, _FINAL[result.kind], now)
    if result.kind is ResultKind.AMBIGUOUS:
        send = send._replace(doubts=send.doubts + 1)
        if send.doubts > 1 or not may_repeat:
            return _ended(send, SendState.SUBMITTED, SendError.OUTCOME_UNKNOWN, now)
    if result.kind is ResultKind.MISCONFIGURED and not result.next_carrier:
        return _ended(send, SendState.FAILED, SendError.CARRIER_MISCONFIGURED, now)
    return _retried(send, result, now)


def receive(send: Send, receipt: Receipt, now: Millis) -> Send:
    """Return the send after a delivery receipt; states only move forward.

    A receipt may overtake the result of its own attempt: it proves the submission.
    """
    if send.state not in (SendState.QUEUED, SendState.SUBMITTED) or not send.attempts:
        return send
    if receipt.state is ReceiptState.DELIVERED:
        return _ended(send, SendState.DELIVERED, SendError.NONE, now)
    return _ended(send, SendState.UNDELIVERED, SendError.UNDELIVERABLE, now)


def _retried(send: Send, result: Result, now: Millis) -> Send:
    due = now + max(result.retry_after, _backoff(send.attempts, result.jitter))
    if send.attempts >= MAX_ATTEMPTS or due >= send.expire_time:
        return _ended(send, SendState.FAILED, SendError.CARRIER_UNREACHABLE, now)
    return send._replace(
        version=send.version + 1,
        carrier=result.next_carrier or send.carrier,
        due_time=due,
        lease_time=0,
        update_time=now,
    )


def _backoff(attempts: int, jitter: float) -> Millis:
    # Exponential with full jitter above one half: retries spread, none comes at once.
    return int((_BACKOFF << min(attempts - 1, 6)) * (0.5 + jitter / 2))


def _ended(send: Send, state: SendState, error: SendError, now: Millis) -> Send:
    submitted = now if state is SendState.SUBMITTED else send.submit_time
    return send._replace(
        version=send.version + 1,
        state=state,
        error_reason=error,
        lease_time=0,
        submit_time=submitted,
        update_time=now,
    )


class OutboxDepth(NamedTuple):
    """How many sends wait, and for how long the oldest has been due (milliseconds)."""

    waiting: int
    oldest_age: Millis


class Outbox(Protocol):
    """Port: the queue that dispatchers work on; each method is one atomic command.

    MUST: lease a send to one caller at a time, in order of `due_time`; record the attempt
    durably before `claim` returns it; charge the account's and the phone's budget once
    more before a doubtful attempt is repeated; fail the verification with its last live
    send; publish the verification's id after each change. Raises `Unavailable`.
    """

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        """Lease up to `limit` due sends, and end those that must not go.

        Sends of `except_carriers` are left alone: their carriers have no room.
        """
        ...

    async def wanted(self, send_id: str) -> bool:
        """Tell whether a send that was claimed should still go; a read, for those in line."""
        ...

    async def settle(self, results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        """Record what came of attempts, all or none.

        Returns for each its send as it stands, None if unknown.
        """
        ...

    async def receive(self, receipt: Receipt) -> Send | None:
        """Record a delivery receipt; returns the send as it stands, None if unknown."""
        ...

    async def next_due_time(self, except_carriers: frozenset[str] = NO_CARRIERS) -> Millis | None:
        """Return when the next send is due or its lease ends, None where nothing waits.

        Sends of `except_carriers` do not count.
        """
        ...

    async def depth(self) -> OutboxDepth:
        """Return how much waits."""
        ...
