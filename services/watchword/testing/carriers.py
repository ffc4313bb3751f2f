"""Fakes for whoever works with carriers: one under a test's control, a bus, a meter."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar, Self

from watchword.core.ports import Millis
from watchword.core.secret import Secret
from watchword.delivery.carrier import (
    Capabilities,
    CarrierError,
    Channel,
    Message,
    ReceiptSink,
    Submitted,
    Trust,
)


def a_message(
    number: int = 0, *, to: str = "+12025550100", body: str = "Your code is 493817."
) -> Message:
    """Return a message; `number` makes it another one."""
    return Message(
        send_id=f"SE{number:032x}",
        attempt_id=f"SE{number:032x}.1",
        verification_id=f"VE{number:040x}",
        channel=Channel.SMS,
        to=Secret(to),
        body=Secret(body),
        code=Secret("493817"),
        language_code="en",
        time=1_800_000_000_000,
    )


class FakeCarrier:
    """A `Carrier` that records what it takes and fails when told to.

    `gate` holds every call while it is closed (`gate.clear()`); `failures` are raised
    one a call, before anything is taken; `lost` ones after it was. A subclass may claim
    other capabilities.
    """

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channels=frozenset({Channel.SMS}), trust=Trust.SANDBOX
    )

    def __init__(self) -> None:
        """Take everything at once."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.taken: list[Message] = []
        self.called: list[Message] = []
        self.waiting = 0
        self.failures: list[Exception] = []
        self.lost: list[CarrierError] = []

    @property
    def calls(self) -> int:
        """Return how often it was asked to send."""
        return len(self.called)

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        """Make one; raises `ValueError` for any setting."""
        if settings:
            raise ValueError("carriers.fake has no settings")
        return cls()

    async def open(self, receipts: ReceiptSink) -> None:
        """Have nothing to open."""

    async def send(self, message: Message) -> Submitted:
        """Take the message or fail as told."""
        self.called.append(message)
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(message)
        if self.lost:
            raise self.lost.pop(0)
        return Submitted(f"P{len(self.taken)}")

    async def close(self) -> None:
        """Have nothing to close."""


class FakeBus:
    """A `ChangeBus` within one event loop."""

    def __init__(self) -> None:
        """Begin without subscribers."""
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def publish(self, object_id: str) -> None:
        """Wake every subscriber of `object_id`."""
        for event in self._events.get(object_id, ()):
            event.set()

    @asynccontextmanager
    async def subscribe(self, object_id: str) -> AsyncIterator[AsyncIterator[None]]:
        """Return a context whose iterator yields once after each change, merged when slow."""
        event = asyncio.Event()
        self._events[object_id].add(event)
        try:
            yield _changes(event)
        finally:
            self._events[object_id].discard(event)


async def _changes(event: asyncio.Event) -> AsyncIterator[None]:
    while True:
        await event.wait()
        event.clear()
        yield


class FakeDeliveryMeter:
    """A `DeliveryMeter` that keeps what it was told."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.attempts: list[tuple[str, str]] = []
        self.states: list[tuple[str, str]] = []
        self.depths: list[tuple[int, Millis]] = []

    def attempted(
        self, channel: str, region: str, carrier: str, outcome: str, latency: Millis
    ) -> None:
        """Keep carrier and outcome."""
        del channel, region, latency
        self.attempts.append((carrier, outcome))

    def delivered(self, channel: str, region: str, carrier: str, state: str) -> None:
        """Keep carrier and state."""
        del channel, region
        self.states.append((carrier, state))

    def outbox(self, waiting: int, oldest_age: Millis) -> None:
        """Keep the depth."""
        self.depths.append((waiting, oldest_age))
