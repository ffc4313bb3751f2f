"""Everything below the servicer, over any store: to be crashed, failed and looked at."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.faults import Fault
from tests.support.live import sandbox_config
from tests.support.places import PROVIDER, WORLD, Committed, MakePlace

from watchword.account.first import set_up_dev
from watchword.core.ports import SECOND
from watchword.delivery.carrier import Message, Submitted
from watchword.delivery.composer import Composer
from watchword.delivery.dispatcher import Dispatcher, DispatchSettings
from watchword.delivery.outbox import Send, SendState
from watchword.server import plugins
from watchword.server.bootstrap import Parts, Server
from watchword.telemetry.logs import DEBUG, Log
from watchword.tenancy.model import Caller
from watchword.testing.carriers import FakeCarrier
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.verification.service import VerificationService

_PATIENCE = 20.0
_POLL = 0.001
LEASE = 40 * SECOND


class Carrier(FakeCarrier):
    """Takes messages, or never answers: before or after it took one."""

    hangs = ""

    async def send(self, message: Message) -> Submitted:
        self.waiting += 1
        if self.hangs == "before":
            await asyncio.Event().wait()
        self.taken.append(message)
        if self.hangs == "after":
            await asyncio.Event().wait()
        return Submitted("P")


class World:
    """One deployment through its crashes; `lines` is all that was ever logged."""

    parts: Parts
    caller: Caller
    _server: Server

    def __init__(self, make_place: MakePlace, root: Path) -> None:
        """Begin with an empty store below `root`; nothing is open yet."""
        self.place = make_place(root / "store")
        self.clock = FakeClock()
        self.carrier = Carrier()
        self.lines: list[bytes] = []
        self._config = sandbox_config(root)
        self._entropy = SeededEntropy(2)

    @property
    def service(self) -> VerificationService:
        return self.parts.verification

    async def begin(self) -> None:
        """Open the store for the first time and make an application."""
        await self.open()
        made = await set_up_dev(
            self.parts.stores.account, PROVIDER, self.clock, self._entropy, WORLD
        )
        credential = made.application.credential.credential_id
        self.caller = Caller(made.account_id, made.application_id, credential, frozenset())

    async def open(self) -> None:
        """Open what there is, as a start does."""
        log = Log(self.lines.append, self.clock, DEBUG)
        self._server = Server(self._config, log, clock=self.clock, entropy=self._entropy)
        stores = await self.place.open(self.clock, self._server.bus)
        carriers = plugins.make_carriers(self._config)
        self.parts = self._server._assemble(PROVIDER, stores, carriers)

    async def crash(self, dispatcher: Dispatcher | None = None) -> None:
        """Lose all that is in memory; go on with what is committed at this moment."""
        await self.place.crash()
        await self.open()
        # The old process is gone; what its remains still do meets what it had open alone.
        if dispatcher is not None:
            await dispatcher.stop(0)

    async def close(self) -> None:
        await self.place.close()

    @contextlib.contextmanager
    def failing(self, fault: Fault | None) -> Iterator[None]:
        """Let the store meet `fault`."""
        if fault is None:
            yield
            return
        with self.place.failing(fault):
            yield

    async def deliver(self, *, hangs: str = "") -> None:
        """Send all that is due; where the carrier `hangs`, crash in the midst of it."""
        self.carrier.hangs, self.carrier.waiting = hangs, 0
        dispatcher = self._dispatcher()
        before = self._attempts()
        running = asyncio.create_task(dispatcher.run())
        try:
            await self._until(self._nothing_due)
            if hangs:
                begun = self._attempts() - before
                await self._until(lambda: self.carrier.waiting == begun)
                await self.crash(dispatcher)
        finally:
            await dispatcher.stop(0 if hangs else None)
            await running
            self.carrier.hangs = ""

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            outbox=self.parts.stores.outbox,
            carriers={"sandbox": self.carrier},
            router=self.parts.verification.router,
            composer=Composer(self.parts.epochs),
            limits=self.parts.verification.limits,
            clock=self.clock,
            entropy=self._entropy,
            bus=self._server.bus,
            meter=self._server.metrics,
            log=self._server.log,
            settings=DispatchSettings(lease=LEASE),
        )

    def _nothing_due(self) -> bool:
        return not any(max(s.due_time, s.lease_time) <= self.clock.now() for s in self.queued)

    def _attempts(self) -> int:
        return sum(send.attempts for send in self.committed.sends.values())

    @property
    def queued(self) -> list[Send]:
        """Return the sends that wait or are leased."""
        sends = self.committed.sends.values()
        return [send for send in sends if send.state is SendState.QUEUED]

    @property
    def committed(self) -> Committed:
        """Read what is committed, as another process would."""
        return self.place.committed()

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not reached():  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(_POLL)
