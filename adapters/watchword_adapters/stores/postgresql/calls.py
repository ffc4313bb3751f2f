"""Calls that are not on the hot path: each takes a connection, and never waits for long."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import SystemRandom
from typing import TypeAlias, TypeVar

import asyncpg

from watchword.core.errors import Unavailable
from watchword.core.ports import Millis

# asyncpg's classes take no parameters when the program runs.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
AnyConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | Connection"
T = TypeVar("T")

PATIENCE_SECONDS = 3.0
"""How long a call may take, the wait for a connection included."""

_RETRIES = 3
_CHANCE = SystemRandom()
_PAUSE_SECONDS = 0.02
_RETRY_AFTER: Millis = 1_000
# Both mean that the server has undone everything.
_UNDONE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
# What a server that cannot serve, or a way to it that is cut, raises here; the third is
# what the driver makes of a server that dies in the midst of its answer.
FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# A standby, or a primary whose history is not the stamp's. (The driver's own name for "none
# of the hosts is a primary" is an `InternalClientError`.)
NOT_OURS = (asyncpg.ReadOnlySQLTransactionError, asyncpg.ObjectNotInPrerequisiteStateError)

_log = logging.getLogger(__name__)


@asynccontextmanager
async def connected(
    pool: Pool, text: str = "the store cannot serve now", patience: float = PATIENCE_SECONDS
) -> AsyncIterator[Connection]:
    """Return a connection of the pool; every fault of the database becomes `Unavailable`.

    The fault's own text, which may quote what was stored, goes no further.
    """
    try:
        async with asyncio.timeout(patience), pool.acquire(timeout=patience) as connection:
            yield connection
    except NOT_OURS:
        # Look for the primary anew.
        await pool.expire_connections()
        raise Unavailable(text, retry_after=_RETRY_AFTER) from None
    except FAULTS as error:
        _log.warning("PostgreSQL cannot serve", extra={"error": type(error).__name__})
        raise Unavailable(text, retry_after=_RETRY_AFTER) from None


async def in_transaction(
    pool: Pool,
    work: Callable[[Connection], Awaitable[T]],
    text: str = "the store cannot serve now",
    patience: float = PATIENCE_SECONDS,
) -> T:
    """Run `work` in one transaction; return once it is durable, whatever the role's settings.

    `work` runs again, three times at most, where the server undid it for another's sake,
    so it must have no effect but on its transaction. Raises `Unavailable`; after a commit
    whose answer was lost, what was done is unknown.
    """
    async with connected(pool, text, patience) as connection:
        for attempt in range(_RETRIES):
            try:
                return await _once(connection, work)
            except _UNDONE:
                # Those that met once should not meet again.
                most = _PAUSE_SECONDS * 2**attempt
                await asyncio.sleep(_CHANCE.uniform(0, most))
        return await _once(connection, work)


async def _once(connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
    async with connection.transaction():
        await connection.execute(_DURABLE)
        return await work(connection)
