"""Histories of 64 callers on two replicas over one store: some order explains every answer."""

import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.linearizability.history import History, NotLinearizable
from tests.linearizability.service_way import crowd
from tests.simulation.broken import BROKEN
from tests.simulation.loop import SimulatedLoop
from tests.support.places import PLACES, MakePlace, MemoryPlace, Place

from watchword.core.ports import ChangeBus, Clock
from watchword.server.plugins import Stores

# A caller that goes away at once leaves work behind that was never begun.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

SEEDS = {"memory": 4, "sqlite": 2}
MANY = {"memory": 400, "sqlite": 60}
_SHORT = (0.0, 0.0, 0.001)


async def recorded(place: Place, seed: int, actions: int, faults: float) -> History:
    try:
        return await (await crowd(place, seed, faults=faults)).run(actions)
    finally:
        await place.close()


def simulated(work: Coroutine[Any, Any, History], seed: int) -> History:
    """Record a history in an order that the seed draws, and check it."""
    loop = SimulatedLoop(random.Random(seed))
    try:
        history = loop.run_until_complete(work)
        history.check()
    except NotLinearizable as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        loop.close()
    return history


@pytest.mark.parametrize("faults", [0.0, 0.05])
@pytest.mark.parametrize("store", PLACES)
def test_c033_two_replicas_answer_as_one_after_the_other(
    store: str, faults: float, tmp_path: Path
) -> None:
    for seed in range(SEEDS[store]):
        place = PLACES[store](tmp_path / str(seed))
        history = simulated(recorded(place, seed, 6, faults), seed)
        assert history.most_running > 50
        assert {("started",), ("approved",), ("canceled",), ("read",)} <= history.outcomes.keys()


@pytest.mark.long
@pytest.mark.parametrize("store", PLACES)
def test_many_histories_of_two_replicas(store: str, tmp_path: Path) -> None:
    for seed in range(1_000, 1_000 + MANY[store]):
        faults = (0.0, 0.02, 0.1)[seed % 3]
        simulated(recorded(PLACES[store](tmp_path / str(seed)), seed, 8, faults), seed)


@pytest.mark.parametrize("make_place", PLACES.values(), ids=PLACES)
async def test_c033_with_real_time_and_threads(make_place: MakePlace, tmp_path: Path) -> None:
    place = make_place(tmp_path / "store")
    try:
        history = await (await crowd(place, 7, faults=0.02, pauses=_SHORT)).run(5)
    finally:
        await place.close()
    history.check()
    assert history.most_running > 50


@pytest.mark.parametrize("wrong", [0, 8, 60, 63, 64])
@pytest.mark.parametrize("store", PLACES)
def test_c027_all_try_one_code_at_once(store: str, wrong: int, tmp_path: Path) -> None:
    async def meet() -> History:
        place = PLACES[store](tmp_path / "store")
        try:
            return await (await crowd(place, wrong, faults=0.0)).meet(wrong)
        finally:
            await place.close()

    history = simulated(meet(), wrong)
    assert history.outcomes[("approved",)] <= 1
    assert history.outcomes[("rejected", "WRONG_CODE")] <= 5


@pytest.mark.parametrize("name", ["approves twice", "forgets guesses", "loses updates"])
def test_a_broken_store_is_not_linearizable(name: str, tmp_path: Path) -> None:
    class BrokenPlace(MemoryPlace):
        async def open(self, clock: Clock, bus: ChangeBus) -> Stores:
            return BROKEN[name].breaks(await super().open(clock, bus))

    with pytest.raises(NotLinearizable):
        simulated(recorded(BrokenPlace(tmp_path), 1, 6, 0.0), 1)
