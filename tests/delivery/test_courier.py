"""Messages that come straight from their Start: no claim, the same promises."""

import asyncio
from collections.abc import Sequence

import pytest

from watchword.core.ports import SECOND
from watchword.delivery.carrier import Ambiguous, Message
from watchword.delivery.outbox import Result, Send, SendError, SendState
from watchword.fraud.limits import PhoneLimits
from watchword.testing.carriers import FakeCarrier
from watchword.testing.delivery import LIMITS, SETTINGS, World
from watchword.testing.verification_cases import ACCOUNT, APPLICATION, CAPS, Case, leased, start
from watchword.verification.model import SendPlan
from watchword.verification.starting import Sending
from watchword.verification.store import CancelCommand

NEAR = 4 * SETTINGS.slots


async def test_a_message_goes_straight_to_its_carrier(world: World, carrier: FakeCarrier) -> None:
    dispatcher = await world.run()
    claims = world.outbox.claims
    _, send_id = await world.start(by=dispatcher)
    await world.settle_down()
    send = world.send(send_id)
    assert (send.state, send.attempts, send.provider_id) == (SendState.SUBMITTED, 1, "P1")
    assert [message.attempt_id for message in carrier.taken] == [f"{send_id}.1"]
    assert world.meter.states == [("fake", "SUBMITTED")]
    assert world.outbox.claims == claims


async def test_the_attempt_is_recorded_before_the_call(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    dispatcher = await world.run()
    _, send_id = await world.start(by=dispatcher)
    await world.settle_down()
    assert carrier.waiting == 1
    send = world.send(send_id)
    assert (send.attempts, send.lease_time) == (1, world.clock.now() + SETTINGS.lease)


async def test_a_doubtful_one_is_repeated_from_the_outbox(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.lost.append(Ambiguous("?"))
    dispatcher = await world.run()
    _, send_id = await world.start(by=dispatcher)
    await world.settle_down()
    await world.pass_time(2 * SECOND)
    assert [message.attempt_id for message in carrier.taken] == [f"{send_id}.1", f"{send_id}.2"]
    assert world.send(send_id).state is SendState.SUBMITTED


@pytest.mark.parametrize("sent", [False, True])
async def test_c070_a_crash_after_the_commit_sends_at_most_twice(
    world: World, carrier: FakeCarrier, *, sent: bool
) -> None:
    row = await world._draft(1, "")
    command = start(0, Case(phone=1))._replace(
        draft=row, sending=Sending(SendPlan(row.channel, "fake"), LIMITS, CAPS)
    )
    outcome = await world.stores.verification.start(leased(command, SETTINGS.lease))
    assert outcome.claim is not None
    if sent:
        message = await world.composer().compose(outcome.claim, world.clock.now())
        assert isinstance(message, Message)
        await carrier.send(message)
    # Here the process dies; another one starts and finds the lease.
    await world.run()
    assert carrier.calls == sent
    await world.pass_time(SETTINGS.lease)
    send = world.send(outcome.claim.send.send_id)
    assert (send.state, send.error_reason, send.attempts) == (
        SendState.SUBMITTED,
        SendError.NONE,
        2,
    )
    assert carrier.calls == 1 + sent
    assert len({message.code.reveal() for message in carrier.taken}) == 1
    assert world.stores.engine.tables.budgets[ACCOUNT].hour_used == 2


async def test_half_a_line_is_left_to_what_waits_in_the_outbox(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    dispatcher = await world.run()
    assert [bool(dispatcher.reserve("fake")) for _ in range(NEAR + 1)] == [True] * NEAR + [False]
    # Places that are only kept take none of the other half.
    _, send_id = await world.start(by=dispatcher)
    await world.settle_down()
    assert world.send(send_id).attempts == 1
    assert [message.send_id for message in carrier.called] == [send_id]
    for _ in range(2):
        dispatcher.release("fake")
    assert dispatcher.reserve("fake") == SETTINGS.lease
    for _ in range(NEAR - 1):
        dispatcher.release("fake")


async def test_no_place_is_kept_where_nobody_delivers(world: World) -> None:
    assert world.dispatcher().reserve("fake") == 0
    dispatcher = await world.run()
    assert dispatcher.reserve("gone") == 0
    await world.stop()
    assert dispatcher.reserve("fake") == 0


async def test_what_is_canceled_in_line_is_not_sent(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    dispatcher = await world.run(SETTINGS._replace(slots=1))
    await world.start(by=dispatcher)
    canceled, gone = await world.start(by=dispatcher)
    await world.settle_down()
    command = CancelCommand(canceled.verification_id, ACCOUNT, APPLICATION, None)
    await world.stores.verification.cancel(command)
    carrier.gate.set()
    await world.settle_down()
    assert carrier.calls == 1
    send = world.send(gone)
    assert (send.state, send.error_reason) == (SendState.FAILED, SendError.NOT_NEEDED)


async def test_a_stop_waits_for_places_that_are_kept(world: World, carrier: FakeCarrier) -> None:
    dispatcher = await world.run()
    gate = asyncio.Event()
    store = world.stores.verification.start

    async def slow(*args: object) -> object:
        await gate.wait()
        return await store(*args)  # type: ignore[arg-type]

    world.stores.verification.start = slow  # type: ignore[method-assign,assignment]
    starting = asyncio.create_task(world.start(by=dispatcher))
    await world.settle_down()
    stopping = asyncio.create_task(dispatcher.stop())
    await world.settle_down()
    assert not stopping.done()
    gate.set()
    _, send_id = await starting
    await stopping
    assert len(carrier.taken) == 1
    assert world.send(send_id).state is SendState.SUBMITTED


async def test_what_comes_after_the_stop_is_left_to_its_lease(
    world: World, carrier: FakeCarrier
) -> None:
    dispatcher = await world.run()
    assert dispatcher.reserve("fake") == SETTINGS.lease
    _, send_id = await world.start()
    claims, _ = await world.stores.outbox.claim(1, SETTINGS.lease, LIMITS)
    await world.stop()
    dispatcher.deliver(claims[0])
    await world.settle_down()
    assert carrier.calls == 0
    assert (world.send(send_id).attempts, world.send(send_id).state) == (1, SendState.QUEUED)


# ---------------------------------------------------------------------- settling together


async def test_results_of_one_turn_are_one_command(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    sends = [(await world.start())[1] for _ in range(SETTINGS.slots)]
    await world.run()
    carrier.gate.set()
    await world.settle_down()
    assert {world.send(send_id).state for send_id in sends} == {SendState.SUBMITTED}
    assert world.outbox.settles == 1
    assert sorted(result.send_id for result in world.outbox.settled) == sorted(sends)


async def test_one_row_that_cannot_be_written_holds_up_no_other(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    sends = [(await world.start())[1] for _ in range(SETTINGS.slots)]
    dispatcher = await world.run()
    settle = world.outbox.settle

    async def broken(results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        if any(result.send_id == sends[1] for result in results):
            raise RuntimeError("+12025550001")
        return await settle(results, limits)

    world.outbox.settle = broken  # type: ignore[method-assign]
    carrier.gate.set()
    await world.settle_down()
    assert {world.send(send_id).state for send_id in sends if send_id != sends[1]} == {
        SendState.SUBMITTED
    }
    assert world.send(sends[1]).state is SendState.QUEUED
    assert world.logged.count("a send failed") == 1
    assert "2025550001" not in world.logged
    # Every place is free again.
    assert [bool(dispatcher.reserve("fake")) for _ in range(NEAR)] == [True] * NEAR
    for _ in range(NEAR):
        dispatcher.release("fake")


async def test_a_batch_that_is_lost_is_told_of_one_by_one(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    for _ in range(3):
        await world.start()
    await world.run()
    world.outbox.down = 1
    world.clock.advance(SETTINGS.lease)
    carrier.gate.set()
    await world.until(lambda: world.logged.count("a result was lost") == 3)
