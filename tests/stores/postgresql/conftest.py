"""A migrated database for each test, and stores that are open on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.support import postgres

from watchword.core.ports import ChangeBus, Clock, StoreMeter
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.place import Place

TABLES = (
    "verification",
    "send",
    "send_times",
    "guess_guard",
    "approved_binding",
    "account_budget",
    "request",
    "audit_leaf",
)


@asynccontextmanager
async def opened(
    dsn: str,
    *,
    world: str = "dev",
    clock: Clock | None = None,
    bus: ChangeBus | None = None,
    provider: MemoryKeyProvider | None = None,
    create: bool = False,
    meter: StoreMeter | None = None,
    prepared_statements: bool = True,
) -> AsyncIterator[PostgresStores]:
    stores = await PostgresStores.open(
        Place(dsn, pool=4, prepared_statements=prepared_statements),
        world=world,
        clock=clock or FakeClock(),
        bus=bus or RecordingBus(),
        provider=provider or MemoryKeyProvider(),
        create=create,
        meter=meter,
    )
    try:
        yield stores
    finally:
        await stores.close()


async def migrate(dsn: str) -> None:
    """Make a store in an empty database."""
    async with opened(dsn, create=True):
        pass


async def empty(dsn: str) -> None:
    """Take every row out of a store, and leave the store."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"TRUNCATE {', '.join(f'watchword.{name}' for name in TABLES)}")
    await connection.close()


@pytest.fixture
async def dsn(postgres_server: postgres.Server) -> AsyncIterator[str]:
    """A dev store of the test's own."""
    async with postgres.fresh_database(postgres_server, migrate) as made:
        yield made
