"""What commands leave in PostgreSQL's tables: the same as the model leaves in memory."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from tests.stores.postgresql.conftest import opened

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import MINUTE
from watchword.delivery.carrier import Receipt, ReceiptState
from watchword.delivery.outbox import Result, ResultKind
from watchword.fraud.budget import AccountBudget
from watchword.testing import verification_cases as cases
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory import MemoryStores
from watchword.testing.memory_rows import Tables
from watchword.testing.verification_cases import CASE
from watchword.verification.model import leaf_content
from watchword.verification.rows import StoredRequest
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.columns import guard_of, send_of, verification_of

LEAF = ", ".join(Leaf._fields)


async def play(stores: PostgresStores | MemoryStores, clock: FakeClock) -> None:
    """Run a life of two phones through every table."""
    known = CASE._replace(binding=1)
    verification, outbox = stores.verification, stores.outbox
    await verification.start(cases.start(1, known, request=cases.request(1, "start")))
    await verification.start(cases.start(2, CASE._replace(phone=1, custom=1)))
    for claim in (await outbox.claim(5, cases.LEASE, cases.LIMITS)).claims:
        result = Result(claim.send.send_id, 1, ResultKind.SUBMITTED, "provider")
        await outbox.settle([result], cases.LIMITS)
    await outbox.receive(Receipt(cases.send_id(1), ReceiptState.DELIVERED))
    await verification.check(cases.check(1, 0, known, request=cases.request(2, "check")))
    await verification.check(cases.check(1, 1, known))
    clock.advance(MINUTE)
    await verification.start(cases.start(3, known._replace(action=2)))
    await verification.rebind(cases.rebind(notice=4))
    await verification.cancel(cases.cancel(2, CASE._replace(phone=1)))


async def rows(
    db: "asyncpg.Connection[asyncpg.Record]", table: str, columns: str = "*"
) -> Sequence[Any]:
    return [tuple(row) for row in await db.fetch(f"SELECT {columns} FROM watchword.{table}")]


async def dump(dsn: str) -> Tables:
    db = await asyncpg.connect(dsn)
    tables = Tables(
        verifications={row[0]: verification_of(row) for row in await rows(db, "verification")},
        sends={row[0]: send_of(row) for row in await rows(db, "send")},
        send_times={key: (tuple(t), at) for key, t, at in await rows(db, "send_times")},
        guesses={(a, p): (guard_of(g), at) for a, p, *g, at in await rows(db, "guess_guard")},
        bindings={(a, p, b): at for a, p, b, at in await rows(db, "approved_binding")},
        budgets={a: AccountBudget._make(b) for a, *b in await rows(db, "account_budget")},
        requests={row[:3]: StoredRequest._make(row) for row in await rows(db, "request")},
        leaves=dict(enumerate(map(Leaf._make, await rows(db, "audit_leaf", LEAF)))),
    )
    await db.close()
    return tables


def shown(tables: Tables) -> dict[str, list[str]]:
    """Return tables as text; of the leaves what they are of, for their MACs are made apart."""
    tables.leaves = {n: leaf[:5] for n, leaf in tables.leaves.items()}  # type: ignore[misc]
    return {
        name: sorted(
            repr(value) if name == "leaves" else repr((key, value)) for key, value in table.items()
        )
        for name, table in vars(tables).items()
    }


async def test_both_keep_the_same(dsn: str) -> None:
    clock, memory_clock = FakeClock(), FakeClock()
    memory = MemoryStores(memory_clock, RecordingBus())
    await play(memory, memory_clock)
    async with opened(dsn, clock=clock) as stores:
        await play(stores, clock)
    kept, expected = shown(await dump(dsn)), shown(memory.engine.tables)
    assert all(expected.values())
    for name, table in expected.items():
        assert kept[name] == table, name


async def test_the_databases_leaves_are_verified_with_the_key(dsn: str) -> None:
    clock = FakeClock()
    async with opened(dsn, clock=clock) as stores:
        await play(stores, clock)
    kept = await dump(dsn)
    maker, stranger = LeafMaker(MemoryKeyProvider()), LeafMaker(MemoryKeyProvider(seed=1))
    leaves = {(leaf.object_id, leaf.version): leaf for leaf in kept.leaves.values()}
    assert len(leaves) == len(kept.leaves)
    contents = {
        (row.verification_id, row.version): leaf_content(row) for row in kept.verifications.values()
    }
    contents |= {
        (s.send_id, s.version): (
            f"{s.state}|{s.error_reason}|{s.carrier}|{s.attempts}|{s.due_time}".encode()
        )
        for s in kept.sends.values()
        if (s.send_id, s.version) in leaves and s.kind == "CODE"
    }
    assert len(contents) >= 5
    for name, content in contents.items():
        leaf = leaves[name]
        assert maker.verify(leaf, content)
        assert not maker.verify(leaf, content + b"0")
        assert not maker.verify(leaf._replace(version=leaf.version + 1), content)
        assert not maker.verify(leaf._replace(object_id="VEother"), content)
        assert not maker.verify(leaf._replace(mac=bytes(16) + leaf.mac[16:]), content)
        assert not stranger.verify(leaf, content)


async def test_no_command_reads_a_table_through(dsn: str) -> None:
    """Where a key finds a row no sequential scan is ever counted, whatever the statistics say."""
    clock = FakeClock()
    async with opened(dsn, clock=clock) as stores:
        await play(stores, clock)
    db = await asyncpg.connect(dsn)
    scanned = await db.fetch(
        "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'watchword' AND seq_scan > 0"
        " AND relname = ANY ($1)",
        ["send_times", "guess_guard", "approved_binding", "request", "audit_leaf"],
    )
    await db.close()
    assert [row["relname"] for row in scanned] == []
