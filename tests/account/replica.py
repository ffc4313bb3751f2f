"""The tenancy in PostgreSQL, as one of several replicas has it, at a time of the test's own."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg

import watchword_adapters.stores.postgresql as adapter
from watchword.account.store import AccountStore
from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import ChangeBus, Clock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.postgresql.account import PostgresAccountStore
from watchword_adapters.stores.postgresql.calls import Pool
from watchword_adapters.stores.postgresql.tenancy import TenancyWatch

_BASE = """
CREATE SCHEMA watchword;
CREATE TABLE watchword.audit_leaf (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text NOT NULL, object_id text NOT NULL, version bigint NOT NULL,
    kind text NOT NULL, time bigint NOT NULL, mac bytea NOT NULL, commitment bytea NOT NULL
);
CREATE TABLE watchword.test_time (now bigint NOT NULL);
INSERT INTO watchword.test_time VALUES (0);
CREATE FUNCTION watchword.now() RETURNS bigint LANGUAGE sql VOLATILE
    AS 'SELECT now FROM watchword.test_time';
"""


async def migrate(dsn: str) -> None:
    """Make the tables of a new store."""
    directory = Path(adapter.__file__).parent / "migrations"
    connection = await asyncpg.connect(dsn)
    await connection.execute(_BASE)
    await connection.execute((directory / "0002_account.sql").read_text())
    await connection.close()


async def set_time(pool: Pool, clock: Clock) -> None:
    """Let the store's clock show what `clock` does."""
    await pool.execute("UPDATE watchword.test_time SET now = $1", clock.now())


@asynccontextmanager
async def opened_pool(dsn: str) -> AsyncIterator[Pool]:
    """Return a pool as a process would have one."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        yield pool


def store_over(pool: Pool, bus: ChangeBus, watch: TenancyWatch | None = None) -> AccountStore:
    """Return a replica's store; each has the same root keys."""
    leaves = LeafMaker(MemoryKeyProvider())
    return PostgresAccountStore(pool, leaves, bus, watch or TenancyWatch(pool, bus))


async def leaves(pool: Pool) -> list[Leaf]:
    """Return the audit log."""
    columns = ", ".join(Leaf._fields)
    rows = await pool.fetch(f"SELECT {columns} FROM watchword.audit_leaf ORDER BY seq")
    return [Leaf._make(row) for row in rows]


class _Timed:
    def __init__(self, store: AccountStore, pool: Pool, clock: Clock) -> None:
        self._store, self._pool, self._clock = store, pool, clock

    def __getattr__(self, name: str) -> object:
        method: Callable[..., Awaitable[Any]] = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def at_its_time(*values: object, **named: object) -> object:
            await set_time(self._pool, self._clock)
            return await method(*values, **named)

        return at_its_time


def timed(store: AccountStore, pool: Pool, clock: Clock) -> AccountStore:
    """Return the store, which finds the database's clock at `clock` in every call."""
    return cast("AccountStore", _Timed(store, pool, clock))
