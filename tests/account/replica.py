"""The tenancy in PostgreSQL, as one of several replicas has it, at a time of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from watchword.account.store import AccountStore
from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import ChangeBus, Clock
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.account import PostgresAccountStore
from watchword_adapters.stores.postgresql.calls import Pool
from watchword_adapters.stores.postgresql.connection import open_pool
from watchword_adapters.stores.postgresql.place import Place
from watchword_adapters.stores.postgresql.tenancy import TenancyWatch


async def migrate(dsn: str) -> None:
    """Make a dev store, whose clock stands where a test's does."""
    stores = await PostgresStores.open(
        Place(dsn, pool=2),
        world="dev",
        clock=FakeClock(),
        bus=RecordingBus(),
        provider=MemoryKeyProvider(),
        create=True,
    )
    await stores.close()


@asynccontextmanager
async def opened_pool(dsn: str, clock: Clock) -> AsyncIterator[Pool]:
    """Return a pool as a process would have one; the store's clock follows `clock`."""
    pool = await open_pool(Place(dsn), dsn, 4, clock)
    try:
        yield pool
    finally:
        await pool.close()


def store_over(pool: Pool, bus: ChangeBus, watch: TenancyWatch | None = None) -> AccountStore:
    """Return a replica's store; each has the same root keys."""
    leaves = LeafMaker(MemoryKeyProvider())
    return PostgresAccountStore(pool, leaves, bus, watch or TenancyWatch(pool, bus))


async def leaves(pool: Pool) -> list[Leaf]:
    """Return the audit log."""
    columns = ", ".join(Leaf._fields)
    rows = await pool.fetch(f"SELECT {columns} FROM watchword.audit_leaf ORDER BY seq")
    return [Leaf._make(row) for row in rows]
