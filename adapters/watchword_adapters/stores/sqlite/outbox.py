"""`Outbox` on SQLite: the shared atomic commands over the writer's transactions."""

import sqlite3
from collections.abc import Sequence

from watchword.audit.leaf import LeafMaker
from watchword.core.ports import Millis
from watchword.delivery.carrier import Receipt
from watchword.delivery.outbox import NO_CARRIERS, Claimed, OutboxDepth, Result, Send
from watchword.fraud.limits import PhoneLimits
from watchword.verification import outbox_commands
from watchword.verification.outbox_commands import ClaimCommand
from watchword_adapters.stores.sqlite.engine import Engine
from watchword_adapters.stores.sqlite.rows import QUEUE_HEADS, SqliteRows, send_and_verification

_DEPTH = "SELECT count(*), coalesce(min(due_time), ?1) FROM send WHERE state = 'QUEUED'"


class SqliteOutbox:
    """Implements `Outbox`; see there for what each method means and raises."""

    def __init__(self, engine: Engine, leaves: LeafMaker) -> None:
        """Run on `engine`; `leaves` makes what goes into the audit log."""
        self._engine = engine
        self._leaves = leaves

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        """Lease up to `limit` due sends, and end those that must not go."""
        leaves = self._leaves
        command = ClaimCommand(limit, lease, limits, except_carriers)
        return await self._engine.write(
            lambda tx: outbox_commands.claim(SqliteRows(tx), leaves, command)
        )

    async def wanted(self, send_id: str) -> bool:
        """Tell whether a send should still go."""

        def query(db: sqlite3.Connection) -> bool:
            return outbox_commands.wanted(*send_and_verification(db, send_id))

        return self._engine.look(query)

    async def settle(self, results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        """Record what came of attempts, all or none."""
        leaves = self._leaves
        return await self._engine.write(
            lambda tx: outbox_commands.settle(SqliteRows(tx), leaves, results, limits)
        )

    async def receive(self, receipt: Receipt) -> Send | None:
        """Record a delivery receipt."""
        leaves = self._leaves
        return await self._engine.write(
            lambda tx: outbox_commands.receive(SqliteRows(tx), leaves, receipt)
        )

    async def next_due_time(self, except_carriers: frozenset[str] = NO_CARRIERS) -> Millis | None:
        """Return when the next send is due or its lease ends."""

        def query(db: sqlite3.Connection) -> Millis | None:
            heads = db.execute(QUEUE_HEADS).fetchall()
            return min((time for name, time in heads if name not in except_carriers), default=None)

        return self._engine.look(query)

    async def depth(self) -> OutboxDepth:
        """Return how much waits."""
        now = self._engine.now()
        waiting, oldest = self._engine.look(lambda db: db.execute(_DEPTH, (now,)).fetchone())
        return OutboxDepth(waiting, max(0, now - oldest))
