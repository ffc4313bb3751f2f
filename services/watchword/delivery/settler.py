"""Records what came of attempts: results that come in together are one command of the store."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from watchword.core.errors import Unavailable
from watchword.core.ports import SECOND, Clock, Entropy, Millis
from watchword.delivery.attempt import jitter
from watchword.delivery.lane import Lane
from watchword.delivery.outbox import Claim, Outbox, Result, Send
from watchword.fraud.limits import PhoneLimits
from watchword.telemetry.logs import Log

LONGEST_BACKOFF: Millis = 5 * SECOND
_BATCH = 64


class Ended(NamedTuple):
    """An attempt that is over and not yet recorded; `lane` is None for an unknown carrier."""

    lane: Lane | None
    claim: Claim
    result: Result


class Settler:
    """Gathers the results of one turn of the event loop and settles them together."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        limits: PhoneLimits,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        backoff: Millis,
        halt: asyncio.Event,
        settled: Callable[[Lane | None, Send | None], None],
    ) -> None:
        """Call `settled` once for each result, with the send as it stands then.

        With None where nobody knows: the row is gone, or the result could not be recorded.
        After an outage of the store begin again after `backoff`; once `halt` is set, not.
        """
        self._outbox = outbox
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._backoff = backoff
        self._halt = halt
        self._settled = settled
        self._waiting: list[Ended] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, ended: Ended) -> None:
        """Have a result recorded; whatever comes in this turn goes with it."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(ended)

    def flush(self) -> None:
        """Begin to record what waits."""
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), _BATCH):
            task = asyncio.create_task(self._settle(waiting[first : first + _BATCH]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self, grace: Millis) -> None:
        """Wait for at most `grace` milliseconds until everything is recorded."""
        self.flush()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace / SECOND)

    async def _settle(self, batch: list[Ended]) -> None:
        """Record a batch; while the store is away, as long as the leases make it useful."""
        pause = self._backoff
        while batch:
            try:
                sends = await self._outbox.settle([each.result for each in batch], self._limits)
            except Unavailable:
                batch = self._useful(batch)
                await nap(self._halt, self._entropy, pause)
                pause = min(2 * pause, LONGEST_BACKOFF)
            except Exception as error:  # noqa: BLE001 - the lease ends and another attempt follows
                await self._alone(batch, error)
                return
            else:
                for each, send in zip(batch, sends, strict=True):
                    self._settled(each.lane, send)
                return

    async def _alone(self, batch: list[Ended], error: Exception) -> None:
        """Record what of a batch can be: one row that cannot be written holds up no other."""
        if len(batch) > 1:
            for each in batch:
                await self._settle([each])
            return
        self._log.error("a send failed", where="settle", error=type(error).__name__)
        self._settled(batch[0].lane, None)

    def _useful(self, batch: list[Ended]) -> list[Ended]:
        """Return those whose lease still runs, and give up the others; all once stopped."""
        now = self._clock.now()
        kept = []
        for each in batch:
            if not self._halt.is_set() and now < each.claim.send.lease_time:
                kept.append(each)
                continue
            self._log.warning("a result was lost", send_id=each.result.send_id)
            self._settled(each.lane, None)
        return kept


async def nap(halt: asyncio.Event, entropy: Entropy, pause: Millis) -> None:
    """Sleep for half of `pause` milliseconds at least and the whole at most, or until `halt`."""
    await sleep(halt, int(pause * (0.5 + jitter(entropy) / 2)))


async def sleep(until: asyncio.Event, longest: Millis) -> None:
    """Sleep for `longest` milliseconds or until told."""
    try:
        async with asyncio.timeout(longest / SECOND):
            await until.wait()
    except TimeoutError:
        pass
