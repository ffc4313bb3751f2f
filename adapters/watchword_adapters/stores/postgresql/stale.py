"""Deletes what has grown stale, by walking along the keys a stretch at a time.

An index by time would be written twice by every command; a walk reads each row once a
round and writes only what goes. Rows that a command holds are left for the next round.
"""

# ruff: noqa: S608 - the SQL is put together from constants

from typing import NamedTuple

from watchword.core.ports import DAY
from watchword.fraud.limits import KNOWN_BINDING_TTL, THIRTY_DAYS
from watchword.verification.rows import StaleKeys, Swept
from watchword_adapters.stores.postgresql.engine import Engine


class _Walk(NamedTuple):
    """One table: what comes before every key, and what deletes the stale of one stretch."""

    lowest: tuple[str | bytes, ...]
    statement: str


def _walk(table: str, key: dict[str, str | bytes], stale: str) -> _Walk:
    names = ", ".join(key)
    places = ", ".join(f"${place}" for place in range(2, 2 + len(key)))
    return _Walk(
        tuple(key.values()),
        f"WITH clock AS MATERIALIZED (SELECT watchword.now() AS now),"
        f" looked AS MATERIALIZED (SELECT {names} FROM watchword.{table}"
        f" WHERE ({names}) > ({places}) ORDER BY {names} LIMIT $1),"
        f" held AS (SELECT t.ctid FROM watchword.{table} AS t JOIN looked USING ({names}), clock"
        f" WHERE {stale} FOR UPDATE OF t SKIP LOCKED),"
        f" gone AS (DELETE FROM watchword.{table} AS t"
        " WHERE t.ctid = ANY (ARRAY(SELECT ctid FROM held)) RETURNING 1)"
        " SELECT (SELECT count(*) FROM gone) AS deleted, (SELECT count(*) FROM looked) AS looks,"
        f" last.* FROM (SELECT) AS one LEFT JOIN (SELECT {names} FROM looked"
        f" ORDER BY {', '.join(f'{name} DESC' for name in key)} LIMIT 1) AS last ON true",
    )


# No key is empty. The order is that of `StaleKeys`.
_WALKS = (
    _walk(
        "request",
        {"scope": "", "method": "", "request_id": ""},
        f"t.create_time <= clock.now - {DAY}",
    ),
    _walk("send_times", {"key": b""}, f"t.update_time <= clock.now - {DAY}"),
    _walk(
        "approved_binding",
        {"application_id": "", "phone_index": b"", "binding_key": b""},
        f"t.approve_time <= clock.now - {KNOWN_BINDING_TTL}",
    ),
    # Failures in a row after an approval are kept until a re-bind; all else grows idle.
    _walk(
        "guess_guard",
        {"application_id": "", "phone_index": b""},
        "(NOT t.approved OR t.in_a_row = 0) AND t.rebind_time <= clock.now AND t.update_time <="
        f" clock.now - CASE WHEN t.approved THEN {KNOWN_BINDING_TTL} ELSE {THIRTY_DAYS} END",
    ),
)


async def delete_stale(engine: Engine, after: StaleKeys, limit: int) -> Swept:
    """Look at the `limit` rows of each table that follow `after`; see `Rows.delete_stale`."""
    deleted = 0
    reached: list[tuple[str | bytes, ...]] = []
    for walk, key in zip(_WALKS, after, strict=True):
        (row,) = await engine.fetch(walk.statement, limit, *(key or walk.lowest))
        deleted += int(row["deleted"])
        reached.append(tuple(row[2:]) if row["looks"] == limit else ())
    return Swept(deleted, tuple(reached))
