"""Deletes what has grown stale, by walking along the keys a stretch at a time.

An index by time would be written twice by every command; a walk reads each row once a
round and writes only what goes.
"""

# ruff: noqa: S608 - the SQL is put together from constants

import sqlite3
from typing import NamedTuple

from watchword.core.ports import DAY, Millis
from watchword.fraud.limits import KNOWN_BINDING_TTL, THIRTY_DAYS
from watchword.verification.rows import StaleKeys, Swept


class _Walk(NamedTuple):
    """One table's SQL: `end` finds the last key of a stretch, `delete` empties one of the stale.

    Parameter 1 is the time now (of `end` the rows to skip), then come the key after which
    the stretch begins and the one that it ends with; `delete_rest` has no end.
    """

    lowest: tuple[str | bytes, ...]
    end: str
    delete: str
    delete_rest: str


def _walk(table: str, key: dict[str, str | bytes], stale: str) -> _Walk:
    names, width = ", ".join(key), len(key)
    after, until = (
        ", ".join(f"?{number}" for number in range(start, start + width))
        for start in (2, 2 + width)
    )
    rest = f"({names}) > ({after})"
    return _Walk(
        lowest=tuple(key.values()),
        end=f"SELECT {names} FROM {table} WHERE {rest} ORDER BY {names} LIMIT 1 OFFSET ?1",
        delete=f"DELETE FROM {table} WHERE {rest} AND ({names}) <= ({until}) AND {stale}",
        delete_rest=f"DELETE FROM {table} WHERE {rest} AND {stale}",
    )


# Each key's columns with what comes before every value. No key is empty.
_WALKS = (
    _walk(
        "request",
        {"scope": "", "method": "", "request_id": ""},
        f"create_time <= ?1 - {DAY}",
    ),
    _walk("send_times", {"key": b""}, f"update_time <= ?1 - {DAY}"),
    _walk(
        "approved_binding",
        {"application_id": "", "phone_index": b"", "binding_key": b""},
        f"approve_time <= ?1 - {KNOWN_BINDING_TTL}",
    ),
    # Failures in a row after an approval are kept until a re-bind; all else grows idle.
    _walk(
        "guess_guard",
        {"application_id": "", "phone_index": b""},
        "(approved = 0 OR in_a_row = 0) AND rebind_time <= ?1 AND update_time <= ?1"
        f" - CASE approved WHEN 0 THEN {THIRTY_DAYS} ELSE {KNOWN_BINDING_TTL} END",
    ),
)


def delete_stale(db: sqlite3.Connection, now: Millis, after: StaleKeys, limit: int) -> Swept:
    """Look at the `limit` rows of each table that follow `after`; see `Rows.delete_stale`."""
    count = 0
    reached = []
    for walk, key in zip(_WALKS, after, strict=True):
        start = key or walk.lowest
        end = db.execute(walk.end, (limit - 1, *start)).fetchone()
        if end is None:
            count += db.execute(walk.delete_rest, (now, *start)).rowcount
        else:
            count += db.execute(walk.delete, (now, *start, *end)).rowcount
        reached.append(end or ())
    return Swept(count, tuple(reached))
