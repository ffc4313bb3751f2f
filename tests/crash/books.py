"""What a store holds, read behind the server's back; the same from SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from watchword.audit.leaf import Leaf
from watchword.verification.model import Verification
from watchword_adapters.stores.postgresql import columns as postgresql
from watchword_adapters.stores.sqlite import columns as sqlite

_GAPS = """
SELECT kind, object_id FROM {schema}audit_leaf GROUP BY kind, object_id
HAVING count(*) <> count(DISTINCT version)
    OR max(version) - min(version) + 1 <> count(*)
    OR min(version) <> CASE kind WHEN 'send' THEN 2 ELSE 1 END
"""
# A send's first version is told by the verification that caused it.
_BEHIND = """
WITH told AS MATERIALIZED (
    SELECT kind, object_id, max(version) AS version FROM {schema}audit_leaf
    WHERE kind IN ('verification', 'send') GROUP BY kind, object_id
), held AS (
    SELECT 'verification' AS kind, verification_id AS object_id, version
    FROM {schema}verification
    UNION ALL SELECT 'send', send_id, version FROM {schema}send WHERE version > 1
)
SELECT held.object_id FROM held LEFT JOIN told USING (kind, object_id)
    WHERE coalesce(told.version, 0) <> held.version
UNION ALL
SELECT told.object_id FROM told LEFT JOIN held USING (kind, object_id)
    WHERE held.version IS NULL
"""
_LAST_LEAVES = """
SELECT account_id, object_id, version, kind, time, mac, commitment FROM (
    SELECT *, row_number() OVER (PARTITION BY object_id ORDER BY version DESC) AS place
    FROM {schema}audit_leaf WHERE kind = 'verification'
) AS leaf WHERE place = 1
"""
_SENDS = "SELECT send_id, state, error_reason, attempts FROM {schema}send"
_QUEUED = "SELECT count(*) FROM {schema}send WHERE state = 'QUEUED'"


class Books(NamedTuple):
    """All that a store holds of verifications; `wrong` names what its leaves do not tell."""

    verifications: list[Verification]
    leaves: list[Leaf]
    sends: list[tuple[str, str, str, int]]
    wrong: list[str]


def read_sqlite(path: Path) -> Books:
    """Read a stopped server's file, which must pass SQLite's own check."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []

        def rows(query: str) -> Sequence[Any]:
            return db.execute(query.format(schema="")).fetchall()

        found = rows(f"SELECT {sqlite.VERIFICATION} FROM verification")
        return _books([sqlite.verification_of(row) for row in found], rows)


async def read_postgresql(dsn: str) -> Books:
    """Read a database as one moment shows it; servers may be at work."""
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            found = await db.fetch("SELECT v FROM watchword.verification AS v")
            queries = (_LAST_LEAVES, _SENDS, _GAPS, _BEHIND)
            kept = {q: await db.fetch(q.format(schema="watchword.")) for q in queries}
    finally:
        await db.close()
    return _books([postgresql.verification_of(row["v"]) for row in found], kept.__getitem__)


def _books(verifications: list[Verification], rows: Any) -> Books:
    return Books(
        verifications,
        [Leaf._make(row) for row in rows(_LAST_LEAVES)],
        [tuple(row) for row in rows(_SENDS)],
        [str(tuple(row)) for query in (_GAPS, _BEHIND) for row in rows(query)],
    )


def queued_in_sqlite(path: Path) -> int:
    """Count the messages that wait in a file that is being served."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute(_QUEUED.format(schema="")).fetchone()[0])


async def queued_in_postgresql(dsn: str) -> int:
    """Count the messages that wait in a database."""
    db = await asyncpg.connect(dsn)
    try:
        return int(await db.fetchval(_QUEUED.format(schema="watchword.")))
    finally:
        await db.close()
