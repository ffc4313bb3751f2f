"""Stores to hold to the suites: in memory, and in a file of the test's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.sqlite import SqliteStores

OpenStores = Callable[..., AbstractAsyncContextManager[SqliteStores]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watchword.db"


@pytest.fixture
def open_stores(path: Path, clock: FakeClock, bus: RecordingBus) -> OpenStores:
    """Return what opens the store at `path`, made first unless told otherwise."""

    @asynccontextmanager
    async def opened(
        *, world: str = "dev", create: bool = True, provider: MemoryKeyProvider | None = None
    ) -> AsyncIterator[SqliteStores]:
        stores = await SqliteStores.open(
            path,
            world=world,
            clock=clock,
            bus=bus,
            provider=provider or MemoryKeyProvider(),
            create=create,
        )
        try:
            yield stores
        finally:
            await stores.close()

    return opened
