"""The dispatcher: claims due messages and hands them to carriers, one short task a send."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

from watchword.core.errors import DomainError, Unavailable
from watchword.core.ports import SECOND, ChangeBus, Clock, Entropy, Millis
from watchword.delivery.attempt import AttemptMeter, Attempts
from watchword.delivery.carrier import Carrier
from watchword.delivery.composer import Composer
from watchword.delivery.lane import Lane, room
from watchword.delivery.outbox import (
    OUTBOX_TOPIC,
    Claim,
    Outbox,
    ResultKind,
    Send,
    SendState,
)
from watchword.delivery.receipts import ReceiptMeter
from watchword.delivery.router import Router
from watchword.delivery.settler import LONGEST_BACKOFF, Ended, Settler, nap, sleep
from watchword.fraud.limits import PhoneLimits
from watchword.telemetry.logs import Log

_EMPTY_PAUSE: Millis = 50


class DeliveryMeter(AttemptMeter, ReceiptMeter, Protocol):
    """Counts what the dispatcher does; labels are from closed sets, never ids or numbers."""

    def outbox(self, waiting: int, oldest_age: Millis) -> None:
        """Set how many sends wait, and for how long the oldest has been due."""
        ...


class DispatchSettings(NamedTuple):
    """How the dispatcher works; times in milliseconds.

    `slots` are the calls in flight to one carrier, `carrier_slots` those of carriers that
    differ; `call_timeout` boxes one call; `lease` must cover waiting in line, a call and
    its record; `tick` is how often to look without being told; `backoff` is the first
    pause while the store is unavailable.
    """

    slots: int = 64
    carrier_slots: Mapping[str, int] = {}
    call_timeout: Millis = 10 * SECOND
    lease: Millis = 40 * SECOND
    tick: Millis = 5 * SECOND
    backoff: Millis = 100


class Dispatcher:
    """Works the outbox until it is stopped; a `Courier` while it does.

    An attempt is durable before its call begins (`Outbox.claim` records it, or the
    transaction that queued the message), so a crash at any moment loses nothing and sends
    at most once more. Each carrier has a lane of its own: what it cannot take stays in
    the outbox and leaves room for others.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        carriers: Mapping[str, Carrier],
        router: Router,
        composer: Composer,
        limits: PhoneLimits,
        clock: Clock,
        entropy: Entropy,
        bus: ChangeBus,
        meter: DeliveryMeter,
        log: Log,
        settings: DispatchSettings | None = None,
    ) -> None:
        """Prepare; nothing happens before `run`. Raises `ValueError` for a short lease."""
        settings = settings or DispatchSettings()
        if settings.lease <= 2 * settings.call_timeout:
            raise ValueError("dispatch.lease must be longer than twice dispatch.call_timeout")
        self._outbox = outbox
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._bus = bus
        self._meter = meter
        self._log = log
        self._settings = settings
        self._attempts = Attempts(
            outbox=outbox,
            composer=composer,
            router=router,
            clock=clock,
            entropy=entropy,
            meter=meter,
            log=log,
            call_timeout=settings.call_timeout,
        )
        self._lanes = {
            name: Lane(name, carrier, settings.carrier_slots.get(name, settings.slots))
            for name, carrier in carriers.items()
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._halt = asyncio.Event()
        self._none_reserved = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._settler = Settler(
            outbox=outbox,
            limits=limits,
            clock=clock,
            entropy=entropy,
            log=log,
            backoff=settings.backoff,
            halt=self._halt,
            settled=self._settled,
        )

    # ------------------------------------------------------------------ the short way

    def reserve(self, carrier: str) -> Millis:
        """Keep a place in the carrier's lane; see `Courier`."""
        lane = self._lanes.get(carrier)
        if lane is None or not lane.near or self._ended.is_set() or self._halt.is_set():
            return 0
        lane.load += 1
        self._reserved += 1
        return self._settings.lease

    def deliver(self, claim: Claim) -> None:
        """Send what was leased and committed; see `Courier`.

        What comes after the stop is left to whoever finds its lease run out.
        """
        self._unreserve()
        lane = self._lanes[claim.send.carrier]
        if self._closed:
            self._leave(lane)
        else:
            self._send(lane, claim)

    def release(self, carrier: str) -> None:
        """Give back a place; see `Courier`."""
        self._unreserve()
        self._leave(self._lanes[carrier])

    def _unreserve(self) -> None:
        self._reserved -= 1
        if not self._reserved:
            self._none_reserved.set()

    # ------------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Claim and send until `stop`; an outage of the store is waited out."""
        self._ended.clear()
        try:
            async with self._bus.subscribe(OUTBOX_TOPIC) as changes:
                helpers = [
                    asyncio.create_task(self._listen(changes)),
                    asyncio.create_task(self._tick()),
                ]
                try:
                    await self._loop()
                finally:
                    for helper in helpers:
                        helper.cancel()
                    await asyncio.gather(*helpers, return_exceptions=True)
        finally:
            self._ended.set()

    async def stop(self, grace: Millis | None = None) -> None:
        """Claim nothing more, let calls finish for `grace`, cut off and record the rest.

        `grace` is in milliseconds; by default a call's longest time.
        """
        self._halt.set()
        self._wake.set()
        await self._ended.wait()
        grace = self._settings.call_timeout if grace is None else grace
        if self._reserved:
            self._none_reserved.clear()
            await sleep(self._none_reserved, grace)
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace / SECOND)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=grace / SECOND)
        await self._settler.drain(grace)

    async def _loop(self) -> None:
        pause = self._settings.backoff
        while not self._halt.is_set():
            try:
                await self._round()
            except Unavailable:
                self._log.warning("the outbox is unavailable", where="claim")
            except Exception as error:  # noqa: BLE001 - a dispatcher that dies sends nothing
                self._log.error("the outbox failed", where="claim", error=type(error).__name__)
            else:
                pause = self._settings.backoff
                continue
            await nap(self._halt, self._entropy, pause)
            pause = min(2 * pause, LONGEST_BACKOFF)

    async def _round(self) -> None:
        """Claim once, or sleep until there is something to claim and room for it."""
        self._wake.clear()
        limit, full = room(self._lanes.values())
        if not limit:
            await self._wake.wait()
            return
        claims, ended = await self._outbox.claim(limit, self._settings.lease, self._limits, full)
        for claim in claims:
            self._begin(claim)
        for send in ended:
            self._count(send)
        found = len(claims) + len(ended)
        if found < limit:
            # Whoever was told at the same moment gets to set the wake-up first.
            await asyncio.sleep(0)
            if not self._wake.is_set():
                await self._idle(full, found=found > 0)

    async def _idle(self, full: frozenset[str], *, found: bool) -> None:
        due = await self._outbox.next_due_time(full)
        if due is None:
            await self._wake.wait()
            return
        delay = due - self._clock.now()
        if delay > 0 or not found:
            # What is due and yet was not claimed is another dispatcher's.
            await sleep(self._wake, max(delay, _EMPTY_PAUSE))

    async def _listen(self, changes: AsyncIterator[None]) -> None:
        async for _ in changes:
            self._wake.set()

    async def _tick(self) -> None:
        """Look now and then without being told, and show how much waits."""
        while True:
            await asyncio.sleep(self._settings.tick / SECOND)
            self._wake.set()
            with contextlib.suppress(DomainError):
                depth = await self._outbox.depth()
                self._meter.outbox(depth.waiting, depth.oldest_age)

    # ------------------------------------------------------------------ one send

    def _begin(self, claim: Claim) -> None:
        lane = self._lanes.get(claim.send.carrier)
        if lane is None:
            # Its carrier is configured no more, and with it its trust class is gone.
            result = self._attempts.result(claim, ResultKind.MISCONFIGURED)
            self._settler.put(Ended(None, claim, result))
            return
        lane.load += 1
        self._send(lane, claim)

    def _send(self, lane: Lane, claim: Claim) -> None:
        task = asyncio.create_task(self._attempt(lane, claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, lane: Lane, claim: Claim) -> None:
        try:
            result = await self._attempts.attempt(lane, claim)
        except Exception as error:  # noqa: BLE001 - the lease ends and another attempt follows
            self._log.error("a send failed", where="attempt", error=type(error).__name__)
            self._leave(lane)
        else:
            self._settler.put(Ended(lane, claim, result))

    def _settled(self, lane: Lane | None, send: Send | None) -> None:
        if send is None or send.state is SendState.QUEUED:
            # It is due again earlier than its lease would have ended.
            self._wake.set()
        else:
            self._count(send)
        if lane is not None:
            self._leave(lane)

    def _leave(self, lane: Lane) -> None:
        if lane.leave():
            self._wake.set()

    def _count(self, send: Send) -> None:
        self._meter.delivered(send.channel, send.region_code, send.carrier, send.state)
