"""The change bus: who subscribed learns of a change; who did not costs nothing."""

import asyncio

from watchword.server.bus import LocalChangeBus


async def test_a_subscriber_learns_of_a_change_after_it_subscribed() -> None:
    bus = LocalChangeBus()
    bus.publish("VE1")
    async with bus.subscribe("VE1") as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish("VE1")
        await waiting


async def test_a_change_before_the_wait_is_not_missed() -> None:
    bus = LocalChangeBus()
    async with bus.subscribe("VE1") as changes:
        bus.publish("VE1")
        await anext(changes)


async def test_changes_merge_while_a_subscriber_is_slow() -> None:
    bus = LocalChangeBus()
    async with bus.subscribe("VE1") as changes:
        for _ in range(100):
            bus.publish("VE1")
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish("VE1")
        await waiting


async def test_every_subscriber_of_that_object_and_no_other_is_woken() -> None:
    bus = LocalChangeBus()
    async with (
        bus.subscribe("VE1") as first,
        bus.subscribe("VE1") as second,
        bus.subscribe("VE2") as other,
    ):
        bus.publish("VE1")
        await anext(first)
        await anext(second)
        waiting = asyncio.ensure_future(anext(other))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_a_change_may_come_from_another_thread() -> None:
    bus = LocalChangeBus()
    async with bus.subscribe("VE1") as changes:
        await asyncio.to_thread(bus.publish, "VE1")
        await anext(changes)


async def test_nothing_is_left_of_a_subscriber_that_went() -> None:
    bus = LocalChangeBus()
    async with bus.subscribe("VE1"), bus.subscribe("VE1"):
        assert len(bus._watchers["VE1"]) == 2
    assert bus._watchers == {}
    bus.publish("VE1")
