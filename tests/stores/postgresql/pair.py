"""A primary and its streaming replica, which can be promoted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.support import postgres

DATABASE = "watchword"
_PATIENCE = 30.0
_STREAMING = "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'"
_SYNC = "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'"
_CAUGHT_UP = "SELECT count(*) > 0 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"


@dataclass
class Pair:
    """Both servers; `dsn` names both hosts."""

    primary: postgres.OwnServer
    replica: postgres.OwnServer

    @property
    def dsn(self) -> str:
        first, second = (urlsplit(each.dsn(DATABASE)) for each in (self.primary, self.replica))
        host = second.netloc.rpartition("@")[2]
        return urlunsplit(first._replace(netloc=f"{first.netloc},{host}"))

    async def synchronous(self) -> None:
        """Acknowledge nothing any more that the replica has not."""
        await self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.primary.execute("SELECT pg_reload_conf()")
        await until(lambda: says(self.primary.dsn(), _SYNC))

    async def cut(self) -> None:
        """Let the replica receive no more of what the primary acknowledges."""
        await until(lambda: says(self.primary.dsn(), _CAUGHT_UP))
        await self.replica.execute("ALTER SYSTEM SET primary_conninfo = ''")
        await self.replica.execute("SELECT pg_reload_conf()")
        await until(lambda: says(self.primary.dsn(), f"SELECT NOT ({_STREAMING})"))

    async def fail_over(self) -> None:
        """Kill the primary, then promote the replica."""
        await asyncio.to_thread(self.primary.kill)
        await self.replica.execute("SELECT pg_promote()")
        await until(lambda: says(self.replica.dsn(), "SELECT NOT pg_is_in_recovery()"))


@asynccontextmanager
async def pair_of_servers(migrate: postgres.Migrate) -> AsyncIterator[Pair]:
    """Run both, the database migrated."""
    programs = postgres.local_programs() or postgres.packaged_programs()
    if programs is None:
        postgres.skip_without()
        return
    with postgres.own_server(programs) as primary:
        await primary.execute(f"CREATE DATABASE {DATABASE}")
        await migrate(primary.dsn(DATABASE))
        with postgres.own_server(programs, primary) as replica:
            await until(lambda: says(primary.dsn(), _STREAMING))
            yield Pair(primary, replica)


async def says(dsn: str, query: str) -> bool:
    """Return the one value that a query yields."""
    db = await asyncpg.connect(dsn)
    try:
        return bool(await db.fetchval(query))
    finally:
        await db.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process brings about."""
    async with asyncio.timeout(_PATIENCE):
        while not await holds():  # noqa: ASYNC110 - nobody here is told
            await asyncio.sleep(0.05)
