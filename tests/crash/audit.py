"""Holds what a store keeps against the ledger: rows, audit leaves, messages."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

from tests.crash.books import Books, read_postgresql, read_sqlite
from tests.crash.ledger import Flow
from tests.crash.world import World

from watchword.audit.leaf import LeafMaker
from watchword.core.ports import Millis
from watchword.verification.model import Verification, leaf_content
from watchword_adapters.keys.file import FileKeyProvider


async def check_integrity(world: World, scratch: Path) -> None:
    """Hold what a kill left to the store's own check, and its rows to their leaves.

    Of SQLite's files a copy, so that the next server meets the log as the kill left it.
    """
    if world.dsn:
        books = await read_postgresql(world.dsn)
    else:
        scratch.mkdir(exist_ok=True)  # noqa: ASYNC240 - nobody waits
        for suffix in ("", "-wal"):
            part = world.store.with_name(world.store.name + suffix)
            if part.exists():
                copyfile(part, scratch / part.name)
        books = read_sqlite(scratch / world.store.name)
    assert books.wrong == []


async def check_store(
    world: World, flows: list[Flow], taken: Mapping[str, int], now: Millis
) -> None:
    """Hold every row, leaf and message of a stopped server against what was acknowledged."""
    books = await read_postgresql(world.dsn) if world.dsn else read_sqlite(world.store)
    assert books.wrong == []
    rows = {row.verification_id: row for row in books.verifications}
    _check_leaves(books, world, rows)
    _check_flows(flows, rows, now)
    _check_sends(books, taken)


def _check_leaves(books: Books, world: World, rows: Mapping[str, Verification]) -> None:
    """Open the newest leaf of each verification: it commits to the very row."""
    leaves = LeafMaker(FileKeyProvider(world.root / "keys"))
    assert len(books.leaves) == len(rows)
    for leaf in books.leaves:
        assert leaves.verify(leaf, leaf_content(rows[leaf.object_id]))


def _check_flows(flows: list[Flow], rows: Mapping[str, Verification], now: Millis) -> None:
    started = {flow.verification_id: flow for flow in flows if flow.verification_id}
    assert len(started) == sum(bool(flow.verification_id) for flow in flows)
    assert set(started) == set(rows), "verifications that nobody was told of, or lost ones"
    for verification_id, flow in started.items():
        row = rows[verification_id]
        flow.check(row.state, row.checks_used, row.send_count, now)
        assert (row.approve_time > 0) == flow.approved


def _check_sends(books: Books, taken: Mapping[str, int]) -> None:
    """Whatever was taken was recorded before; whatever was queued was taken or ended."""
    sends = {send_id: (state, error, attempts) for send_id, state, error, attempts in books.sends}
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
