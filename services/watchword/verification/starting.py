"""Decides a Start or Resend: whose limits bear another message, and which code it carries."""

from typing import NamedTuple

from watchword.core.errors import Reason, ResourceExhausted
from watchword.core.ids import send_id_of
from watchword.core.ports import Millis
from watchword.delivery.outbox import Send, SendError, SendKind, SendState
from watchword.fraud import budget, limits
from watchword.fraud.budget import AccountBudget, AccountCaps
from watchword.fraud.limits import GuessGuard, PhoneLimits, SendTimes
from watchword.tenancy.model import CodePolicy, Resend
from watchword.verification.model import (
    CodeOrigin,
    RequestKey,
    SendPlan,
    State,
    Verification,
    closed,
)


class Sending(NamedTuple):
    """One message to be: which, and the limits that it must keep.

    With a `lease` (milliseconds) it is queued leased, its first attempt recorded: for a
    `Courier` that keeps a place for it.
    """

    plan: SendPlan
    limits: PhoneLimits
    caps: AccountCaps
    lease: Millis = 0


class StartCommand(NamedTuple):
    """What a Start brings to the store. `draft` is the verification to be, times as yet 0."""

    draft: Verification
    policy: CodePolicy
    sending: Sending
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
    return resent(state, pending, command.sending, now)


def _same_deed(pending: Verification, draft: Verification) -> bool:
    """Tell whether a Start repeats the pending one; a caller's own code is always a new one."""
    own_code = CodeOrigin.CALLER in (pending.code_origin, draft.code_origin)
    return pending.action_mac == draft.action_mac and not own_code


def resent(
    state: StartState, verification: Verification, sending: Sending, now: Millis
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
    return _sent(state, renewed, sending, now, created=False, closed_one=None)


def _begun(
    state: StartState, command: StartCommand, now: Millis, ended: Verification | None
) -> StartDecision:
    if limits.hard_stopped(state.guesses, now, command.sending.limits):
        raise ResourceExhausted(
            "this phone must be re-bound first", reason=Reason.GUESS_BUDGET_EXHAUSTED
        )
    draft = command.draft._replace(
        create_time=now, update_time=now, expire_time=now + command.policy.ttl
    )
    if draft.test:
        return _decision(state, draft, created=True, closed_one=ended)
    return _sent(state, draft, command.sending, now, created=True, closed_one=ended)


def _sent(
    state: StartState,
    verification: Verification,
    sending: Sending,
    now: Millis,
    *,
    created: bool,
    closed_one: Verification | None,
) -> StartDecision:
    refusal = limits.send_refusal(state.account_sends, now, sending.limits)
    if refusal is not None:
        raise refusal
    charged = budget.charge(state.budget, sending.caps, now)
    withheld = limits.send_refusal(state.global_sends, now, sending.limits) is not None
    account_sends = limits.with_send(state.account_sends, now)
    count = verification.send_count + 1
    following, _ = limits.next_send_time(account_sends, now, sending.limits)
    verification = verification._replace(
        version=verification.version + (0 if created else 1),
        channel=sending.plan.channel,
        send_count=count,
        next_send_time=max(following, now + limits.cooldown(count, sending.limits.first_cooldown)),
        update_time=now,
    )
    decision = _decision(state, verification, created=created, closed_one=closed_one)
    return decision._replace(
        send=_queued(verification, sending, withheld=withheld, now=now),
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


def _queued(verification: Verification, sending: Sending, *, withheld: bool, now: Millis) -> Send:
    plan = sending.plan
    leased = bool(sending.lease) and not withheld
    return Send(
        send_id=send_id_of(verification.verification_id, verification.send_count),
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
        attempts=int(leased),
        doubts=0,
        withheld=withheld,
        due_time=now,
        lease_time=now + sending.lease if leased else 0,
        expire_time=verification.expire_time,
        notice="",
        recipient_sealed=b"",
        create_time=now,
        submit_time=0,
        update_time=now,
        region_code=verification.region_code,
    )
