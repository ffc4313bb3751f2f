"""Calls the services of two replicas over one store, without servicer or socket."""

import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tests.linearizability.callers import CALLERS, Crowd
from tests.linearizability.checker import UNKNOWN, Answer
from tests.linearizability.spec import Cancel, Check, Get, Resend, Start
from tests.simulation.network import Network
from tests.simulation.replica import Lost, Replica
from tests.simulation.trouble import PAUSES, Fault, SomeCalls
from tests.support.places import PROVIDER, WORLD, Place

from watchword.account.first import set_up_dev
from watchword.core import codes
from watchword.core.errors import DomainError, Unavailable
from watchword.core.ids import parse_verification_id
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.server.bus import LocalChangeBus
from watchword.tenancy.model import Caller
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.vault.epochs import EpochKeys
from watchword.verification.request import CheckRequest, PolicyWish, StartRequest
from watchword.verification.service import CheckResult, VerificationService
from watchword.verification.store import Snapshot

T = TypeVar("T")

# No replica dies here: the simulator sees to that.
_LIVING = (Fault.BEFORE, Fault.AFTER)


class ServiceWay:
    """One caller, who goes to any replica."""

    def __init__(
        self, replicas: Sequence[Replica], epochs: EpochKeys, caller: Caller, chance: random.Random
    ) -> None:
        self._replicas = replicas
        self._epochs = epochs
        self._caller = caller
        self._chance = chance

    async def start(self, phone: int, op: Start) -> Answer | None:
        request = StartRequest(
            phone_number=f"+1212736{4900 + phone}",
            region_code="",
            channel=Channel.SMS,
            purpose="login",
            action=_action(op.action),
            binding=b"",
            policy=PolicyWish(),
            language_code="",
            web_otp_origin="",
            android_app_hash="",
            tags={},
            custom_code=None,
            request_id=op.request_id,
            body=repr((phone, op)).encode(),
        )
        return await self._ask(lambda s: s.start(self._caller, request), _started)

    async def resend(self, op: Resend) -> Answer | None:
        return await self._ask(
            lambda s: s.resend(self._caller, op.name, None, op.request_id, op.name.encode()),
            _started,
        )

    async def check(self, op: Check, code: str) -> Answer | None:
        request = CheckRequest(
            verification_id=op.name,
            phone_number="",
            code=Secret(code),
            purpose="login",
            action=_action(op.action),
            binding=b"",
            request_id=op.request_id,
            body=repr((op, code)).encode(),
        )
        return await self._ask(lambda s: s.check(self._caller, request), _judged)

    async def cancel(self, op: Cancel) -> Answer | None:
        return await self._ask(
            lambda s: s.cancel(self._caller, op.name, op.request_id, op.name.encode()),
            lambda _: ("canceled",),
        )

    async def get(self, op: Get) -> Answer | None:
        return await self._ask(lambda s: s.get(self._caller, op.name), _read)

    async def code(self, name: str) -> str:
        parsed = parse_verification_id(name)
        assert parsed is not None
        epoch_key = await self._epochs.get(self._caller.account_id, parsed.epoch)
        assert epoch_key is not None
        key = codes.code_key(epoch_key, name, self._caller.application_id)
        return codes.derive_code(key, 0, parsed.length).reveal()

    async def _ask(
        self,
        call: Callable[[VerificationService], Coroutine[Any, Any, T]],
        read: Callable[[T], Answer],
    ) -> Answer | None:
        try:
            return read(await self._chance.choice(self._replicas).call(call))
        except (Lost, Unavailable):
            return UNKNOWN
        except DomainError as error:
            return ("error", str(error.reason))


def _action(action: str) -> dict[str, str]:
    return {"amount": action} if action else {}


def _started(found: Snapshot) -> Answer:
    return ("started", found.verification.verification_id)


def _judged(found: CheckResult) -> Answer:
    if found.receipt is not None:
        return ("approved", found.snapshot.verification.verification_id)
    return ("rejected", str(found.rejection), found.checks_remaining)


def _read(found: Snapshot) -> Answer:
    row = found.verification
    return ("read", str(row.state), row.checks_remaining, row.send_count)


async def crowd(
    place: Place, seed: int, *, faults: float, pauses: Sequence[float] = PAUSES
) -> Crowd:
    """Return 64 callers on two replicas over one store; `faults` of the store's calls fail."""
    clock = FakeClock()
    stores = await place.open(clock, LocalChangeBus())
    made = await set_up_dev(stores.account, PROVIDER, clock, SeededEntropy(seed), WORLD)
    caller = Caller(made.account_id, made.application_id, "", frozenset())
    replicas = [
        Replica(
            f"{number}",
            stores,
            network=Network(random.Random(seed), 0.0),
            clock=clock,
            bus=LocalChangeBus(),
            chance=random.Random(f"{seed}/{number}"),
            trouble=SomeCalls(random.Random(f"{seed}/{number}/store"), faults, _LIVING),
            write=lambda _: None,
            pauses=pauses,
        )
        for number in range(2)
    ]
    epochs = EpochKeys(stores.keystore)
    ways = [
        ServiceWay(replicas, epochs, caller, random.Random(f"{seed}/way {number}"))
        for number in range(CALLERS)
    ]
    return Crowd(ways, random.Random(f"{seed}/crowd"), clock.advance)
