"""What goes wrong in a run, all of it drawn from the seed: calls of the store, clocks, plans."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from tests.simulation.loop import Owner
from tests.support.inline import AT_ONCE

from watchword.core.errors import DomainError, Unavailable
from watchword.core.ports import DAY, HOUR, MINUTE, SECOND, Clock, Millis
from watchword.testing.clock import START

PAUSES = (0.0,) * 6 + (0.001, 0.005, 0.02, 0.1, 2.0)
_JUMPS = (SECOND, 31 * SECOND, 10 * MINUTE, HOUR, 25 * HOUR, -SECOND, -MINUTE, -10 * MINUTE, -HOUR)


class Fault(Enum):
    """What becomes of one call of a store."""

    NONE = "none"
    BEFORE = "it fails and nothing was done"
    AFTER = "it is committed and the caller is told that it failed"
    KILL_BEFORE = "the caller's process dies before it"
    KILL_AFTER = "the caller's process dies after the commit"


_FAULTS = (Fault.BEFORE,) * 3 + (Fault.AFTER,) * 3 + (Fault.KILL_BEFORE, Fault.KILL_AFTER)


class Trouble(Protocol):
    """Decides what becomes of each call."""

    def next(self, method: str) -> Fault:
        """Return the fault of the next call, which is of this method."""
        ...


class SomeCalls:
    """Each call fails with the same probability, until it is calmed."""

    def __init__(
        self, chance: random.Random, rate: float, kinds: Sequence[Fault] = _FAULTS
    ) -> None:
        """Fail `rate` of the calls in one of these ways."""
        self._chance = chance
        self._kinds = kinds
        self.rate = rate

    def next(self, method: str) -> Fault:
        if self.rate == 0 or self._chance.random() >= self.rate:
            return Fault.NONE
        return self._chance.choice(self._kinds)


class OneCall:
    """The n-th call has a fault, counted from 1; `fired` tells whether there were so many."""

    def __init__(self, number: int, fault: Fault) -> None:
        self._left = number
        self._fault = fault
        self.method = ""

    @property
    def fired(self) -> bool:
        return self._left <= 0

    def next(self, method: str) -> Fault:
        self._left -= 1
        if self._left != 0:
            return Fault.NONE
        self.method = method
        return self._fault


class Gate:
    """All ways of one process to its store lead through here; it closes when the process dies."""

    def __init__(
        self,
        owner: Owner,
        chance: random.Random,
        trouble: Trouble,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Pause for one of `pauses` (seconds) before and after each call."""
        self._owner = owner
        self._pauses = pauses
        self._chance = chance
        self._trouble = trouble

    async def call(
        self, method: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **names: Any
    ) -> Any:
        """Call, with a pause on either side and whatever fault is due."""
        fault = self._trouble.next(method.__name__)
        await self.pause()
        if fault is Fault.KILL_BEFORE:
            self._owner.kill()
        self.check()
        if fault is Fault.BEFORE:
            raise Unavailable("injected: nothing was done")
        value, refusal = None, None
        try:
            value = await method(*args, **names)
        except DomainError as error:
            refusal = error
        if fault is Fault.KILL_AFTER:
            self._owner.kill()
        await self.pause()
        self.check()
        if fault is Fault.AFTER:
            raise Unavailable("injected: nobody can say")
        if refusal is not None:
            raise refusal
        return value

    async def pause(self) -> None:
        """Let others go first, for a while."""
        await asyncio.sleep(self._chance.choice(self._pauses))

    def check(self) -> None:
        """Go no further on behalf of a process that is dead."""
        if not self._owner.alive:
            raise asyncio.CancelledError


class Gated:
    """A port behind a gate: every method of `port` is a coroutine but those of `AT_ONCE`."""

    def __init__(self, port: object, gate: Gate) -> None:
        self._port = port
        self._gate = gate

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method: Callable[..., Coroutine[Any, Any, Any]] = getattr(self._port, name)
        if name in AT_ONCE:
            return method

        def call(*args: Any, **names: Any) -> Coroutine[Any, Any, Any]:
            return self._gate.call(method, *args, **names)

        return call


class StoreClock:
    """The store's clock: the loop's time, and whatever it was set forward or back."""

    def __init__(self, time: Callable[[], float], start: Millis = START) -> None:
        self._time = time
        self._offset = start
        self._highest = start
        self.jumps = 0

    def now(self) -> Millis:
        return self._offset + int(self._time() * SECOND)

    def jump(self, millis: Millis) -> None:
        """Set it forward, or back where `millis` is negative."""
        self._highest = self.highest
        self._offset += millis
        self.jumps += 1

    @property
    def elapsed(self) -> float:
        """Return the seconds of the simulation, which nobody can set."""
        return self._time()

    @property
    def highest(self) -> Millis:
        """Return the latest time that it ever showed."""
        return max(self._highest, self.now())


class SkewedClock:
    """A replica's own clock, a little off the store's."""

    def __init__(self, clock: Clock, skew: Millis) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> Millis:
        return self._clock.now() + self._skew


class Plan(NamedTuple):
    """What a run is like: how many take part, and how much goes wrong.

    In a `siege` few callers guess for hours at the codes of one phone.
    """

    clients: int
    actions: int
    store_faults: float
    carrier_faults: float
    crashes: int
    jumps: tuple[Millis, ...]
    skews: tuple[Millis, ...]
    siege: bool
    start: Millis

    @classmethod
    def draw(cls, chance: random.Random) -> "Plan":
        """Return a plan; a good part of them is harmless in one respect or another."""
        jumps = chance.choice((0, 0, 0, 1, 3))
        siege = chance.random() < 0.25
        return cls(
            clients=chance.randint(1, 3) if siege else chance.randint(2, 6),
            actions=chance.randint(15, 40) if siege else chance.randint(3, 9),
            store_faults=chance.choice((0.0, 0.02, 0.1)),
            carrier_faults=chance.choice((0.0, 0.0, 0.1, 0.5)),
            crashes=chance.choice((0, 0, 1, 3)),
            jumps=tuple(chance.choice(_JUMPS) for _ in range(jumps)),
            skews=tuple(chance.choice((0, 0, 500, -500, 2 * SECOND, -2 * SECOND)) for _ in "ab"),
            siege=siege,
            start=START + chance.randrange(DAY),
        )
