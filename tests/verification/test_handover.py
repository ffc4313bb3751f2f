"""The way of a message from its Start's transaction to the carrier, and back without one."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from watchword.core.errors import ResourceExhausted, Unavailable
from watchword.core.ports import SECOND, Millis
from watchword.delivery.outbox import Claim
from watchword.testing import verification_cases as cases
from watchword.testing.carriers import FakeBus
from watchword.testing.clock import FakeClock
from watchword.testing.memory import MemoryStores
from watchword.testing.verification_cases import CASE, LEASE
from watchword.verification.handover import HandOver
from watchword.verification.starting import StartCommand
from watchword.verification.store import StartOutcome


class FakeCourier:
    """Keeps one place a carrier, or none."""

    def __init__(self, lease: Millis = LEASE) -> None:
        self.lease = lease
        self.reserved: list[str] = []
        self.released: list[str] = []
        self.delivered: list[Claim] = []

    def reserve(self, carrier: str) -> Millis:
        if self.lease:
            self.reserved.append(carrier)
        return self.lease

    def deliver(self, claim: Claim) -> None:
        self.delivered.append(claim)

    def release(self, carrier: str) -> None:
        self.released.append(carrier)


@pytest.fixture
def courier() -> FakeCourier:
    return FakeCourier()


@pytest.fixture
def stores(clock: FakeClock) -> MemoryStores:
    return MemoryStores(clock, FakeBus())


async def test_what_a_start_queued_is_delivered(courier: FakeCourier, stores: MemoryStores) -> None:
    outcome = await HandOver(courier).run(stores.verification.start, cases.start(1))
    [claim] = courier.delivered
    assert claim == outcome.claim
    assert (claim.send,) == outcome.snapshot.sends
    assert (courier.reserved, courier.released) == (["sandbox"], [])


async def test_what_a_resend_queued_is_delivered(
    courier: FakeCourier, stores: MemoryStores, clock: FakeClock
) -> None:
    handover = HandOver(courier)
    await handover.run(stores.verification.start, cases.start(1))
    clock.advance(30 * SECOND)
    await handover.run(stores.verification.resend, cases.resend(1))
    assert [claim.send.send_id for claim in courier.delivered] == [
        cases.send_id(1),
        cases.send_id(1, 2),
    ]
    assert courier.released == []


async def test_without_a_place_the_message_waits_in_the_outbox(stores: MemoryStores) -> None:
    courier = FakeCourier(0)
    outcome = await HandOver(courier).run(stores.verification.start, cases.start(1))
    assert outcome.claim is None
    assert outcome.snapshot.sends[0].lease_time == 0
    assert (courier.delivered, courier.released) == ([], [])


async def test_a_refused_start_gives_back_its_place(
    courier: FakeCourier, stores: MemoryStores
) -> None:
    handover = HandOver(courier)
    await handover.run(stores.verification.start, cases.start(1))
    with pytest.raises(ResourceExhausted):
        await handover.run(stores.verification.start, cases.start(2))
    assert (len(courier.delivered), courier.released) == (1, ["sandbox"])


async def test_a_replay_and_a_test_number_give_back_their_place(
    courier: FakeCourier, stores: MemoryStores
) -> None:
    handover = HandOver(courier)
    command = cases.start(1, request=cases.request(1, "Start"))
    for _ in range(2):
        await handover.run(stores.verification.start, command)
    test = cases.start(2, CASE._replace(phone=2, test=True))
    await handover.run(stores.verification.start, test)
    assert (len(courier.delivered), courier.released) == (1, ["sandbox"] * 2)


async def test_an_outage_gives_back_the_place(courier: FakeCourier) -> None:
    async def down(command: StartCommand) -> StartOutcome:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        await HandOver(courier).run(down, cases.start(1))
    assert courier.released == ["sandbox"]


@pytest.mark.parametrize("refused", [False, True])
async def test_a_caller_that_goes_away_leaves_nothing_undone(
    courier: FakeCourier, stores: MemoryStores, *, refused: bool
) -> None:
    gate = asyncio.Event()

    async def slow(command: StartCommand) -> StartOutcome:
        await gate.wait()
        if refused:
            raise ResourceExhausted("no")
        return await stores.verification.start(command)

    caller = asyncio.create_task(HandOver(courier).run(slow, cases.start(1)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (courier.delivered, courier.released) == ([], [])
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert [len(courier.delivered), len(courier.released)] == ([0, 1] if refused else [1, 0])


async def test_a_refusal_that_nobody_waits_for_is_no_fault(courier: FakeCourier) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    gate = asyncio.Event()

    async def refused(command: StartCommand) -> StartOutcome:
        await gate.wait()
        raise ResourceExhausted("no")

    caller = asyncio.create_task(HandOver(courier).run(refused, cases.start(1)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    # asyncio tells of an exception that nobody took when the task is thrown away.
    gc.collect()
    assert courier.released == ["sandbox"]
    assert faults == []


async def test_a_command_that_never_began_is_never_made(courier: FakeCourier) -> None:
    """A stop may come before its turn: nothing is left that nobody awaits."""
    asked: list[StartCommand] = []

    async def waits() -> StartOutcome:
        return await asyncio.Future()

    def execute(command: StartCommand) -> Coroutine[Any, Any, StartOutcome]:
        asked.append(command)
        return waits()

    handover = HandOver(courier)
    caller = asyncio.create_task(handover.run(execute, cases.start(1)))
    await asyncio.sleep(0)
    for task in tuple(handover._running):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert asked == []
