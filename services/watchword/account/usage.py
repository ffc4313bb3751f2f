"""Counts what applications used: in memory on the hot path, in the store every few seconds."""

import asyncio
import logging
from collections import deque

from watchword.account.rows import UsageCount, UsageKey
from watchword.account.store import AccountStore
from watchword.core.errors import DomainError
from watchword.core.ids import epoch_of
from watchword.core.ports import SECOND, Clock, Millis

_INTERVAL: Millis = 5 * SECOND
_CAPACITY = 50_000
_BATCH = 500

_log = logging.getLogger(__name__)


class UsageRecorder:
    """A `tenancy.usage.UsageMeter` that adds up in memory and is flushed to the store.

    Approximate after a crash: what was counted since the last flush is lost, and nothing
    that guards a limit relies on it. Labels are from closed sets, so the memory holds few
    counters; beyond `capacity` of them new ones are not counted until the next flush.
    """

    def __init__(
        self,
        store: AccountStore,
        clock: Clock,
        interval: Millis = _INTERVAL,
        capacity: int = _CAPACITY,
    ) -> None:
        """Flush into `store` every `interval` while `run` runs."""
        self._store = store
        self._clock = clock
        self._interval = interval
        self._capacity = capacity
        self._counts: dict[UsageKey, UsageCount] = {}

    def record(
        self,
        account_id: str,
        application_id: str,
        channel: str,
        region_code: str,
        carrier: str,
        starts: int = 0,
        sends: int = 0,
        approvals: int = 0,
    ) -> None:
        """Add to today's counters; returns at once and raises nothing."""
        day = epoch_of(self._clock.now())
        key = UsageKey(account_id, application_id, day, str(channel), region_code, carrier)
        self._add(key, UsageCount(starts, sends, approvals))

    async def flush(self) -> None:
        """Write what was counted; what the store cannot take now is kept for the next time.

        Raises `DomainError` where the store cannot serve.
        """
        waiting = deque(self._counts.items())
        self._counts = {}
        while waiting:
            batch = dict(waiting.popleft() for _ in range(min(len(waiting), _BATCH)))
            try:
                await self._store.add_usage(batch)
            except BaseException:
                for key, count in (*batch.items(), *waiting):
                    self._add(key, count)
                raise

    async def run(self) -> None:
        """Flush every interval until cancelled; the owner flushes once more after that."""
        while True:
            await asyncio.sleep(self._interval / SECOND)
            try:
                await self.flush()
            except DomainError as error:
                _log.warning("usage not written", extra={"reason": error.reason})

    def _add(self, key: UsageKey, count: UsageCount) -> None:
        known = self._counts.get(key)
        if known is None and len(self._counts) >= self._capacity:
            return
        self._counts[key] = UsageCount._make(
            a + b for a, b in zip(known or UsageCount(), count, strict=True)
        )
