"""The life of a verification: pure decisions `(state, command, now) → (state, outcome)`.

No I/O, no clock, no keys: codes arrive as the set of generations that they match, and
everything personal arrives sealed or as a keyed index.
"""

from enum import StrEnum
from typing import NamedTuple

from watchword.core.errors import DomainError, FailedPrecondition, Reason, ResourceExhausted
from watchword.core.ports import Millis
from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import Send, SendError, SendKind, SendState
from watchword.fraud import budget, limits
from watchword.fraud.budget import AccountBudget, AccountCaps
from watchword.fraud.limits import GuessGuard, PhoneLimits, SendTimes
from watchword.tenancy.model import MAX_SENDS, CodePolicy, Resend


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


_CLOSED = {
    State.APPROVED: RejectionReason.ALREADY_USED,
    State.CANCELED: RejectionReason.CANCELED,
    State.EXPIRED: RejectionReason.EXPIRED,
    State.EXHAUSTED: RejectionReason.EXHAUSTED,
    State.FAILED: RejectionReason.FAILED,
}


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
    """The message that a Start or Resend causes: its id, channel and first carrier."""

    send_id: str
    channel: Channel
    carrier: str


class StartCommand(NamedTuple):
    """What a Start brings to the store. `draft` is the verification to be, times as yet 0."""

    draft: Verification
    policy: CodePolicy
    limits: PhoneLimits
    caps: AccountCaps
    plan: SendPlan
    request: RequestKey | None


class StartState(NamedTuple):
    """What the store holds on the phone that a Start is about.

    `pending` is the one pending verification of (application, phone, purpose, binding).
    `account_sends` and `global_sends` are the phone's sends in this account and in all.
    """

    pending: Verification | None
    account_sends: SendTimes
    global_sends: SendTimes
    guesses: GuessGuard
    budget: AccountBudget


class StartDecision(NamedTuple):
    """What a Start changes. `created` tells whether `verification` is a new row.

    `closed` is an earlier verification that this one ends. `send` is None for test numbers.
    """

    verification: Verification
    created: bool
    closed: Verification | None
    send: Send | None
    account_sends: SendTimes
    global_sends: SendTimes
    budget: AccountBudget


def start(state: StartState, command: StartCommand, now: Millis) -> StartDecision:
    """Decide a Start: a new verification, or one more send of the pending one.

    Raises `ResourceExhausted`, with nothing changed, where a limit forbids the send.
    """
    pending = state.pending
    if pending is not None and now >= pending.expire_time:
        pending = closed(pending, State.EXPIRED, now)
    if pending is None or pending.state is not State.PENDING:
        return _begun(state, command, now, ended=pending)
    if not _same_deed(pending, command.draft):
        return _begun(state, command, now, ended=closed(pending, State.CANCELED, now))
    return resent(state._replace(pending=pending), pending, command, now)


def _same_deed(pending: Verification, draft: Verification) -> bool:
    """Tell whether a Start repeats the pending one; a caller's own code is always a new one."""
    own_code = CodeOrigin.CALLER in (pending.code_origin, draft.code_origin)
    return pending.action_mac == draft.action_mac and not own_code


def resent(
    state: StartState, verification: Verification, command: StartCommand, now: Millis
) -> StartDecision:
    """Decide one more send of a pending verification; restores no checks, moves no expiry.

    Raises `ResourceExhausted` (SEND_COOLDOWN, SEND_BUDGET_EXHAUSTED, …).
    """
    if verification.test:
        return _decision(state, verification, created=False, closed_one=None)
    if verification.sends_remaining == 0:
        raise ResourceExhausted("this verification has no sends left")
    if now < verification.next_send_time:
        raise ResourceExhausted(
            "the next send must wait",
            reason=Reason.SEND_COOLDOWN,
            retry_after=verification.next_send_time - now,
        )
    step = 0 if verification.custom_mac or verification.resend is Resend.SAME else 1
    renewed = verification._replace(generation=verification.generation + step)
    return _sent(state, renewed, command, now, created=False, closed_one=None)


def _begun(
    state: StartState, command: StartCommand, now: Millis, ended: Verification | None
) -> StartDecision:
    if limits.hard_stopped(state.guesses, now, command.limits):
        raise ResourceExhausted(
            "this phone must be re-bound first", reason=Reason.GUESS_BUDGET_EXHAUSTED
        )
    draft = command.draft._replace(
        create_time=now, update_time=now, expire_time=now + command.policy.ttl
    )
    if draft.test:
        return _decision(state, draft, created=True, closed_one=ended)
    return _sent(state, draft, command, now, created=True, closed_one=ended)


def _sent(
    state: StartState,
    verification: Verification,
    command: StartCommand,
    now: Millis,
    *,
    created: bool,
    closed_one: Verification | None,
) -> StartDecision:
    refusal = limits.send_refusal(state.account_sends, now, command.limits)
    if refusal is not None:
        raise refusal
    charged = budget.charge(state.budget, command.caps, now)
    withheld = limits.send_refusal(state.global_sends, now, command.limits) is not None
    account_sends = limits.with_send(state.account_sends, now)
    count = verification.send_count + 1
    following, _ = limits.next_send_time(account_sends, now, command.limits)
    verification = verification._replace(
        version=verification.version + (0 if created else 1),
        channel=command.plan.channel,
        send_count=count,
        next_send_time=max(following, now + limits.cooldown(count, command.limits.first_cooldown)),
        update_time=now,
    )
    decision = _decision(state, verification, created=created, closed_one=closed_one)
    return decision._replace(
        send=_queued(verification, command.plan, withheld=withheld, now=now),
        account_sends=account_sends,
        global_sends=state.global_sends if withheld else limits.with_send(state.global_sends, now),
        budget=charged,
    )


def _decision(
    state: StartState, verification: Verification, *, created: bool, closed_one: Verification | None
) -> StartDecision:
    return StartDecision(
        verification=verification,
        created=created,
        closed=closed_one,
        send=None,
        account_sends=state.account_sends,
        global_sends=state.global_sends,
        budget=state.budget,
    )


def _queued(verification: Verification, plan: SendPlan, *, withheld: bool, now: Millis) -> Send:
    return Send(
        send_id=plan.send_id,
        kind=SendKind.CODE,
        account_id=verification.account_id,
        application_id=verification.application_id,
        subject_id=verification.verification_id,
        version=1,
        channel=plan.channel,
        carrier=plan.carrier,
        generation=verification.generation,
        state=SendState.QUEUED,
        error_reason=SendError.NONE,
        provider_id="",
        attempts=0,
        doubts=0,
        withheld=withheld,
        due_time=now,
        lease_time=0,
        expire_time=verification.expire_time,
        notice="",
        recipient_sealed=b"",
        create_time=now,
        submit_time=0,
        update_time=now,
        region_code=verification.region_code,
    )


class CheckCommand(NamedTuple):
    """What a Check brings to the store.

    `matches` has bit g set where the code equals generation g's; `custom_mac` is the
    keyed MAC of the code for verifications that carry one. `receipt_kid` names the key
    that will sign. `account_id` guards against ids of another account or application.
    """

    verification_id: str
    account_id: str
    application_id: str
    matches: int
    custom_mac: bytes
    purpose: str
    action_mac: bytes
    binding_key: bytes
    receipt_kid: str
    limits: PhoneLimits
    request: RequestKey | None


class CheckState(NamedTuple):
    """What the store holds on a Check's verification and phone."""

    verification: Verification
    guesses: GuessGuard
    known_binding: bool


class CheckDecision(NamedTuple):
    """What a Check changes: exactly one of approved, `rejection` and `refusal` holds.

    `changed` tells whether the verification's row is new content; `guesses` is None where
    the guard is untouched. `compared` counts the comparisons that were made.
    """

    verification: Verification
    changed: bool
    guesses: GuessGuard | None
    approved: bool = False
    rejection: RejectionReason | None = None
    refusal: DomainError | None = None
    compared: int = 0


def check(state: CheckState, command: CheckCommand, now: Millis) -> CheckDecision:
    """Decide a Check: count first, compare, approve or reject.

    A mismatch of purpose, action or binding is charged like a wrong code and never
    tells whether the code was right.
    """
    verification = state.verification
    if verification.state is not State.PENDING:
        return CheckDecision(
            verification, changed=False, guesses=None, rejection=_CLOSED[verification.state]
        )
    if now >= verification.expire_time:
        expired = closed(verification, State.EXPIRED, now)
        return CheckDecision(expired, changed=True, guesses=None, rejection=RejectionReason.EXPIRED)
    refusal = limits.guess_refusal(
        state.guesses, known=state.known_binding, now=now, limits=command.limits
    )
    if refusal is not None:
        return CheckDecision(verification, changed=False, guesses=None, refusal=refusal)
    return _compared(state, command, now)


def _compared(state: CheckState, command: CheckCommand, now: Millis) -> CheckDecision:
    verification = state.verification
    left = limits.guesses_left(
        state.guesses, known=state.known_binding, now=now, limits=command.limits
    )
    live = _live_generations(verification, min(left, verification.checks_remaining))
    fits = (
        verification.purpose == command.purpose
        and verification.action_mac == command.action_mac
        and verification.binding_key == command.binding_key
    )
    if fits and _code_matches(verification, command, live):
        return _approved(state, command, now, len(live))
    reason = _why_wrong(verification, command, fits=fits, live=live)
    return _wrong(state, reason, len(live), now)


def _live_generations(verification: Verification, affordable: int) -> tuple[int, ...]:
    """Return the generations that a code is compared with, newest last; each costs a guess."""
    newest = verification.generation
    if verification.resend is Resend.LAST_TWO and newest > 0 and affordable > 1:
        return (newest - 1, newest)
    return (newest,)


def _code_matches(verification: Verification, command: CheckCommand, live: tuple[int, ...]) -> bool:
    if verification.custom_mac:
        return verification.custom_mac == command.custom_mac
    return any(command.matches >> generation & 1 for generation in live)


def _why_wrong(
    verification: Verification, command: CheckCommand, *, fits: bool, live: tuple[int, ...]
) -> RejectionReason:
    if not fits:
        return RejectionReason.BINDING_MISMATCH
    superseded = command.matches & ((1 << live[0]) - 1)
    if superseded and not verification.custom_mac:
        return RejectionReason.SUPERSEDED
    return RejectionReason.WRONG_CODE


def _approved(
    state: CheckState, command: CheckCommand, now: Millis, compared: int
) -> CheckDecision:
    verification = state.verification._replace(
        checks_used=state.verification.checks_used + 1,
        approve_time=now,
        receipt_kid=command.receipt_kid,
    )
    return CheckDecision(
        closed(verification, State.APPROVED, now),
        changed=True,
        guesses=limits.with_approval(state.guesses, now),
        approved=True,
        compared=compared,
    )


def _wrong(state: CheckState, reason: RejectionReason, compared: int, now: Millis) -> CheckDecision:
    verification = state.verification
    verification = verification._replace(
        checks_used=min(verification.checks_used + compared, verification.max_checks)
    )
    if verification.checks_remaining == 0:
        verification = closed(verification, State.EXHAUSTED, now)
    else:
        verification = _touched(verification, now)
    return CheckDecision(
        verification,
        changed=True,
        guesses=limits.with_wrong(state.guesses, compared, now),
        rejection=reason,
        compared=compared,
    )


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


def _touched(verification: Verification, now: Millis) -> Verification:
    return verification._replace(version=verification.version + 1, update_time=now)
