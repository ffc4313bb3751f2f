"""`Outbox` on PostgreSQL: leases by `SKIP LOCKED`, so that replicas share the work."""

import asyncio
from collections.abc import Sequence

from watchword.core.ports import Millis
from watchword.delivery.carrier import Receipt, ReceiptState
from watchword.delivery.outbox import NO_CARRIERS, Claim, Claimed, OutboxDepth, Result, Send
from watchword.fraud.limits import PhoneLimits
from watchword_adapters.stores.postgresql.columns import send_of
from watchword_adapters.stores.postgresql.engine import Engine

_CLAIM = "SELECT * FROM watchword.claim($1, $2, $3, $4, $5)"
_SETTLE = "SELECT * FROM watchword.settle($1, $2, $3)"
_RECEIVE = "SELECT * FROM watchword.receive($1, $2, $3)"
_WANTED = (
    "SELECT FROM watchword.send AS s"
    " LEFT JOIN watchword.verification AS v ON v.verification_id = s.subject_id"
    " WHERE s.send_id = $1 AND s.state = 'QUEUED'"
    " AND (s.kind = 'NOTICE' OR v.state IN ('PENDING', 'EXPIRED'))"
)
# Each carrier's queue by name and the time of its head, by skipping through the index.
_QUEUE_HEADS = (
    "WITH RECURSIVE queue (name) AS ("
    " SELECT min(carrier) FROM watchword.send WHERE state = 'QUEUED' UNION ALL"
    " SELECT (SELECT min(s.carrier) FROM watchword.send AS s"
    " WHERE s.state = 'QUEUED' AND s.carrier > queue.name)"
    " FROM queue WHERE queue.name IS NOT NULL)"
    " SELECT min((SELECT min(greatest(s.due_time, s.lease_time)) FROM watchword.send AS s"
    " WHERE s.state = 'QUEUED' AND s.carrier = queue.name)) AS due"
    " FROM queue WHERE name <> ALL ($1::text[])"
)
_DEPTH = (
    "SELECT count(*) AS waiting, coalesce(max(clock.now - due_time), 0) AS age"
    " FROM (SELECT watchword.now() AS now) AS clock, watchword.send WHERE state = 'QUEUED'"
)


class PostgresOutbox:
    """Implements `Outbox`; see there for what each method means and raises."""

    def __init__(self, engine: Engine) -> None:
        """Run on `engine`."""
        self._engine = engine
        self._claiming = asyncio.Lock()

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        """Lease up to `limit` due sends, and end those that must not go."""
        full = sorted(except_carriers)
        # One after another, for two at once would each leave out what the other takes first.
        async with self._claiming:
            seal = self._engine.seal()
            rows = await self._engine.fetch(_CLAIM, limit, lease, limits, full, seal)
        self._engine.publish(row["changed"] for row in rows)
        claimed = Claimed([], [])
        for row in rows:
            send = send_of(row["send"])
            if row["ended"]:
                claimed.ended.append(send)
            else:
                sealed = (row["recipient_sealed"], row["custom_sealed"], row["message"])
                claimed.claims.append(Claim(send, *sealed))
        return claimed

    async def wanted(self, send_id: str) -> bool:
        """Tell whether a send should still go."""
        return bool(await self._engine.fetch(_WANTED, send_id))

    async def settle(self, results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        """Record what came of attempts, all or none."""
        if not results:
            return []
        rows = await self._engine.fetch(_SETTLE, results, limits, self._engine.seal())
        self._engine.publish(row["changed"] for row in rows)
        return [row["send"] and send_of(row["send"]) for row in rows]

    async def receive(self, receipt: Receipt) -> Send | None:
        """Record a delivery receipt."""
        delivered = receipt.state is ReceiptState.DELIVERED
        seal = self._engine.seal()
        (row,) = await self._engine.fetch(_RECEIVE, receipt.send_id, delivered, seal)
        self._engine.publish([row["changed"]])
        return row["send"] and send_of(row["send"])

    async def next_due_time(self, except_carriers: frozenset[str] = NO_CARRIERS) -> Millis | None:
        """Return when the next send is due or its lease ends."""
        (row,) = await self._engine.fetch(_QUEUE_HEADS, sorted(except_carriers))
        due: Millis | None = row["due"]
        return due

    async def depth(self) -> OutboxDepth:
        """Return how much waits."""
        (row,) = await self._engine.fetch(_DEPTH)
        return OutboxDepth(row["waiting"], max(0, row["age"]))
