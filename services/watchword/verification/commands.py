"""The atomic commands over `Rows`: load, let the model decide, save, leave an audit leaf.

Stores that can run Python inside their transaction (memory, SQLite) share these; a store
that decides in its own language states the same and is held to it by the contract suite.

A command that raises leaves nothing behind. One that *returns* a `DomainError` has
changed something that must be kept (an expiry that was noticed): the store commits,
then raises it.
"""

from watchword.audit.leaf import LeafMaker
from watchword.core.errors import DomainError, FailedPrecondition, NotFound, Reason
from watchword.delivery.outbox import OUTBOX_TOPIC, Claim
from watchword.fraud.limits import KNOWN_BINDING_TTL, GuessGuard
from watchword.verification import checking, model, starting
from watchword.verification.checking import CheckCommand, CheckDecision, CheckState
from watchword.verification.model import RejectionReason, RequestKey, State, Verification
from watchword.verification.rows import Rows, StoredRequest
from watchword.verification.starting import StartCommand, StartDecision, StartState
from watchword.verification.store import (
    CancelCommand,
    CheckOutcome,
    RebindCommand,
    RebindOutcome,
    ResendCommand,
    Snapshot,
    StartOutcome,
)

_NEVER = GuessGuard()
_APPROVED = "APPROVED"


def start(rows: Rows, leaves: LeafMaker, command: StartCommand) -> StartOutcome:
    """Begin a verification or resend the pending one; see `VerificationStore.start`."""
    known = _known_request(rows, command.request)
    if known is not None:
        return StartOutcome(_replayed(rows, known), created=False, replayed=True)
    draft = command.draft
    pending = rows.pending(
        draft.application_id, draft.phone_index, draft.purpose, draft.binding_key
    )
    state = _start_state(rows, draft, pending)
    decision = starting.start(state, command, rows.now)
    _save_start(rows, leaves, decision, draft.phone_index, draft.limits_index)
    return _started(rows, command.request, decision)


def resend(rows: Rows, leaves: LeafMaker, command: ResendCommand) -> StartOutcome | DomainError:
    """Queue one more send; see `VerificationStore.resend`."""
    known = _known_request(rows, command.request)
    if known is not None:
        return StartOutcome(_replayed(rows, known), created=False, replayed=True)
    row = _owned(rows, command.verification_id, command.account_id, command.application_id)
    if row.state is not State.PENDING or rows.now >= row.expire_time:
        _notice_expiry(rows, leaves, row)
        return model.closed_error()
    decision = starting.resent(_start_state(rows, row, row), row, command.sending, rows.now)
    _save_start(rows, leaves, decision, row.phone_index, row.limits_index)
    return _started(rows, command.request, decision)


def check(rows: Rows, leaves: LeafMaker, command: CheckCommand) -> CheckOutcome:
    """Judge a code; see `VerificationStore.check`."""
    known = _known_request(rows, command.request)
    if known is not None:
        return _replayed_check(rows, known)
    row = _owned(rows, command.verification_id, command.account_id, command.application_id)
    guesses = _NEVER
    known_binding = False
    if row.state is State.PENDING:
        guesses = rows.guesses(row.application_id, row.phone_index) or _NEVER
        known_binding = _binding_known(rows, row, command.binding_key)
    state = CheckState(row, guesses, known_binding)
    decision = checking.check(state, command, rows.now)
    if decision.refusal is not None:
        raise decision.refusal
    if decision.changed:
        _save_check(rows, leaves, row, decision)
    _remember(rows, command.request, row.verification_id, _check_outcome(decision))
    return CheckOutcome(
        snapshot=_snapshot(rows, decision.verification),
        approved=decision.approved,
        rejection=decision.rejection,
        checks_remaining=decision.verification.checks_remaining,
        replayed=False,
        compared=decision.compared,
    )


def cancel(rows: Rows, leaves: LeafMaker, command: CancelCommand) -> Snapshot | DomainError:
    """End a pending verification; see `VerificationStore.cancel`."""
    known = _known_request(rows, command.request)
    if known is not None:
        return _replayed(rows, known)
    row = _owned(rows, command.verification_id, command.account_id, command.application_id)
    after, error = model.cancel(row, rows.now)
    if after is not row:
        _save(rows, leaves, after)
    if error is not None:
        return error
    _remember(rows, command.request, row.verification_id, "")
    return _snapshot(rows, after)


def rebind(rows: Rows, leaves: LeafMaker, command: RebindCommand) -> RebindOutcome:
    """Schedule the end of a hard stop; see `VerificationStore.rebind`."""
    known = _known_request(rows, command.request)
    if known is not None:
        return RebindOutcome(int(known.outcome), rows.now, replayed=True)
    guard = rows.guesses(command.application_id, command.phone_index) or _NEVER
    effective = guard.rebind_time
    if effective <= rows.now:
        effective = rows.now + command.delay
        _save_rebind(rows, leaves, command, guard._replace(rebind_time=effective))
    object_id = command.notice.send_id if command.notice else ""
    _remember(rows, command.request, object_id, str(effective))
    return RebindOutcome(effective, rows.now, replayed=False)


def expire(rows: Rows, leaves: LeafMaker, verification_id: str) -> None:
    """Write down that a verification's time is over, where it is."""
    row = rows.verification(verification_id)
    if row is not None:
        _notice_expiry(rows, leaves, row)


def expire_overdue(rows: Rows, leaves: LeafMaker, limit: int) -> int:
    """Expire up to `limit` overdue verifications; returns how many."""
    overdue = rows.overdue(limit)
    for row in overdue:
        _notice_expiry(rows, leaves, row)
    return len(overdue)


def void(rows: Rows, leaves: LeafMaker, verification_id: str) -> bool:
    """End a pending verification of a store that was restored; returns whether it was one.

    Its code may have been used, and its guesses spent, after the backup was made.
    """
    row = rows.verification(verification_id)
    if row is None or row.state is not State.PENDING:
        return False
    after = model.expired(row, rows.now)
    if after is row:
        after = model.closed(row, State.CANCELED, rows.now)
    _save(rows, leaves, after)
    return True


def fail_undeliverable(rows: Rows, leaves: LeafMaker, verification: Verification) -> None:
    """Fail a pending verification none of whose sends is live any more."""
    after = model.failed(verification, rows.now)
    if after is verification or any(s.live for s in rows.sends(verification.verification_id)):
        return
    _save(rows, leaves, after)


def _start_state(rows: Rows, draft: Verification, pending: Verification | None) -> StartState:
    return StartState(pending, *rows.phone_state(draft))


def _save_start(
    rows: Rows, leaves: LeafMaker, decision: StartDecision, phone_index: bytes, limits_index: bytes
) -> None:
    if decision.closed is not None:
        _save(rows, leaves, decision.closed)
    if decision.created:
        rows.insert_verification(decision.verification)
        _leave(rows, leaves, decision.verification)
    elif decision.send is not None:
        _save(rows, leaves, decision.verification)
    if decision.send is None:
        return
    rows.insert_send(decision.send)
    rows.put_send_times({phone_index: decision.account_sends, limits_index: decision.global_sends})
    rows.put_budget(decision.verification.account_id, decision.budget)
    if not decision.send.lease_time:
        rows.changed(OUTBOX_TOPIC)


def _started(rows: Rows, request: RequestKey | None, decision: StartDecision) -> StartOutcome:
    row = decision.verification
    _remember(rows, request, row.verification_id, "")
    if decision.created:
        sends = () if decision.send is None else (decision.send,)
        snapshot = Snapshot(row, sends, rows.now)
    else:
        snapshot = _snapshot(rows, row)
    claim = None
    if decision.send is not None and decision.send.lease_time:
        claim = Claim(decision.send, row.phone_sealed, row.custom_sealed, row.message)
    return StartOutcome(snapshot, created=decision.created, replayed=False, claim=claim)


def _save_check(
    rows: Rows, leaves: LeafMaker, before: Verification, decision: CheckDecision
) -> None:
    after = decision.verification
    _save(rows, leaves, after)
    if decision.guesses is not None:
        rows.put_guesses(after.application_id, after.phone_index, decision.guesses)
    if not decision.approved:
        return
    if model.clears_sends(before):
        rows.drop_send_times((before.phone_index, before.limits_index))
    if before.binding_key:
        rows.put_binding(before.application_id, before.phone_index, before.binding_key)


def _check_outcome(decision: CheckDecision) -> str:
    if decision.approved:
        return _APPROVED
    return f"{decision.rejection}:{decision.verification.checks_remaining}"


def _replayed_check(rows: Rows, known: StoredRequest) -> CheckOutcome:
    reason, _, remaining = known.outcome.partition(":")
    return CheckOutcome(
        snapshot=_replayed(rows, known),
        approved=reason == _APPROVED,
        rejection=None if reason == _APPROVED else RejectionReason(reason),
        checks_remaining=int(remaining or 0),
        replayed=True,
        compared=0,
    )


def _save_rebind(rows: Rows, leaves: LeafMaker, command: RebindCommand, guard: GuessGuard) -> None:
    rows.put_guesses(command.application_id, command.phone_index, guard)
    if command.notice is None:
        return
    notice = command.notice._replace(
        create_time=rows.now,
        update_time=rows.now,
        due_time=rows.now,
        expire_time=rows.now + command.notice.expire_time,
    )
    rows.insert_send(notice)
    content = f"REBIND|{guard.rebind_time}|{command.reason}|{command.evidence_digest.hex()}"
    rows.append_leaf(
        leaves.make(command.account_id, notice.send_id, 1, "rebind", rows.now, content.encode())
    )
    rows.changed(OUTBOX_TOPIC)


def _binding_known(rows: Rows, row: Verification, binding_key: bytes) -> bool:
    if not binding_key or binding_key != row.binding_key:
        return False
    approved = rows.binding_time(row.application_id, row.phone_index, binding_key)
    return bool(approved) and approved > rows.now - KNOWN_BINDING_TTL


def _owned(rows: Rows, verification_id: str, account_id: str, application_id: str) -> Verification:
    row = rows.verification(verification_id)
    if row is None or row.account_id != account_id or row.application_id != application_id:
        raise NotFound("no such verification")
    return row


def _notice_expiry(rows: Rows, leaves: LeafMaker, row: Verification) -> None:
    after = model.expired(row, rows.now)
    if after is not row:
        _save(rows, leaves, after)


def _save(rows: Rows, leaves: LeafMaker, row: Verification) -> None:
    rows.update_verification(row)
    _leave(rows, leaves, row)


def _leave(rows: Rows, leaves: LeafMaker, row: Verification) -> None:
    rows.append_leaf(
        leaves.make(
            row.account_id,
            row.verification_id,
            row.version,
            "verification",
            rows.now,
            model.leaf_content(row),
        )
    )
    rows.changed(row.verification_id)


def _snapshot(rows: Rows, row: Verification) -> Snapshot:
    return Snapshot(row, rows.sends(row.verification_id), rows.now)


def _known_request(rows: Rows, request: RequestKey | None) -> StoredRequest | None:
    if request is None:
        return None
    known = rows.request(request.scope, request.method, request.request_id)
    if known is not None and known.mac != request.mac:
        raise FailedPrecondition(
            "the request id was used with another request", reason=Reason.REQUEST_ID_MISMATCH
        )
    return known


def _replayed(rows: Rows, known: StoredRequest) -> Snapshot:
    row = rows.verification(known.object_id)
    if row is None:
        raise NotFound("no such verification")
    return _snapshot(rows, row)


def _remember(rows: Rows, request: RequestKey | None, object_id: str, outcome: str) -> None:
    if request is None:
        return
    rows.put_request(
        StoredRequest(
            scope=request.scope,
            method=request.method,
            request_id=request.request_id,
            mac=request.mac,
            object_id=object_id,
            outcome=outcome,
            create_time=rows.now,
        )
    )
