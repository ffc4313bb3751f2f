import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from tests.account import replica
from tests.support import postgres

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.testing.account_cases import PB, A, B
from watchword.testing.account_contract import AccountBench, AccountStoreContract
from watchword.testing.carriers import FakeBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory_account import MemoryAccountStore
from watchword_adapters.stores.sqlite.stores import SqliteStores


class RecordingBus(FakeBus):
    """A bus that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[str] = []

    def publish(self, object_id: str) -> None:
        self.published.append(object_id)
        super().publish(object_id)


class TestMemory(AccountStoreContract):
    @pytest.fixture
    def bench(self) -> AccountBench:
        clock, bus = FakeClock(), RecordingBus()
        store = MemoryAccountStore(clock, bus, LeafMaker(MemoryKeyProvider()))

        async def leaves() -> list[Leaf]:
            return list(store.tables.leaves)

        return AccountBench(store, clock, lambda: list(bus.published), leaves)


class TestSqlite(AccountStoreContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[AccountBench]:
        clock, bus = FakeClock(), RecordingBus()
        path = tmp_path / "watchword.db"
        stores = await SqliteStores.open(
            path,
            world="dev",
            clock=clock,
            bus=bus,
            provider=MemoryKeyProvider(),
            create=True,
            entropy=SeededEntropy(),
        )
        yield AccountBench(
            stores.account, clock, lambda: list(bus.published), lambda: _leaves(path)
        )
        await stores.close()

    async def test_c046_the_schema_refuses_mixed_references(
        self, two: AccountBench, tmp_path: Path
    ) -> None:
        db = sqlite3.connect(tmp_path / "watchword.db")
        db.execute("PRAGMA foreign_keys = ON")
        mixed = (A.account_id, PB.application_id)
        owner = "(account_id, application_id"
        statements = (
            "INSERT INTO credential VALUES ('CRx', ?, ?, 1, '', '[]', zeroblob(32), 0, 0, 0)",
            "INSERT INTO application_spiffe VALUES ('spiffe://x/y', ?, ?)",
            (
                f"INSERT INTO test_number {owner}, phone_index, version, phone_sealed, code_sealed,"
                " create_time, expire_time) VALUES (?, ?, x'00', 1, x'', x'', 0, 0)"
            ),
            (
                f"INSERT INTO usage_day {owner}, day, channel, region_code, carrier, starts, sends,"
                " approvals) VALUES (?, ?, 1, 'SMS', 'DE', '', 1, 1, 1)"
            ),
        )
        for statement in statements:
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                db.execute(statement, mixed)
            db.execute(statement, (B.account_id, PB.application_id))
        db.rollback()
        db.close()


class TestPostgresql(AccountStoreContract):
    @pytest.fixture
    async def dsn(self, postgres_server: postgres.Server) -> AsyncIterator[str]:
        async with postgres.fresh_database(postgres_server, replica.migrate) as dsn:
            yield dsn

    @pytest.fixture
    async def bench(self, dsn: str) -> AsyncIterator[AccountBench]:
        clock, bus = FakeClock(), RecordingBus()
        async with replica.opened_pool(dsn, clock) as pool:
            store = replica.store_over(pool, bus)
            yield AccountBench(
                store, clock, lambda: list(bus.published), lambda: replica.leaves(pool)
            )

    async def test_c046_the_schema_refuses_mixed_references(
        self, two: AccountBench, dsn: str
    ) -> None:
        db = await asyncpg.connect(dsn)
        for values in (
            "credential VALUES ('CRx', $1, $2, 1, '', '{}', sha256(''), 0, 0, 0)",
            "application_spiffe VALUES ('spiffe://x/y', $1, $2)",
            "test_number VALUES ($2, '', $1, 1, '', '', 0, 0)",
            "usage_day VALUES ($1, $2, 1, 'SMS', 'DE', '', 1, 1, 1)",
        ):
            statement = f"INSERT INTO watchword.{values}"
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await db.execute(statement, A.account_id, PB.application_id)
            await db.execute(statement, B.account_id, PB.application_id)
        await db.close()


async def _leaves(path: Path) -> list[Leaf]:
    db = sqlite3.connect(path)
    columns = "account_id, object_id, version, kind, time, mac, commitment"
    rows = [Leaf._make(row) for row in db.execute(f"SELECT {columns} FROM audit_leaf ORDER BY seq")]
    db.close()
    return rows
