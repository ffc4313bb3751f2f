"""Calls that are not on the hot path: a transaction each, tried again where that is safe."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import asyncpg

from watchword.core.errors import Unavailable
from watchword.core.ports import Millis

# asyncpg's classes take no parameters when the program runs.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

T = TypeVar("T")

_ATTEMPTS = 4
_PAUSE_SECONDS = 0.01
_RETRY_AFTER: Millis = 1_000
# Both mean that the server has undone everything.
_UNDONE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
# What a server that cannot serve, or a way to it that is cut, raises here.
_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@contextmanager
def unavailable(text: str = "the store cannot serve now") -> Iterator[None]:
    """Turn every fault of the database into `Unavailable`; its own texts go no further."""
    try:
        yield
    except _FAULTS:
        raise Unavailable(text, retry_after=_RETRY_AFTER) from None


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run `work` in one transaction; return once it is durable.

    `work` runs again, three times at most, where the server undid it for another's sake,
    so it must have no effect but on its transaction. Raises `Unavailable`; after a commit
    whose answer was lost, what was done is unknown.
    """
    with unavailable():
        for attempt in range(1, _ATTEMPTS):
            try:
                return await _once(pool, work)
            except _UNDONE:
                # Those that met once should not meet again.
                await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * 2**attempt))  # noqa: S311
        return await _once(pool, work)


async def _once(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    async with pool.acquire() as connection, connection.transaction():
        return await work(connection)
