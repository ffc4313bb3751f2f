"""What is done before a database is served that became the primary with another history.

A fail-over to a replica that had not received everything loses what was acknowledged last: a
code that was used would look unused. So all that is pending is voided first, whether or
not something is missing, for nobody can tell.
"""

import asyncio
import logging
from collections.abc import Callable

import asyncpg

from watchword.audit.leaf import NONCE_BYTES, LeafMaker
from watchword.core.ports import Entropy
from watchword_adapters.stores.postgresql.calls import FAULTS, AnyConnection
from watchword_adapters.stores.postgresql.connection import connect
from watchword_adapters.stores.postgresql.engine import Seal

_TAKE_OVER = "SELECT watchword.take_over($1)"
# Fifty thousand pending verifications take some seconds, and whoever comes second waits.
_UNHURRIED = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
_AT_MOST_SECONDS = 600.0
_PAUSE_SECONDS = 0.25
# The leaves name no process, so that every replica's tail tells of them.
_NOBODY = 0

_log = logging.getLogger(__name__)


async def take_over(db: AnyConnection, seal: Seal) -> int:
    """Void what is pending where the history is not the stamp's; return how many that were."""
    async with db.transaction():
        await db.execute(_UNHURRIED)
        voided: int = await db.fetchval(_TAKE_OVER, seal)
    if voided:
        _log.warning("PostgreSQL: after a fail-over %d pending verifications are void", voided)
    return voided


def seal_for_all(leaves: LeafMaker, entropy: Entropy) -> Seal:
    """Return what makes the leaves of a take-over."""
    nonce = entropy.token(NONCE_BYTES)
    return Seal(nonce, leaves.delegate(nonce), _NOBODY)


class Succession:
    """Takes over, one attempt at a time, for a process that serves and was refused."""

    def __init__(self, dsn: str, seal: Callable[[], Seal]) -> None:
        """Do nothing yet."""
        self._dsn = dsn
        self._seal = seal
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin an attempt where none is under way; who was refused tries again later."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._attempt())

    async def close(self) -> None:
        """Give up an attempt that is under way; its transaction is undone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _attempt(self) -> None:
        try:
            async with asyncio.timeout(_AT_MOST_SECONDS), connect(self._dsn) as db:
                await take_over(db, self._seal())
        except FAULTS as error:
            _log.warning("PostgreSQL cannot serve", extra={"error": _name(error)})
            await asyncio.sleep(_PAUSE_SECONDS)


def _name(error: Exception) -> str:
    absent = isinstance(error, asyncpg.TargetServerAttributeNotMatched)
    return "no primary" if absent else type(error).__name__
