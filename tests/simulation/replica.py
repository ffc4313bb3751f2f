"""One process of the server below the servicer: its service, its dispatcher, its death."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, TypeVar, cast

from tests.simulation.loop import OWNER, Owner
from tests.simulation.network import Network, SimulatedCarrier
from tests.simulation.trouble import PAUSES, Gate, Gated, Trouble
from tests.support.places import PROVIDER, WORLD

from watchword.core.errors import DomainError, Unavailable
from watchword.core.ports import DAY, MINUTE, SECOND, ChangeBus, Clock
from watchword.delivery.composer import Composer
from watchword.delivery.dispatcher import Dispatcher, DispatchSettings
from watchword.delivery.outbox import Outbox
from watchword.delivery.receipts import Receipts
from watchword.delivery.router import Router
from watchword.fraud.limits import PhoneLimits
from watchword.server.plugins import Stores
from watchword.telemetry.logs import DEBUG, Log
from watchword.tenancy.directory import Directory, TenancyReader
from watchword.testing.carriers import FakeDeliveryMeter
from watchword.testing.entropy import SeededEntropy
from watchword.vault.epochs import EpochKeys
from watchword.vault.index import BlindIndex
from watchword.vault.keystore import KeyStore
from watchword.vault.signing import ReceiptSigner
from watchword.verification.draft import Drafter
from watchword.verification.handover import HandOver
from watchword.verification.keyed import KeyedValues
from watchword.verification.receipt import ReceiptMaker
from watchword.verification.service import VerificationService
from watchword.verification.store import VerificationStore
from watchword.verification.test_numbers import TestNumbers

T = TypeVar("T")

LIMITS = PhoneLimits()
LEASE = 40 * SECOND
INDEX = BlindIndex(PROVIDER)
KEYED = KeyedValues(INDEX)
_SETTINGS = DispatchSettings(slots=2, lease=LEASE, tick=2 * MINUTE, backoff=SECOND)
RETENTION = 400 * DAY
_SWEEP_SECONDS = 90.0
# No call may take so long, whatever the store does (seconds of the simulation).
_NEVER = 120.0


class Lost(Exception):
    """The connection broke: what came of the call is unknown."""


class Hung(AssertionError):
    """A call came back neither with an answer nor with an error."""


class QuietMeter:
    """Counts nothing."""

    def start(self, channel: str, region: str, outcome: str) -> None: ...

    def check(self, channel: str, region: str, outcome: str) -> None: ...

    def conversion(self, channel: str, region: str, seconds: float) -> None: ...

    def limit_hit(self, reason: str) -> None: ...

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
    ) -> None: ...


class Replica:
    """A process that serves until it dies."""

    def __init__(
        self,
        name: str,
        stores: Stores,
        *,
        network: Network,
        clock: Clock,
        bus: ChangeBus,
        chance: random.Random,
        trouble: Trouble,
        write: Callable[[bytes], None],
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Put it together; `serve` begins."""
        self.owner = Owner(name)
        self._chance = chance
        gate = Gate(self.owner, chance, trouble, pauses)
        store = cast("VerificationStore", Gated(stores.verification, gate))
        outbox = cast("Outbox", Gated(stores.outbox, gate))
        self._epochs = EpochKeys(cast("KeyStore", Gated(stores.keystore, gate)))
        self._store, self._clock, self._log = store, clock, Log(write, clock, DEBUG)
        entropy = SeededEntropy(chance.getrandbits(64))
        carriers = {name: SimulatedCarrier(network, self.owner) for name in ("one", "two")}
        self._carriers = carriers
        router = Router(carriers)
        self._receipts = Receipts(outbox, FakeDeliveryMeter())
        self.dispatcher = Dispatcher(
            outbox=outbox,
            carriers=carriers,
            router=router,
            composer=Composer(self._epochs),
            limits=LIMITS,
            clock=clock,
            entropy=entropy,
            bus=bus,
            meter=FakeDeliveryMeter(),
            log=self._log,
            settings=_SETTINGS,
        )
        directory = Directory(cast("TenancyReader", Gated(stores.tenancy, gate)))
        signer = ReceiptSigner(PROVIDER, f"watchword-{WORLD}", clock)
        receipts = ReceiptMaker(PROVIDER, INDEX, signer)
        self.service = VerificationService(
            store=store,
            directory=directory,
            provider=PROVIDER,
            index=INDEX,
            keyed=KEYED,
            epochs=self._epochs,
            signer=signer,
            receipts=receipts,
            drafter=Drafter(clock, entropy, INDEX, KEYED, self._epochs, receipts),
            test_numbers=TestNumbers(directory, PROVIDER, INDEX, clock),
            router=router,
            handover=HandOver(self.dispatcher),
            clock=clock,
            entropy=entropy,
            bus=bus,
            limits=LIMITS,
            meter=QuietMeter(),
            usage=QuietMeter(),
        )

    @property
    def alive(self) -> bool:
        return self.owner.alive

    def serve(self) -> None:
        """Begin to dispatch and to sweep."""
        self._spawn(self._open())
        self._spawn(self.dispatcher.run())
        self._spawn(self._sweep())

    async def call(self, use: Callable[[VerificationService], Coroutine[Any, Any, T]]) -> T:
        """Call the service as a handler does, by a task of the process; raises `Lost`."""
        if not self.alive:
            raise Lost
        task = self._spawn(use(self.service))
        patient = self._chance.random() < 0.97
        await asyncio.wait({task}, timeout=_NEVER if patient else 0.05)
        if not task.done():
            if patient:
                raise Hung("a call neither returned nor failed")
            # The caller goes away, and the handler is cancelled; it may well end otherwise.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            task.cancel()
            raise Lost
        if task.cancelled():
            raise Lost
        return task.result()

    async def stop(self) -> None:
        """Stop in order."""
        if self.alive:
            await self.dispatcher.stop()
        self.owner.kill()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        context = copy_context()
        context.run(OWNER.set, self.owner)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def _open(self) -> None:
        async def receive(receipt: object) -> None:
            # A carrier brings a receipt again where it could not be recorded; this one does not.
            try:
                await self._receipts(receipt)  # type: ignore[arg-type]
            except DomainError:
                return

        for carrier in self._carriers.values():
            await carrier.open(receive)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._store.sweep(RETENTION, 100)
                await self._epochs.destroy_expired(self._clock.now())
            except Unavailable:
                continue
