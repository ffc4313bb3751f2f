"""Between PostgreSQL's rows and the model's values; the order is the named tuples' own.

Only as many columns are read as the model has fields: a newer version may have added some
while this one serves.
"""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import Send, SendError, SendKind, SendState
from watchword.fraud.limits import GuessGuard
from watchword.tenancy.model import Resend
from watchword.verification.model import CodeOrigin, RequestKey, State, Verification
from watchword.verification.starting import Sending

Composite = Sequence[Any]

_STATES = {str(value): value for value in State}
_CHANNELS = {str(value): value for value in Channel}
_ORIGINS = {str(value): value for value in CodeOrigin}
_RESENDS = {str(value): value for value in Resend}
_KINDS = {str(value): value for value in SendKind}
_SEND_STATES = {str(value): value for value in SendState}
_SEND_ERRORS = {str(value): value for value in SendError}
_VERIFICATION_WIDTH = len(Verification._fields)
_SEND_WIDTH = len(Send._fields)


def verification_of(row: Composite) -> Verification:
    """Return the verification of a row."""
    values = list(row)[:_VERIFICATION_WIDTH]
    values[4] = _STATES[values[4]]
    values[5] = _CHANNELS[values[5]]
    values[15] = _ORIGINS[values[15]]
    values[22] = _RESENDS[values[22]]
    return Verification._make(values)


def send_of(row: Composite) -> Send:
    """Return the send of a row."""
    values = list(row)[:_SEND_WIDTH]
    values[1] = _KINDS[values[1]]
    values[6] = _CHANNELS[values[6]]
    values[9] = _SEND_STATES[values[9]]
    values[10] = _SEND_ERRORS[values[10]]
    return Send._make(values)


def guard_of(row: Composite) -> GuessGuard:
    """Return the guard of (wrong, in_a_row, approved, rebind_time)."""
    wrong, in_a_row, approved, rebind_time = row
    return GuessGuard(tuple(wrong), in_a_row, approved, rebind_time)


def sending_row(sending: Sending) -> Composite:
    """Return the composite `watchword.sending`."""
    plan, limits, caps, lease = sending
    return (plan.channel, plan.carrier, lease, limits, caps.sends_per_hour, caps.sends_per_day)


def phone_lock(limits_index: bytes) -> int:
    """Return the stripe that a phone's commands lock, as `watchword.stripe_of` does."""
    return int.from_bytes(limits_index[:2], "big")


def request_locks(request: RequestKey | None) -> tuple[int, ...]:
    """Return the stripe that the commands of one request id lock, none without one."""
    if request is None:
        return ()
    key = f"{request.scope}\0{request.method}\0{request.request_id}"
    return (crc32(key.encode("utf-8", "surrogatepass")) & 0xFFFF,)
