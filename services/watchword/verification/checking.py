"""Decides a Check: count first, compare, approve or reject."""

from typing import NamedTuple

from watchword.core.errors import DomainError
from watchword.core.ports import Millis
from watchword.fraud import limits
from watchword.fraud.limits import GuessGuard, PhoneLimits
from watchword.tenancy.model import Resend
from watchword.verification.model import (
    RejectionReason,
    RequestKey,
    State,
    Verification,
    closed,
)

_CLOSED = {
    State.APPROVED: RejectionReason.ALREADY_USED,
    State.CANCELED: RejectionReason.CANCELED,
    State.EXPIRED: RejectionReason.EXPIRED,
    State.EXHAUSTED: RejectionReason.EXHAUSTED,
    State.FAILED: RejectionReason.FAILED,
}


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


def _touched(verification: Verification, now: Millis) -> Verification:
    return verification._replace(version=verification.version + 1, update_time=now)
