"""Carriers of the simulation and the phones behind them."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Self

from tests.simulation.loop import Owner

from watchword.core.ports import SECOND
from watchword.delivery.carrier import (
    Ambiguous,
    Capabilities,
    Channel,
    Message,
    Receipt,
    ReceiptSink,
    ReceiptState,
    Rejected,
    Submitted,
    Throttled,
    Trust,
    Unreachable,
)

_FAULTS = (
    *("rejected", "throttled", "throttled", "unreachable", "unreachable", "bug"),
    *("ambiguous", "ambiguous taken", "slow", "slow taken", "late", "kill", "kill taken"),
)
_QUICK = (0.0, 0.01, 0.2)
# A call is cut off after ten seconds.
_LATE, _SLOW = 8.0, 15.0


class Taken(NamedTuple):
    """A message that reached a phone."""

    send_id: str
    verification_id: str
    phone: str
    code: str


class Network:
    """What all carriers were asked to send and what they took; `told` hears of each call."""

    def __init__(self, chance: random.Random, rate: float) -> None:
        self.chance = chance
        self.rate = rate
        self.taken: list[Taken] = []
        self.called: Callable[[Message], None] = lambda _: None
        self.took: Callable[[Taken], None] = lambda _: None

    def fault(self) -> str:
        """Return what goes wrong with the next call, "" for nothing."""
        if self.rate == 0 or self.chance.random() >= self.rate:
            return ""
        return self.chance.choice(_FAULTS)

    def take(self, message: Message) -> None:
        """Bring the message to the phone."""
        taken = Taken(
            message.send_id,
            message.verification_id,
            message.to.reveal(),
            message.code.reveal(),
        )
        self.taken.append(taken)
        self.took(taken)


class SimulatedCarrier:
    """One process's connection to a carrier."""

    name: ClassVar[str] = "simulated"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channels=frozenset({Channel.SMS}), trust=Trust.SANDBOX, receipts=True
    )

    def __init__(self, network: Network, owner: Owner) -> None:
        self._network = network
        self._owner = owner
        self._receipts: ReceiptSink | None = None

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        raise NotImplementedError("made by the simulation")

    async def open(self, receipts: ReceiptSink) -> None:
        self._receipts = receipts

    async def close(self) -> None:
        pass

    async def send(self, message: Message) -> Submitted:
        self._check()
        network = self._network
        network.called(message)
        fault = network.fault()
        await self._wait(network.chance.choice(_QUICK))
        if fault in ("rejected", "unreachable", "ambiguous", "throttled", "bug", "kill", "slow"):
            return await self._failed(fault)
        if fault == "late":
            await self._wait(_LATE)
        network.take(message)
        if fault == "kill taken":
            self._owner.kill()
        if fault == "slow taken":
            await self._wait(_SLOW)
        if self._receipts is not None and network.chance.random() < 0.3:
            asyncio.get_running_loop().create_task(self._receipt(message.send_id))
        await self._wait(network.chance.choice(_QUICK))
        if fault == "ambiguous taken":
            raise Ambiguous("no answer came")
        return Submitted("P")

    async def _failed(self, fault: str) -> Submitted:
        if fault == "kill":
            self._owner.kill()
        if fault == "slow":
            await self._wait(_SLOW)
        self._check()
        if fault == "rejected":
            raise Rejected("refused")
        if fault == "throttled":
            wait = self._network.chance.choice((0, SECOND, 60 * SECOND))
            raise Throttled("slower", retry_after=wait)
        if fault == "unreachable":
            raise Unreachable("down")
        if fault == "bug":
            raise ValueError("not a carrier's error")
        raise Ambiguous("no answer came")

    async def _receipt(self, send_id: str) -> None:
        """Report the delivery some time later, perhaps before the call's own result."""
        await self._wait(self._network.chance.choice((0.0, 0.0, 5.0)))
        state = self._network.chance.choice(list(ReceiptState))
        if self._receipts is not None:
            await self._receipts(Receipt(send_id, state))

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._check()

    def _check(self) -> None:
        if not self._owner.alive:
            raise asyncio.CancelledError
