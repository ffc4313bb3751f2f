"""Between SQLite's rows and the model's values; the order is the named tuples' own.

Constants of the SQL are made once here, so that each statement is prepared once.
Enumerations are bound by their plain text: SQLite's binding is slow on subclasses.
"""

import json
from collections.abc import Sequence
from typing import Any

from watchword.core.ports import Millis
from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import Send, SendError, SendKind, SendState
from watchword.fraud.limits import GuessGuard
from watchword.tenancy.model import Resend
from watchword.verification.model import CodeOrigin, State, Verification

Row = Sequence[Any]

VERIFICATION = ", ".join(Verification._fields)
SEND = ", ".join(Send._fields)
SEND_OF_JOIN = ", ".join(f"s.{name}" for name in Send._fields)
VERIFICATION_OF_JOIN = ", ".join(f"v.{name}" for name in Verification._fields)
SEND_WIDTH = len(Send._fields)

_STATES = {str(value): value for value in State}
_CHANNELS = {str(value): value for value in Channel}
_ORIGINS = {str(value): value for value in CodeOrigin}
_RESENDS = {str(value): value for value in Resend}
_KINDS = {str(value): value for value in SendKind}
_SEND_STATES = {str(value): value for value in SendState}
_SEND_ERRORS = {str(value): value for value in SendError}


def marks(count: int) -> str:
    """Return `count` parameter marks for a list of values."""
    return ", ".join("?" * count)


def verification_of(row: Row) -> Verification:
    """Return the verification of a row of `VERIFICATION`."""
    return Verification._make(
        (
            *row[:4],
            _STATES[row[4]],
            _CHANNELS[row[5]],
            *row[6:15],
            _ORIGINS[row[15]],
            row[16],
            row[17] == 1,
            *row[18:22],
            _RESENDS[row[22]],
            *row[23:],
        )
    )


def verification_row(v: Verification) -> Row:
    """Return the values to bind for `VERIFICATION`."""
    return (
        *v[:4],
        v.state._value_,
        v.channel._value_,
        *v[6:15],
        v.code_origin._value_,
        v.carrier_trust,
        int(v.test),
        *v[18:22],
        v.resend._value_,
        *v[23:],
    )


def send_of(row: Row) -> Send:
    """Return the send of a row of `SEND`."""
    return Send._make(
        (
            row[0],
            _KINDS[row[1]],
            *row[2:6],
            _CHANNELS[row[6]],
            *row[7:9],
            _SEND_STATES[row[9]],
            _SEND_ERRORS[row[10]],
            *row[11:14],
            row[14] == 1,
            *row[15:],
        )
    )


def send_row(s: Send) -> Row:
    """Return the values to bind for `SEND`."""
    return (
        s.send_id,
        s.kind._value_,
        *s[2:6],
        s.channel._value_,
        *s[7:9],
        s.state._value_,
        s.error_reason._value_,
        *s[11:14],
        int(s.withheld),
        *s[15:],
    )


def times_text(times: tuple[Millis, ...]) -> str:
    """Return times as a JSON array."""
    return str(list(times))


def times_of(text: str) -> tuple[Millis, ...]:
    """Return the times of a JSON array."""
    return tuple(json.loads(text))


def guard_of(row: Row) -> GuessGuard:
    """Return the guard of a row (wrong, in_a_row, approved, rebind_time)."""
    return GuessGuard(times_of(row[0]), row[1], row[2] == 1, row[3])
