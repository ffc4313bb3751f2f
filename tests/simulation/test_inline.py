"""A store that has a loop and threads of its own takes part in a simulation all the same."""

from pathlib import Path

import pytest
from tests.simulation.simulation import simulate
from tests.support.inline import InlineStores, inline
from tests.support.places import SqlitePlace

from watchword.core.ports import ChangeBus, Clock
from watchword.server.plugins import Stores

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


class ThreadedPlace(SqlitePlace):
    """SQLite with its real loop and its real threads."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._inlined: list[InlineStores] = []

    async def open(self, clock: Clock, bus: ChangeBus) -> Stores:
        stores = inline(lambda news: self.opened(clock, news), bus)
        assert isinstance(stores, InlineStores)
        self._inlined.append(stores)
        self.look()
        return stores

    async def close(self) -> None:
        for stores in self._inlined:
            await stores.close()
        self._open.clear()
        await super().close()


def test_a_store_with_a_loop_of_its_own_takes_part(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(4):
        outcomes |= simulate(seed, ThreadedPlace, tmp_path / str(seed)).outcomes
    assert {("started",), ("approved",)} <= outcomes


def test_its_run_follows_from_the_seed_as_well(tmp_path: Path) -> None:
    made = [simulate(3, ThreadedPlace, tmp_path / str(n)) for n in range(2)]
    assert made[0] == made[1]
