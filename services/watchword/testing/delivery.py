"""A dispatcher in a world of its own: memory stores, fake carriers, a clock that stands."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from watchword.core.errors import Unavailable
from watchword.core.ids import epoch_of, new_id, new_verification_id
from watchword.core.ports import HOUR, SECOND, Millis
from watchword.core.secret import Secret
from watchword.delivery.carrier import Capabilities, Channel, Receipt, Trust
from watchword.delivery.composer import Composer
from watchword.delivery.courier import Courier
from watchword.delivery.dispatcher import Dispatcher, DispatchSettings
from watchword.delivery.outbox import (
    NO_CARRIERS,
    NOTICE_TTL,
    OUTBOX_TOPIC,
    Claimed,
    Outbox,
    OutboxDepth,
    Result,
    Send,
    SendError,
    SendKind,
    SendState,
)
from watchword.delivery.router import Router
from watchword.delivery.sealing import seal_custom_code, seal_recipient
from watchword.fraud.limits import PhoneLimits
from watchword.telemetry.logs import Log
from watchword.testing.carriers import FakeBus, FakeCarrier, FakeDeliveryMeter
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyStore
from watchword.testing.memory import MemoryStores
from watchword.testing.verification_cases import ACCOUNT, APPLICATION, CAPS, Case, draft, start
from watchword.vault.epochs import EpochKeys
from watchword.verification.handover import HandOver
from watchword.verification.model import SendPlan, Verification
from watchword.verification.starting import Sending

LIMITS = PhoneLimits()
SETTINGS = DispatchSettings(
    slots=4, call_timeout=10 * SECOND, lease=40 * SECOND, tick=HOUR, backoff=1
)


class TenantCarrier(FakeCarrier):
    """Another trust class."""

    capabilities = Capabilities(channels=frozenset({Channel.SMS}), trust=Trust.TENANT)


class ShakyOutbox:
    """An `Outbox` that is unavailable when told to: `down` counts the calls that fail."""

    def __init__(self, outbox: Outbox) -> None:
        """Pass everything on to `outbox`."""
        self.outbox = outbox
        self.down = 0
        self.settled: list[Result] = []
        self.settles = 0
        self.claims = 0

    def _maybe_fail(self) -> None:
        if self.down:
            self.down -= 1
            raise Unavailable("down")

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        """Claim, or raise `Unavailable`."""
        self.claims += 1
        self._maybe_fail()
        return await self.outbox.claim(limit, lease, limits, except_carriers)

    async def wanted(self, send_id: str) -> bool:
        """Pass on, or raise `Unavailable`."""
        self._maybe_fail()
        return await self.outbox.wanted(send_id)

    async def settle(self, results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        """Settle and keep the results, or raise `Unavailable`."""
        self._maybe_fail()
        self.settles += 1
        self.settled += results
        return await self.outbox.settle(results, limits)

    async def receive(self, receipt: Receipt) -> Send | None:
        """Receive, or raise `Unavailable`."""
        self._maybe_fail()
        return await self.outbox.receive(receipt)

    async def next_due_time(self, except_carriers: frozenset[str] = NO_CARRIERS) -> Millis | None:
        """Pass on."""
        return await self.outbox.next_due_time(except_carriers)

    async def depth(self) -> OutboxDepth:
        """Pass on."""
        return await self.outbox.depth()


class World:
    """Everything around a dispatcher; `dispatcher()` makes one more, as a restart does."""

    def __init__(self, carriers: Mapping[str, FakeCarrier]) -> None:
        """Know these carriers by name; nothing runs yet."""
        self.clock = FakeClock()
        self.entropy = SeededEntropy()
        self.bus = FakeBus()
        self.stores = MemoryStores(self.clock, self.bus)
        self.outbox = ShakyOutbox(self.stores.outbox)
        self.keystore = MemoryKeyStore()
        self.epochs = EpochKeys(self.keystore)
        self.carriers = dict(carriers)
        self.router = Router(self.carriers)
        self.meter = FakeDeliveryMeter()
        self.lines: list[bytes] = []
        self.running: list[tuple[Dispatcher, asyncio.Task[None]]] = []
        self.started = 0

    def dispatcher(self, settings: DispatchSettings = SETTINGS) -> Dispatcher:
        """Return one more dispatcher, with a memory of its own."""
        return Dispatcher(
            outbox=self.outbox,
            carriers=self.carriers,
            router=self.router,
            composer=self.composer(),
            limits=LIMITS,
            clock=self.clock,
            entropy=self.entropy,
            bus=self.bus,
            meter=self.meter,
            log=Log(self.lines.append, self.clock),
            settings=settings,
        )

    def composer(self) -> Composer:
        """Return a composer that has no key in memory yet."""
        return Composer(EpochKeys(self.keystore))

    async def run(self, settings: DispatchSettings = SETTINGS) -> Dispatcher:
        """Start a dispatcher."""
        dispatcher = self.dispatcher(settings)
        self.running.append((dispatcher, asyncio.create_task(dispatcher.run())))
        await self.settle_down()
        return dispatcher

    async def stop(self) -> None:
        """Stop every dispatcher that runs."""
        for dispatcher, task in self.running:
            await dispatcher.stop(grace=0)
            await task
        self.running.clear()

    async def start(
        self,
        carrier: str = "fake",
        *,
        custom: str = "",
        phone: int | None = None,
        by: Courier | None = None,
    ) -> tuple[Verification, str]:
        """Start a verification through the store; returns it and its send's id.

        Its message goes straight `by` a courier, or into the queue.
        """
        self.started += 1
        number = self.started if phone is None else phone
        row = await self._draft(number, custom)
        command = start(0, Case(phone=number))._replace(
            draft=row, sending=Sending(SendPlan(Channel.SMS, carrier), LIMITS, CAPS)
        )
        store = self.stores.verification
        if by is None:
            outcome = await store.start(command)
        else:
            outcome = await HandOver(by).run(store.start, command)
        verification, sends, _ = outcome.snapshot
        return verification, sends[-1].send_id

    async def _draft(self, number: int, custom: str) -> Verification:
        now = self.clock.now()
        length = len(custom) or 6
        verification_id = new_verification_id(now, length, self.entropy)
        key = await self.epochs.create(ACCOUNT, epoch_of(now))
        return draft(0, Case(phone=number))._replace(
            verification_id=verification_id,
            phone_sealed=seal_recipient(
                key, verification_id, ACCOUNT, f"+1202555{number:04}", self.entropy
            ),
            custom_mac=b"m" * 32 if custom else b"",
            custom_sealed=(
                seal_custom_code(key, verification_id, ACCOUNT, Secret(custom), self.entropy)
                if custom
                else b""
            ),
        )

    async def notify(self, kind: str, carrier: str = "fake") -> str:
        """Queue a notice as a command of the store would; returns its send's id."""
        now = self.clock.now()
        send_id = new_id("SE", now, self.entropy)
        key = await self.epochs.create(ACCOUNT, epoch_of(now))
        self.stores.engine.tables.sends[send_id] = Send(
            send_id=send_id,
            kind=SendKind.NOTICE,
            account_id=ACCOUNT,
            application_id=APPLICATION,
            subject_id=send_id,
            version=1,
            channel=Channel.SMS,
            carrier=carrier,
            generation=0,
            state=SendState.QUEUED,
            error_reason=SendError.NONE,
            provider_id="",
            attempts=0,
            doubts=0,
            withheld=False,
            due_time=now,
            lease_time=0,
            expire_time=now + NOTICE_TTL,
            notice=json.dumps({"kind": kind, "brand": "Example"}),
            recipient_sealed=seal_recipient(key, send_id, ACCOUNT, "+12025550100", self.entropy),
            create_time=now,
            submit_time=0,
            update_time=now,
        )
        self.bus.publish(OUTBOX_TOPIC)
        return send_id

    def send(self, send_id: str) -> Send:
        """Return a send as it stands."""
        return self.stores.engine.tables.sends[send_id]

    async def pass_time(self, millis: Millis) -> None:
        """Move the clock and tell the dispatcher, whose timers run on real time."""
        self.clock.advance(millis)
        self.bus.publish(OUTBOX_TOPIC)
        await self.settle_down()

    async def settle_down(self) -> None:
        """Let every task run as far as it gets."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what short real pauses may delay."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - there is nothing to be told by
                await asyncio.sleep(0)

    @property
    def logged(self) -> str:
        """Return everything that was logged."""
        return b"".join(self.lines).decode()
