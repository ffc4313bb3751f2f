"""The dispatcher: at least once, at most twice, never late, and nobody waits for another."""

import asyncio
from itertools import pairwise

import pytest

from watchword.core import codes
from watchword.core.ids import epoch_of
from watchword.core.ports import DAY, MINUTE, SECOND, Millis
from watchword.delivery.carrier import (
    Ambiguous,
    CarrierError,
    Channel,
    Message,
    Misconfigured,
    Receipt,
    ReceiptState,
    Rejected,
    Submitted,
    Throttled,
    Unreachable,
)
from watchword.delivery.dispatcher import Dispatcher, DispatchSettings
from watchword.delivery.lane import Lane, room
from watchword.delivery.outbox import MAX_ATTEMPTS, NO_CARRIERS, Claimed, SendError, SendState
from watchword.delivery.receipts import Receipts
from watchword.fraud.limits import PhoneLimits
from watchword.testing.carriers import FakeCarrier
from watchword.testing.delivery import LIMITS, SETTINGS, World
from watchword.testing.verification_cases import ACCOUNT, APPLICATION
from watchword.verification.model import State
from watchword.verification.store import CancelCommand

Outcome = tuple[SendState, SendError, int]


def outcome(world: World, send_id: str) -> Outcome:
    send = world.send(send_id)
    return send.state, send.error_reason, send.attempts


QUEUED = SendState.QUEUED
SUBMITTED = SendState.SUBMITTED
FAILED = SendState.FAILED


# ---------------------------------------------------------------------- the message


async def test_a_queued_code_is_sent_without_polling(world: World, carrier: FakeCarrier) -> None:
    await world.run()
    verification, send_id = await world.start()
    await world.settle_down()
    [message] = carrier.taken
    key = await world.epochs.create(ACCOUNT, epoch_of(world.clock.now()))
    code = codes.derive_code(
        codes.code_key(key, verification.verification_id, APPLICATION), 0, 6
    ).reveal()
    assert message.code.reveal() == code
    assert code in message.body.reveal()
    assert message.to.reveal() == "+12025550001"
    assert message.body.reveal().startswith("Example: ")
    assert (message.send_id, message.attempt_id) == (send_id, f"{send_id}.1")
    assert message.verification_id == verification.verification_id
    assert message.time == world.clock.now()
    assert outcome(world, send_id) == (SUBMITTED, SendError.NONE, 1)
    assert world.send(send_id).provider_id == "P1"
    assert world.meter.attempts == [("fake", "submitted")]
    assert world.meter.states == [("fake", "SUBMITTED")]


async def test_what_was_queued_before_the_start_is_sent(world: World, carrier: FakeCarrier) -> None:
    await world.start()
    await world.run()
    assert len(carrier.taken) == 1


async def test_a_custom_code_is_opened_and_sent(world: World, carrier: FakeCarrier) -> None:
    await world.start(custom="7294610385")
    await world.run()
    assert carrier.taken[0].code.reveal() == "7294610385"
    assert "7294610385" in carrier.taken[0].body.reveal()


async def test_a_notice_has_no_code(world: World, carrier: FakeCarrier) -> None:
    await world.run()
    send_id = await world.notify("REBIND_REQUESTED")
    await world.settle_down()
    [message] = carrier.taken
    assert message.to.reveal() == "+12025550100"
    assert message.body.reveal().startswith("Example: ")
    assert (message.code.reveal(), message.verification_id) == ("", "")
    assert outcome(world, send_id) == (SUBMITTED, SendError.NONE, 1)


async def test_a_notice_of_an_unknown_kind_ends_alone(world: World, carrier: FakeCarrier) -> None:
    send_id = await world.notify("NO_SUCH_KIND")
    await world.start()
    await world.run()
    assert outcome(world, send_id) == (FAILED, SendError.CARRIER_MISCONFIGURED, 1)
    assert len(carrier.taken) == 1


# ---------------------------------------------------------------------- what must not go


async def test_a_canceled_verification_sends_nothing(world: World, carrier: FakeCarrier) -> None:
    verification, send_id = await world.start()
    await world.stores.verification.cancel(
        CancelCommand(verification.verification_id, ACCOUNT, APPLICATION, None)
    )
    await world.run()
    assert carrier.calls == 0
    assert outcome(world, send_id) == (FAILED, SendError.NOT_NEEDED, 0)
    assert world.meter.states == [("fake", "FAILED")]


async def test_an_expired_verification_sends_nothing(world: World, carrier: FakeCarrier) -> None:
    _, send_id = await world.start()
    world.clock.advance(10 * MINUTE)
    await world.run()
    assert carrier.calls == 0
    assert outcome(world, send_id) == (FAILED, SendError.TOO_LATE, 0)
    assert world.meter.states == [("fake", "FAILED")]


async def test_what_expires_in_line_is_not_sent(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    settings = SETTINGS._replace(slots=1, lease=20 * MINUTE)
    sends = {(await world.start())[1] for _ in range(2)}
    await world.run(settings)
    assert carrier.calls == 1
    [late] = sends - {carrier.called[0].send_id}
    world.clock.advance(10 * MINUTE)
    carrier.gate.set()
    await world.settle_down()
    assert carrier.calls == 1
    assert outcome(world, late) == (FAILED, SendError.TOO_LATE, 1)


async def test_what_is_canceled_in_line_is_not_sent(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    started = [await world.start() for _ in range(3)]
    await world.run(SETTINGS._replace(slots=1))
    called = carrier.called[0].send_id
    (canceled, gone), (_, sent) = [one for one in started if one[1] != called]
    command = CancelCommand(canceled.verification_id, ACCOUNT, APPLICATION, None)
    await world.stores.verification.cancel(command)
    carrier.gate.set()
    await world.settle_down()
    assert {message.send_id for message in carrier.called} == {called, sent}
    assert outcome(world, gone) == (FAILED, SendError.NOT_NEEDED, 1)
    assert outcome(world, sent) == (SUBMITTED, SendError.NONE, 1)


async def test_a_destroyed_epoch_key_ends_the_send_without_a_call(
    world: World, carrier: FakeCarrier
) -> None:
    verification, send_id = await world.start()
    await world.keystore.destroy_expired(world.clock.now() + 10 * DAY)
    await world.run()
    assert carrier.calls == 0
    assert outcome(world, send_id) == (FAILED, SendError.TOO_LATE, 1)
    row = world.stores.engine.tables.verifications[verification.verification_id]
    assert row.state is State.FAILED
    assert world.meter.attempts == []


async def test_a_key_store_that_is_away_is_waited_for(
    world: World, carrier: FakeCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, send_id = await world.start()
    get = world.keystore.get

    async def away(name: str) -> bytes | None:
        monkeypatch.setattr(world.keystore, "get", get)
        from watchword.core.errors import Unavailable  # noqa: PLC0415

        raise Unavailable(name)

    monkeypatch.setattr(world.keystore, "get", away)
    await world.run()
    assert outcome(world, send_id) == (QUEUED, SendError.NONE, 1)
    await world.pass_time(2 * SECOND)
    assert len(carrier.taken) == 1


async def test_a_row_that_was_tampered_with_ends_its_own_send_alone(
    world: World, carrier: FakeCarrier
) -> None:
    broken, send_id = await world.start()
    tables = world.stores.engine.tables.verifications
    row = tables[broken.verification_id]
    tables[broken.verification_id] = row._replace(phone_sealed=row.phone_sealed[:-1] + b"x")
    _, fine = await world.start()
    await world.run()
    assert outcome(world, send_id) == (FAILED, SendError.CARRIER_MISCONFIGURED, 1)
    assert outcome(world, fine) == (SUBMITTED, SendError.NONE, 1)
    assert len(carrier.taken) == 1


async def test_a_carrier_that_is_configured_no_more_fails_the_send(world: World) -> None:
    _, send_id = await world.start("gone")
    _, fine = await world.start()
    await world.run()
    assert outcome(world, send_id) == (FAILED, SendError.CARRIER_MISCONFIGURED, 1)
    assert world.send(fine).state is SUBMITTED


# ---------------------------------------------------------------------- typed errors


async def test_a_rejection_is_final(world: World, carrier: FakeCarrier) -> None:
    carrier.failures.append(Rejected("no"))
    verification, send_id = await world.start()
    await world.run()
    assert outcome(world, send_id) == (FAILED, SendError.DELIVERY_REFUSED, 1)
    row = world.stores.engine.tables.verifications[verification.verification_id]
    assert row.state is State.FAILED
    assert world.meter.attempts == [("fake", "rejected")]
    assert world.meter.states == [("fake", "FAILED")]


@pytest.mark.parametrize(
    "error", [Throttled("slow", 90 * SECOND), Unreachable("down"), Misconfigured("wrong")]
)
async def test_where_nothing_was_sent_another_of_the_trust_class_takes_over(
    world: World, carrier: FakeCarrier, backup: FakeCarrier, error: CarrierError
) -> None:
    carrier.failures.append(error)
    _, send_id = await world.start()
    await world.run()
    assert world.send(send_id).carrier == "backup"
    assert world.send(send_id).state is QUEUED
    await world.pass_time(2 * SECOND)
    assert outcome(world, send_id) == (SUBMITTED, SendError.NONE, 2)
    assert len(backup.taken) == 1
    assert carrier.taken == []


async def test_nobody_of_another_trust_class_takes_over(world: World) -> None:
    tenant = world.carriers["tenant"]
    tenant.failures.append(Unreachable("down"))
    _, send_id = await world.start("tenant")
    await world.run()
    assert world.send(send_id).carrier == "tenant"
    await world.pass_time(2 * SECOND)
    assert outcome(world, send_id) == (SUBMITTED, SendError.NONE, 2)
    assert world.carriers["fake"].calls == 0


async def test_misconfigured_with_nobody_left_is_final(world: World, backup: FakeCarrier) -> None:
    backup.failures.append(Misconfigured("wrong"))
    _, send_id = await world.start("backup")
    await world.run()
    assert outcome(world, send_id) == (FAILED, SendError.CARRIER_MISCONFIGURED, 1)


async def test_a_throttling_carrier_says_when(world: World) -> None:
    tenant = world.carriers["tenant"]
    tenant.failures.append(Throttled("slow", 90 * SECOND))
    _, send_id = await world.start("tenant")
    await world.run()
    assert world.send(send_id).due_time == world.clock.now() + 90 * SECOND
    await world.pass_time(89 * SECOND)
    assert tenant.calls == 1
    await world.pass_time(SECOND)
    assert len(tenant.taken) == 1


async def test_a_retry_after_beyond_reason_is_cut(world: World) -> None:
    world.carriers["tenant"].failures.append(Throttled("slow", DAY))
    await world.start("tenant")
    await world.run()
    assert world.outbox.settled[0].retry_after == 600 * SECOND


async def test_retries_wait_longer_each_time_and_end_with_the_code(world: World) -> None:
    tenant = world.carriers["tenant"]
    tenant.failures.extend(Unreachable("down") for _ in range(20))
    _, send_id = await world.start("tenant")
    await world.run()
    waits = []
    while world.send(send_id).state is QUEUED:
        wait = world.send(send_id).due_time - world.clock.now()
        waits.append(wait)
        await world.pass_time(wait - 1)
        assert tenant.calls == len(waits)
        await world.pass_time(1)
    assert tenant.calls <= MAX_ATTEMPTS
    assert all(later > earlier / 2 for earlier, later in pairwise(waits))
    assert waits[-1] > 10 * waits[0]
    assert outcome(world, send_id) == (FAILED, SendError.CARRIER_UNREACHABLE, MAX_ATTEMPTS)


@pytest.mark.parametrize("error", [ValueError("+12025550001 493817"), KeyError(1), TimeoutError()])
async def test_what_an_adapter_must_not_raise_is_in_doubt(
    world: World, carrier: FakeCarrier, error: Exception
) -> None:
    carrier.failures.append(error)
    _, send_id = await world.start()
    await world.run()
    assert world.meter.attempts == [("fake", "ambiguous")]
    assert world.send(send_id).doubts == 1
    assert world.send(send_id).carrier == "fake"
    assert "2025550001" not in world.logged
    assert "493817" not in world.logged


async def test_a_kind_that_nobody_knows_is_in_doubt(world: World, carrier: FakeCarrier) -> None:
    class Strange(CarrierError):
        kind = "strange"

    carrier.failures.append(Strange("?"))
    _, send_id = await world.start()
    await world.run()
    assert world.send(send_id).doubts == 1


async def test_a_call_that_takes_too_long_is_cut_off_and_in_doubt(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    _, send_id = await world.start()
    await world.run(SETTINGS._replace(call_timeout=1))
    await world.until(lambda: world.send(send_id).doubts == 1)
    assert carrier.waiting == 0
    assert world.meter.attempts == [("fake", "ambiguous")]


# ---------------------------------------------------------------------- doubt and crashes


async def test_c071_a_doubtful_message_is_repeated_once_by_the_same_carrier(
    world: World, carrier: FakeCarrier, backup: FakeCarrier
) -> None:
    carrier.lost.extend([Ambiguous("?"), Ambiguous("?")])
    _, send_id = await world.start()
    await world.run()
    await world.pass_time(2 * SECOND)
    assert outcome(world, send_id) == (SUBMITTED, SendError.OUTCOME_UNKNOWN, 2)
    await world.pass_time(5 * MINUTE)
    first, second = carrier.taken
    assert first.code == second.code
    assert first.attempt_id != second.attempt_id
    assert backup.calls == 0


async def test_c071_the_repetition_is_charged_to_the_budgets(
    world: World, carrier: FakeCarrier
) -> None:
    verification, _ = await world.start()
    budgets = world.stores.engine.tables.budgets
    assert budgets[ACCOUNT].hour_used == 1
    carrier.lost.append(Ambiguous("?"))
    await world.run()
    await world.pass_time(2 * SECOND)
    assert len(carrier.taken) == 2
    assert world.stores.engine.tables.budgets[ACCOUNT].hour_used == 2
    times = world.stores.engine.tables.send_times[verification.phone_index][0]
    assert len(times) == 2


class Crash(Exception):
    """The process is gone at this point."""


@pytest.mark.parametrize("point", ["claimed", "called", "sent"])
async def test_c070_a_crash_sends_at_least_once_and_at_most_twice(
    world: World, carrier: FakeCarrier, point: str
) -> None:
    verification, send_id = await world.start()
    claims, _ = await world.stores.outbox.claim(10, SETTINGS.lease, LIMITS)
    if point != "claimed":
        message = await world.composer().compose(claims[0], world.clock.now())
        assert isinstance(message, Message)
        if point == "sent":
            await carrier.send(message)
    # Here the process dies; another one starts and finds the lease.
    assert outcome(world, send_id) == (QUEUED, SendError.NONE, 1)
    sent = len(carrier.taken)
    await world.run()
    assert len(carrier.taken) == sent
    await world.pass_time(SETTINGS.lease)
    assert outcome(world, send_id) == (SUBMITTED, SendError.NONE, 2)
    assert 1 <= len(carrier.taken) <= 2
    assert len({m.code.reveal() for m in carrier.taken}) == 1
    assert {m.send_id for m in carrier.taken} == {send_id}
    row = world.stores.engine.tables.verifications[verification.verification_id]
    assert row.state is State.PENDING


async def test_c070_crash_after_crash_never_sends_a_third_time(
    world: World, carrier: FakeCarrier
) -> None:
    _, send_id = await world.start()
    composer = world.composer()
    for _ in range(5):
        for claim in (await world.stores.outbox.claim(10, SETTINGS.lease, LIMITS)).claims:
            message = await composer.compose(claim, world.clock.now())
            assert message is not None
            await carrier.send(message)
        world.clock.advance(SETTINGS.lease)
    assert len(carrier.taken) == 2
    assert outcome(world, send_id) == (SUBMITTED, SendError.OUTCOME_UNKNOWN, 2)


async def test_c070_nothing_is_sent_before_its_attempt_is_recorded(
    world: World, carrier: FakeCarrier
) -> None:
    seen: list[tuple[int, bool]] = []

    async def send(message: Message) -> Submitted:
        row = world.send(message.send_id)
        seen.append((row.attempts, row.lease_time > world.clock.now()))
        return Submitted()

    carrier.send = send  # type: ignore[method-assign]
    await world.start()
    await world.run()
    assert seen == [(1, True)]


# ---------------------------------------------------------------------- bulkheads


async def test_c072_a_hung_carrier_holds_up_nobody_else(world: World) -> None:
    hung, fine = world.carriers["tenant"], world.carriers["fake"]
    hung.gate.clear()
    for _ in range(100):
        await world.start("tenant")
    await world.run()
    for _ in range(20):
        await world.start("fake")
    await world.until(lambda: len(fine.taken) == 20)
    assert hung.waiting == SETTINGS.slots
    assert hung.taken == []


async def test_c072_what_a_hung_carrier_had_no_room_for_goes_when_it_is_back(
    world: World,
) -> None:
    hung = world.carriers["tenant"]
    hung.gate.clear()
    sends = [(await world.start("tenant"))[1] for _ in range(100)]
    await world.run()
    hung.gate.set()
    await world.until(lambda: len(hung.taken) == 100)
    await world.settle_down()
    assert {outcome(world, send_id) for send_id in sends} == {(SUBMITTED, SendError.NONE, 1)}


async def test_c072_no_more_than_a_line_is_held_for_a_hung_carrier(world: World) -> None:
    world.carriers["tenant"].gate.clear()
    sends = [(await world.start("tenant"))[1] for _ in range(100)]
    await world.run()
    leased = [send_id for send_id in sends if world.send(send_id).lease_time]
    assert len(leased) == 8 * SETTINGS.slots
    assert sum(world.send(send_id).attempts for send_id in sends) == len(leased)
    assert world.outbox.settled == []
    assert world.meter.attempts == []


def test_what_is_claimed_fits_every_lane_that_is_not_full(carrier: FakeCarrier) -> None:
    lanes = [Lane(name, carrier, 4) for name in ("idle", "busy", "full")]
    loads: dict[tuple[int, int, int], tuple[int, set[str]]] = {
        (0, 0, 0): (32, set()),
        (0, 20, 0): (12, set()),
        (0, 20, 32): (12, {"full"}),
        (0, 29, 32): (32, {"busy", "full"}),
        (29, 30, 32): (0, {"idle", "busy", "full"}),
    }
    for load, (limit, full) in loads.items():
        for lane, sends in zip(lanes, load, strict=True):
            lane.load = sends
        assert room(lanes) == (limit, frozenset(full))


def test_a_lane_knows_how_long_its_line_lasts(carrier: FakeCarrier) -> None:
    lane = Lane("a", carrier, 4)
    for _ in range(50):
        lane.took(100)
    lane.load = 20
    assert 400 <= lane.wait <= 500


async def test_c072_only_the_slots_are_used_at_a_time(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    for _ in range(50):
        await world.start()
    await world.run(SETTINGS._replace(slots=9, carrier_slots={"fake": 3}))
    assert carrier.waiting == 3


async def test_no_more_is_claimed_than_there_is_room_for(carrier: FakeCarrier) -> None:
    world = World({"fake": carrier})
    carrier.gate.clear()
    sends = [(await world.start())[1] for _ in range(50)]
    await world.run()
    assert sum(world.send(send_id).attempts for send_id in sends) == 8 * SETTINGS.slots
    carrier.gate.set()
    await world.until(lambda: len(carrier.taken) == 50)
    assert {world.send(send_id).attempts for send_id in sends} == {1}
    await world.stop()


async def test_what_waited_too_long_in_line_is_given_back_unsent(carrier: FakeCarrier) -> None:
    world = World({"fake": carrier})
    carrier.gate.clear()
    sends = {(await world.start())[1] for _ in range(2)}
    await world.run(SETTINGS._replace(slots=1))
    [first] = [message.send_id for message in carrier.called]
    [second] = sends - {first}
    world.clock.advance(31 * SECOND)
    carrier.gate.set()
    await world.settle_down()
    assert outcome(world, first) == (SUBMITTED, SendError.NONE, 1)
    # Its lease would have run out during the call.
    assert world.send(second).doubts == 0
    assert carrier.calls == 1
    await world.pass_time(20 * SECOND)
    assert outcome(world, second) == (SUBMITTED, SendError.NONE, 2)
    await world.stop()


async def test_a_line_that_does_not_move_is_left_before_the_lease_ends(
    carrier: FakeCarrier,
) -> None:
    world = World({"fake": carrier})
    carrier.gate.clear()
    sends = {(await world.start())[1] for _ in range(2)}
    claim = world.outbox.claim

    async def slow(
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        claimed = await claim(limit, lease, limits, except_carriers)
        if claimed.claims:
            # One millisecond is left to begin a call that ends within the lease.
            world.clock.advance(lease - SETTINGS.call_timeout - 1)
        return claimed

    world.outbox.claim = slow  # type: ignore[method-assign]
    await world.run(SETTINGS._replace(slots=1))
    [second] = sends - {message.send_id for message in carrier.called}
    await world.until(lambda: world.send(second).lease_time == 0)
    assert world.send(second).doubts == 0
    assert world.send(second).state is QUEUED
    assert carrier.calls == 1
    carrier.gate.set()
    await world.stop()


# ---------------------------------------------------------------------- outages of the store


async def test_an_outage_is_waited_out(world: World, carrier: FakeCarrier) -> None:
    await world.start()
    world.outbox.down = 3
    await world.run()
    await world.until(lambda: len(carrier.taken) == 1)
    assert world.logged.count("the outbox is unavailable") == 3


async def test_a_result_is_recorded_once_the_store_is_back(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    _, send_id = await world.start()
    await world.run()
    world.outbox.down = 3
    carrier.gate.set()
    await world.until(lambda: world.send(send_id).state is SUBMITTED)
    assert carrier.calls == 1


async def test_a_result_that_comes_too_late_is_given_up(world: World, carrier: FakeCarrier) -> None:
    carrier.gate.clear()
    _, send_id = await world.start()
    await world.run()
    world.outbox.down = 1
    world.clock.advance(SETTINGS.lease)
    carrier.gate.set()
    await world.until(lambda: "a result was lost" in world.logged)
    await world.until(lambda: world.send(send_id).doubts == 1)


async def test_a_bug_in_the_store_does_not_end_the_dispatcher(
    world: World, carrier: FakeCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = world.outbox.claim

    async def broken(*args: object) -> object:
        monkeypatch.setattr(world.outbox, "claim", claim)
        raise RuntimeError("+12025550001")

    monkeypatch.setattr(world.outbox, "claim", broken)
    await world.start()
    await world.run()
    await world.until(lambda: len(carrier.taken) == 1)
    assert "the outbox failed" in world.logged
    assert "2025550001" not in world.logged


async def test_an_idle_dispatcher_asks_for_nothing(world: World) -> None:
    await world.run()
    claims = world.outbox.claims
    for _ in range(5):
        await world.settle_down()
    assert world.outbox.claims == claims == 1


async def test_the_tick_looks_without_being_told(world: World, carrier: FakeCarrier) -> None:
    await world.run(SETTINGS._replace(tick=1))
    await world.until(lambda: len(world.meter.depths) > 0)
    publish = world.bus.publish
    world.bus.publish = lambda object_id: None  # type: ignore[method-assign]
    await world.start()
    await world.until(lambda: len(carrier.taken) == 1)
    world.bus.publish = publish  # type: ignore[method-assign]


# ---------------------------------------------------------------------- the end


async def test_a_stop_lets_calls_finish_and_claims_no_more(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    _, send_id = await world.start()
    dispatcher = await world.run()
    stopping = asyncio.create_task(dispatcher.stop())
    await world.settle_down()
    _, later = await world.start()
    assert not stopping.done()
    carrier.gate.set()
    await stopping
    assert world.send(send_id).state is SUBMITTED
    assert outcome(world, later) == (QUEUED, SendError.NONE, 0)


async def test_a_stop_in_a_hurry_records_what_it_cut_off(
    world: World, carrier: FakeCarrier
) -> None:
    carrier.gate.clear()
    sends = {(await world.start())[1] for _ in range(SETTINGS.slots + 1)}
    dispatcher = await world.run()
    assert carrier.waiting == SETTINGS.slots
    called = {message.send_id for message in carrier.called}
    [in_line] = sends - called
    await dispatcher.stop(grace=0)
    assert carrier.waiting == 0
    assert {world.send(send_id).doubts for send_id in called} == {1}
    assert world.send(in_line).doubts == 0
    assert world.send(in_line).lease_time == 0
    assert world.send(in_line).state is QUEUED


async def test_a_stop_in_a_hurry_does_not_cut_off_the_record(
    world: World, carrier: FakeCarrier
) -> None:
    _, send_id = await world.start()
    gate = asyncio.Event()
    settle = world.outbox.settle

    async def slow(*args: object) -> object:
        await gate.wait()
        return await settle(*args)  # type: ignore[arg-type]

    world.outbox.settle = slow  # type: ignore[method-assign,assignment]
    dispatcher = await world.run()
    assert len(carrier.taken) == 1
    stopping = asyncio.create_task(dispatcher.stop(grace=1))
    await world.settle_down()
    asyncio.get_running_loop().call_later(0.002, gate.set)
    await stopping
    await world.until(lambda: world.send(send_id).state is SUBMITTED)
    assert world.send(send_id).doubts == 0


async def test_stopping_what_never_ran_is_fine(world: World) -> None:
    await world.dispatcher().stop()


def test_a_lease_too_short_for_a_call_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="lease"):
        world.dispatcher(DispatchSettings(call_timeout=10 * SECOND, lease=20 * SECOND))


# ---------------------------------------------------------------------- receipts, logs


async def test_a_receipt_moves_the_send_and_is_counted(world: World) -> None:
    _, send_id = await world.start()
    await world.run()
    receipts = Receipts(world.outbox, world.meter)
    await receipts(Receipt(send_id, ReceiptState.DELIVERED))
    assert world.send(send_id).state is SendState.DELIVERED
    assert world.meter.states == [("fake", "SUBMITTED"), ("fake", "DELIVERED")]


async def test_a_receipt_that_contradicts_or_names_nothing_counts_nothing(world: World) -> None:
    _, send_id = await world.start()
    await world.run()
    receipts = Receipts(world.outbox, world.meter)
    await receipts(Receipt(send_id, ReceiptState.DELIVERED))
    await receipts(Receipt(send_id, ReceiptState.UNDELIVERED))
    await receipts(Receipt("SN" + "0" * 32, ReceiptState.DELIVERED))
    assert world.send(send_id).state is SendState.DELIVERED
    assert world.meter.states[1:] == [("fake", "DELIVERED")]


async def test_a_failing_carrier_is_logged_now_and_then(world: World) -> None:
    tenant = world.carriers["tenant"]
    tenant.failures.extend(Unreachable("down") for _ in range(8))
    for _ in range(8):
        await world.start("tenant")
    await world.run()
    assert world.logged.count("a carrier fails") == 1


async def test_nothing_personal_is_logged(world: World, carrier: FakeCarrier) -> None:
    carrier.failures.extend([Unreachable("x"), Ambiguous("x"), ValueError("x"), Rejected("x")])
    for _ in range(6):
        await world.start()
    await world.run()
    for message in carrier.taken:
        assert message.code.reveal() not in world.logged
        assert message.to.reveal() not in world.logged
    assert world.logged


def test_a_dispatcher_shows_no_secret(world: World) -> None:
    assert isinstance(world.dispatcher(), Dispatcher)
    assert world.router.first(Channel.SMS) == "fake"
