import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.account.room import Room

from watchword.account.rows import UsageCount, UsageKey
from watchword.account.usage import UsageRecorder
from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import InvalidArgument, Unavailable
from watchword.core.ports import DAY, SECOND
from watchword.rpc.convert import PageTokens
from watchword.tenancy.model import Caller
from watchword.tenancy.usage import UsageMeter


async def counted(room: Room) -> tuple[Caller, str, UsageRecorder]:
    account_id, owner = await room.account()
    application_id = await room.application(owner)
    recorder = UsageRecorder(room.store, room.clock)
    meter: UsageMeter = recorder
    for carrier in ("one", "two"):
        for _ in range(3):
            meter.record(account_id, application_id, "SMS", "DE", carrier, starts=1, sends=2)
        meter.record(account_id, application_id, "SMS", "DE", carrier, approvals=1)
    return owner, application_id, recorder


async def test_what_was_recorded_is_listed_after_a_flush(room: Room) -> None:
    owner, application_id, recorder = await counted(room)
    lists = room.servicer.ListUsage
    assert not (await room.call(owner, lists, pb.ListUsageRequest())).rows
    await recorder.flush()
    await recorder.flush()
    page = await room.call(owner, lists, pb.ListUsageRequest(application_id=application_id))
    assert [(r.carrier, r.starts, r.sends, r.approvals) for r in page.rows] == [
        ("one", 3, 6, 1),
        ("two", 3, 6, 1),
    ]
    assert {(r.date, r.channel, r.region_code) for r in page.rows} == {
        ("2027-01-15", pb.CHANNEL_SMS, "DE")
    }


async def test_pages_of_usage_join(room: Room) -> None:
    owner, _, recorder = await counted(room)
    room.clock.advance(DAY)
    recorder.record(owner.account_id, (await room.application(owner)), "SMS", "FR", "", starts=1)
    await recorder.flush()
    seen, token = [], ""
    while True:
        request = pb.ListUsageRequest(page_size=1, page_token=token)
        page = await room.call(owner, room.servicer.ListUsage, request)
        seen += [(row.date, row.carrier) for row in page.rows]
        token = page.next_page_token
        if not token:
            break
    assert seen == [("2027-01-15", "one"), ("2027-01-15", "two"), ("2027-01-16", "")]


async def test_days_run_from_the_start_to_before_the_end(room: Room) -> None:
    owner, _, recorder = await counted(room)
    await recorder.flush()
    noon = room.clock.now() // SECOND

    def at(days: int) -> Timestamp:
        return Timestamp(seconds=noon + days * DAY // SECOND)

    for start, end, rows in ((0, 1, 2), (0, 0, 0), (1, 2, 0), (-5, 0, 0), (-5, 1, 2)):
        request = pb.ListUsageRequest(start_time=at(start), end_time=at(end))
        page = await room.call(owner, room.servicer.ListUsage, request)
        assert len(page.rows) == rows
    request = pb.ListUsageRequest(start_time=at(1), end_time=at(0))
    with pytest.raises(InvalidArgument) as caught:
        await room.call(owner, room.servicer.ListUsage, request)
    assert caught.value.field == "start_time"


async def test_c054_extreme_times_are_only_empty_pages(room: Room) -> None:
    owner, _, _ = await counted(room)
    for seconds in (-62_135_596_800, 253_402_300_799):
        request = pb.ListUsageRequest(end_time=Timestamp(seconds=seconds))
        page = await room.call(owner, room.servicer.ListUsage, request)
        assert not page.rows
    request = pb.ListUsageRequest(end_time=Timestamp(seconds=2**62))
    with pytest.raises(InvalidArgument):
        await room.call(owner, room.servicer.ListUsage, request)


@pytest.mark.parametrize("cursor", ["x", "1/SMS/DE", f"{'9' * 30}/SMS/DE/", "-1/SMS/DE/"])
async def test_a_sealed_cursor_of_another_form_is_refused(room: Room, cursor: str) -> None:
    owner, _, _ = await counted(room)
    token = PageTokens(b"k" * 32).seal(owner, "ListUsage", cursor, "", "", "", "")
    with pytest.raises(InvalidArgument) as caught:
        await room.call(owner, room.servicer.ListUsage, pb.ListUsageRequest(page_token=token))
    assert caught.value.field == "page_token"


async def test_a_store_that_is_down_loses_no_count(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _, recorder = await counted(room)

    async def down(_: object) -> None:
        raise Unavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(room.store, "add_usage", down)
        with pytest.raises(Unavailable):
            await recorder.flush()
    recorder.record(*next(iter(recorder._counts))[:2], "SMS", "DE", "one", starts=1)
    await recorder.flush()
    page = await room.call(owner, room.servicer.ListUsage, pb.ListUsageRequest())
    assert [row.starts for row in page.rows] == [4, 3]


async def test_memory_stays_bounded(room: Room) -> None:
    recorder = UsageRecorder(room.store, room.clock, capacity=2)
    for carrier in ("a", "b", "c", "a"):
        recorder.record("AC", "AP", "SMS", "DE", carrier, starts=1)
    assert [key.carrier for key in recorder._counts] == ["a", "b"]
    assert recorder._counts[UsageKey("AC", "AP", 20_833, "SMS", "DE", "a")] == UsageCount(2)


async def test_the_task_flushes_and_survives_a_store_that_is_down(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counted(room)
    _, _, recorder = await counted(room)
    recorder._interval = 0
    calls = asyncio.Event()
    real, failures = room.store.add_usage, [Unavailable("down")]

    async def flaky(counts: dict[UsageKey, UsageCount]) -> None:
        if failures:
            raise failures.pop()
        await real(counts)
        calls.set()

    monkeypatch.setattr(room.store, "add_usage", flaky)
    task = asyncio.create_task(recorder.run())
    await asyncio.wait_for(calls.wait(), 10)
    task.cancel()
    assert len(room.store.tables.usage) == 2
