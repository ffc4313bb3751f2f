"""Holds the files of a stopped server against the ledger: rows, audit leaves, messages."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from shutil import copyfile

from tests.crash.ledger import Flow
from tests.crash.world import World

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import Millis
from watchword.verification.model import Verification, leaf_content
from watchword_adapters.keys.file import FileKeyProvider
from watchword_adapters.stores.sqlite.columns import VERIFICATION, verification_of

_GAPS = """
SELECT kind, object_id FROM audit_leaf GROUP BY kind, object_id
HAVING count(*) <> count(DISTINCT version)
    OR max(version) - min(version) + 1 <> count(*)
    OR min(version) <> CASE kind WHEN 'send' THEN 2 ELSE 1 END
"""
# A send's first version is told by the verification that caused it.
_BEHIND = """
WITH told AS MATERIALIZED (
    SELECT kind, object_id, max(version) AS version FROM audit_leaf GROUP BY kind, object_id
), held AS (
    SELECT 'verification' AS kind, verification_id AS object_id, version FROM verification
    UNION ALL SELECT 'send', send_id, version FROM send WHERE version > 1
)
SELECT held.object_id FROM held LEFT JOIN told USING (kind, object_id)
    WHERE told.version IS NOT held.version
UNION ALL
SELECT told.object_id FROM told LEFT JOIN held USING (kind, object_id)
    WHERE told.kind IN ('verification', 'send') AND held.version IS NOT told.version
"""
_LAST_LEAVES = """
SELECT account_id, object_id, max(version), kind, time, mac, commitment FROM audit_leaf
WHERE kind = 'verification' GROUP BY object_id
"""


def check_integrity(store: Path, scratch: Path) -> None:
    """Hold a copy of the killed server's files to SQLite's own check.

    A copy, so that the next server meets the log as the kill left it.
    """
    scratch.mkdir(exist_ok=True)
    for suffix in ("", "-wal"):
        part = store.with_name(store.name + suffix)
        if part.exists():
            copyfile(part, scratch / part.name)
    with closing(sqlite3.connect(scratch / store.name)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute(_GAPS).fetchall() == []
        assert db.execute(_BEHIND).fetchall() == []


def check_store(world: World, flows: list[Flow], taken: Mapping[str, int], now: Millis) -> None:
    """Hold every row, leaf and message of a stopped server against what was acknowledged."""
    with closing(sqlite3.connect(world.store)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute(_GAPS).fetchall() == []
        assert db.execute(_BEHIND).fetchall() == []
        rows = {row.verification_id: row for row in _rows(db)}
        _check_leaves(db, world, rows)
        _check_flows(flows, rows, now)
        _check_sends(db, taken)


def _rows(db: sqlite3.Connection) -> Iterator[Verification]:
    for row in db.execute(f"SELECT {VERIFICATION} FROM verification"):
        yield verification_of(row)


def _check_leaves(db: sqlite3.Connection, world: World, rows: Mapping[str, Verification]) -> None:
    """Open the newest leaf of each verification: it commits to the very row."""
    leaves = LeafMaker(FileKeyProvider(world.root / "keys"))
    found = [Leaf._make(row) for row in db.execute(_LAST_LEAVES)]
    assert len(found) == len(rows)
    for leaf in found:
        assert leaves.verify(leaf, leaf_content(rows[leaf.object_id]))


def _check_flows(flows: list[Flow], rows: Mapping[str, Verification], now: Millis) -> None:
    started = {flow.verification_id: flow for flow in flows if flow.verification_id}
    assert len(started) == sum(bool(flow.verification_id) for flow in flows)
    assert set(started) == set(rows), "verifications that nobody was told of, or lost ones"
    for verification_id, flow in started.items():
        row = rows[verification_id]
        flow.check(row.state, row.checks_used, row.send_count, now)
        assert (row.approve_time > 0) == flow.approved


def _check_sends(db: sqlite3.Connection, taken: Mapping[str, int]) -> None:
    """Whatever was taken was recorded before; whatever was queued was taken or ended."""
    sends = {
        send_id: (state, error, attempts)
        for send_id, state, error, attempts in db.execute(
            "SELECT send_id, state, error_reason, attempts FROM send"
        )
    }
    assert set(taken) <= set(sends), "a message without a record"
    for send_id, (state, error, attempts) in sends.items():
        times = taken.get(send_id, 0)
        assert times <= attempts, "a message left before its attempt was recorded"
        if (state, error) == ("SUBMITTED", ""):
            assert times >= 1, "a message is told to be sent that never was"
        else:
            assert (state, error) in {
                ("SUBMITTED", "OUTCOME_UNKNOWN"),
                ("FAILED", "NOT_NEEDED"),
            }, (state, error)
