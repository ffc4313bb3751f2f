"""One connection before the store is open, and the pool of them afterwards: to a primary."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from watchword.core.ports import Clock, Millis
from watchword_adapters.stores.postgresql.calls import AnyConnection, Pool
from watchword_adapters.stores.postgresql.hosts import Hosts
from watchword_adapters.stores.postgresql.place import Place

CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 5.0
_FREEZE = "UPDATE watchword.stamp SET clock_frozen = $1 WHERE clock_frozen IS DISTINCT FROM $1"
# What ends on the server what we have given up and could not cancel, the way being cut; and
# what no role's or database's setting may change under us.
_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "default_transaction_isolation": "read committed",
}
_SET = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
_HISTORY = "watchword.require_history()"


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[AnyConnection]:
    """Return one connection, for what is done before the store is open."""
    connection = await Hosts(dsn, CONNECT_SECONDS).connect(statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def open_pool(
    place: Place, dsn: str, size: int, clock: Clock | None = None, *, stamped: bool = True
) -> Pool:
    """Return a pool of up to `size` connections, each of them to a primary.

    Where the database is `stamped`, a connection that finds another history there than
    the stamp's is refused. With a `clock` the store's own stands still at that one's time,
    whenever a connection is taken: only a dev store lets itself be told so.
    """
    return await asyncpg.create_pool(
        dsn,
        connect=Hosts(dsn, CONNECT_SECONDS).connect,
        min_size=min(2, size),
        max_size=size,
        command_timeout=_COMMAND_SECONDS,
        statement_cache_size=100 if place.prepared_statements else 0,
        max_cached_statement_lifetime=0,
        init=_Entrance(settings=place.prepared_statements, stamped=stamped),
        setup=None if clock is None else _Follower(clock),
        # Nobody leaves anything behind in a session, and a reset is a round trip.
        reset=_keep,
    )


class _Entrance:
    """Sets what a new connection needs and refuses the wrong database, in one round trip.

    Without prepared statements a pooler stands between, whose sessions belong to nobody:
    there the role's own settings must say the same.
    """

    def __init__(self, *, settings: bool, stamped: bool) -> None:
        parts = [_SET] * settings + [_HISTORY] * stamped
        self._statement = f"SELECT {', '.join(parts)}" if parts else ""

    async def __call__(self, connection: AnyConnection) -> None:
        if self._statement:
            await connection.execute(self._statement)


class _Follower:
    """Sets the store's time when a connection is taken and the clock has moved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: Millis | None = None

    async def __call__(self, connection: AnyConnection) -> None:
        now = self._clock.now()
        if now != self._told:
            await connection.execute(_FREEZE, now)
            self._told = now


async def _keep(_: AnyConnection) -> None:
    return
