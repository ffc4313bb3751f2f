"""The outbox's atomic commands over `Rows`; they touch the verification behind a send."""

from collections.abc import Sequence
from typing import NamedTuple

from watchword.audit.leaf import LeafMaker
from watchword.core.ports import Millis
from watchword.delivery import outbox
from watchword.delivery.carrier import Receipt
from watchword.delivery.outbox import Claim, Claimed, Result, ResultKind, Send, SendKind, SendState
from watchword.fraud import budget
from watchword.fraud.limits import PhoneLimits, bears_repeat, with_send
from watchword.verification.commands import fail_undeliverable
from watchword.verification.model import State, Verification
from watchword.verification.rows import Rows


class ClaimCommand(NamedTuple):
    """What a dispatcher asks for; see `Outbox.claim`."""

    limit: int
    lease: Millis
    limits: PhoneLimits
    except_carriers: frozenset[str]


def claim(rows: Rows, leaves: LeafMaker, command: ClaimCommand) -> Claimed:
    """Lease due sends and record their attempts; see `Outbox.claim`."""
    claimed = Claimed([], [])
    limits, lease = command.limits, command.lease
    for send, verification in rows.due_sends(command.limit, command.except_carriers):
        after = outbox.claim(
            send,
            wanted=_wanted(send, verification),
            may_repeat=bool(send.lease_time)
            and not send.doubts
            and _charge_repeat(rows, send, verification, limits),
            now=rows.now,
            lease=lease,
        )
        if after.state is SendState.QUEUED:
            rows.update_send(after)
            claimed.claims.append(_claim(after, verification))
        else:
            _save_send(rows, leaves, after, verification)
            claimed.ended.append(after)
    return claimed


def wanted(send: Send | None, verification: Verification | None) -> bool:
    """Tell whether a message should still go; see `Outbox.wanted`."""
    return send is not None and send.state is SendState.QUEUED and _wanted(send, verification)


def settle(
    rows: Rows, leaves: LeafMaker, results: Sequence[Result], limits: PhoneLimits
) -> list[Send | None]:
    """Record what came of attempts; see `Outbox.settle`."""
    return [_settle(rows, leaves, result, limits) for result in results]


def _settle(rows: Rows, leaves: LeafMaker, result: Result, limits: PhoneLimits) -> Send | None:
    send = rows.send(result.send_id)
    if send is None:
        return None
    repeat = False
    current = send.lease_time and result.attempt == send.attempts
    if result.kind is ResultKind.AMBIGUOUS and current and not send.doubts:
        verification = rows.verification(send.subject_id)
        repeat = _charge_repeat(rows, send, verification, limits)
    after = outbox.settle(send, result, rows.now, may_repeat=repeat)
    if after is not send:
        _save_send(rows, leaves, after, None)
    return after


def receive(rows: Rows, leaves: LeafMaker, receipt: Receipt) -> Send | None:
    """Record a delivery receipt; see `Outbox.receive`."""
    send = rows.send(receipt.send_id)
    if send is None:
        return None
    after = outbox.receive(send, receipt, rows.now)
    if after is not send:
        _save_send(rows, leaves, after, None)
    return after


def _wanted(send: Send, verification: Verification | None) -> bool:
    if send.kind is SendKind.NOTICE:
        return True
    # Of an expired one the send itself says that it is too late.
    return verification is not None and verification.state in (State.PENDING, State.EXPIRED)


def _claim(send: Send, verification: Verification | None) -> Claim:
    if verification is None:
        return Claim(send, send.recipient_sealed, b"", "")
    return Claim(send, verification.phone_sealed, verification.custom_sealed, verification.message)


def _charge_repeat(
    rows: Rows, send: Send, verification: Verification | None, limits: PhoneLimits
) -> bool:
    """Charge every budget for a second message, or none: a doubt counts as a send."""
    if verification is None or not verification.limits_index:
        return False
    keys = (verification.phone_index, verification.limits_index)
    times = rows.send_times(keys)
    charged = budget.recharge(rows.budget(send.account_id), rows.now)
    if charged is None or not all(
        bears_repeat(times.get(key, ()), rows.now, limits) for key in keys
    ):
        return False
    rows.put_budget(send.account_id, charged)
    rows.put_send_times({key: with_send(times.get(key, ()), rows.now) for key in keys})
    return True


def _save_send(
    rows: Rows, leaves: LeafMaker, send: Send, verification: Verification | None
) -> None:
    rows.update_send(send)
    content = f"{send.state}|{send.error_reason}|{send.carrier}|{send.attempts}|{send.due_time}"
    rows.append_leaf(
        leaves.make(send.account_id, send.send_id, send.version, "send", rows.now, content.encode())
    )
    if send.kind is SendKind.NOTICE:
        return
    rows.changed(send.subject_id)
    if send.state is SendState.FAILED:
        verification = verification or rows.verification(send.subject_id)
        if verification is not None:
            fail_undeliverable(rows, leaves, verification)
