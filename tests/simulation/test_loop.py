"""The simulated event loop: its order, its time, its ends."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from tests.simulation.loop import OWNER, Owner, SimulatedLoop, Stuck

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], seed: int = 1) -> tuple[T, SimulatedLoop]:
    loop = SimulatedLoop(random.Random(seed))
    try:
        return loop.run_until_complete(work), loop
    finally:
        loop.close()


async def order_of_five() -> list[int]:
    found: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(0)
        found.append(number)

    await asyncio.gather(*(note(number) for number in range(5)))
    return found


def test_a_seed_gives_an_order_and_others_give_others() -> None:
    orders = [tuple(run(order_of_five(), seed)[0]) for seed in range(20)]
    assert tuple(run(order_of_five(), 3)[0]) == orders[3]
    assert len(set(orders)) > 5
    assert all(sorted(order) == list(range(5)) for order in orders)


def test_time_passes_only_where_all_wait() -> None:
    async def work() -> list[float]:
        time = asyncio.get_running_loop().time
        times = [time()]
        await asyncio.sleep(3_600)
        times.append(time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        return [*times, time()]

    assert run(work())[0] == [0.0, 3_600.0, 3_610.0]


def test_what_goes_to_a_thread_runs_in_this_one() -> None:
    def boom() -> None:
        raise KeyError("boom")

    async def work() -> bool:
        loop = asyncio.get_running_loop()
        with pytest.raises(KeyError):
            await loop.run_in_executor(None, boom)
        return await asyncio.to_thread(asyncio._get_running_loop) is loop

    assert run(work())[0]


def test_waiting_for_ever_is_noticed() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    loop = SimulatedLoop(random.Random(1))
    task = loop.create_task(work())
    with pytest.raises(Stuck):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_process_dies_with_all_of_its_tasks() -> None:
    async def work() -> tuple[bool, bool]:
        owner = Owner("a")
        OWNER.set(owner)
        mine = asyncio.create_task(asyncio.sleep(5))
        OWNER.set(None)
        other = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(1)
        owner.kill()
        await asyncio.wait({mine, other})
        return mine.cancelled(), other.cancelled()

    assert run(work())[0] == (True, False)


def test_what_nobody_catches_ends_the_run() -> None:
    def boom() -> None:
        raise KeyError("boom")

    async def work() -> None:
        asyncio.get_running_loop().call_soon(boom)
        await asyncio.sleep(1)

    loop = SimulatedLoop(random.Random(1))
    task = loop.create_task(work())
    with pytest.raises(KeyError):
        loop.run_until_complete(task)
    loop.forgive()
    loop.run_until_complete(task)
    loop.close()
