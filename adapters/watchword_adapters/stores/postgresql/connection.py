"""Where the database is, and the pool of connections to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from watchword.core.ports import Clock, Millis
from watchword_adapters.stores.postgresql.calls import AnyConnection, Pool

_CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 10.0
_FREEZE = "UPDATE watchword.stamp SET clock_frozen = $1 WHERE clock_frozen IS DISTINCT FROM $1"


class Place(NamedTuple):
    """Where a store is. `keys_dsn` is where its keys are, "" for the same database.

    `prepared_statements` must be off behind a PgBouncer before 1.21 in transaction mode.
    """

    dsn: str
    keys_dsn: str = ""
    pool: int = 10
    prepared_statements: bool = True


def place_of(settings: Mapping[str, object]) -> Place:
    """Return what the configuration's section says. Raises `ValueError`."""
    dsn = _dsn(settings, "dsn")
    if not dsn:
        raise ValueError("store.dsn: say where PostgreSQL is, or name a file that does (dsn_file)")
    return Place(
        dsn,
        _dsn(settings, "keys_dsn"),
        int(str(settings.get("pool", Place._field_defaults["pool"]))),
        bool(settings.get("prepared_statements", True)),
    )


@asynccontextmanager
async def connect(place: Place) -> AsyncIterator[AnyConnection]:
    """Return one connection, for what is done before the store is open."""
    connection = await asyncpg.connect(
        place.dsn, timeout=_CONNECT_SECONDS, statement_cache_size=0
    )
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


def _dsn(settings: Mapping[str, object], name: str) -> str:
    value, file = str(settings.get(name) or ""), str(settings.get(f"{name}_file") or "")
    if value and file:
        raise ValueError(f"store.{name}: both it and store.{name}_file are set")
    if not file:
        return value
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"store.{name}_file: {file} cannot be read") from None
