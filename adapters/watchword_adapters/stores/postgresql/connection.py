"""One connection before the store is open, and the pool of them afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from watchword.core.ports import Clock, Millis
from watchword_adapters.stores.postgresql.calls import AnyConnection, Pool
from watchword_adapters.stores.postgresql.place import Place

_CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 5.0
_FREEZE = "UPDATE watchword.stamp SET clock_frozen = $1 WHERE clock_frozen IS DISTINCT FROM $1"


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[AnyConnection]:
    """Return one connection, for what is done before the store is open."""
    connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def open_pool(place: Place, dsn: str, size: int, clock: Clock | None = None) -> Pool:
    """Return a pool of up to `size` connections.

    With a `clock` the store's own stands still at that one's time, whenever a connection
    is taken: only a dev store lets itself be told so.
    """
    follow = None if clock is None else _Follower(clock)
    return await asyncpg.create_pool(
        dsn,
        min_size=min(2, size),
        max_size=size,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        statement_cache_size=100 if place.prepared_statements else 0,
        max_cached_statement_lifetime=0,
        setup=follow,
        # Nobody leaves anything behind in a session, and a reset is a round trip.
        reset=_keep,
    )


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
