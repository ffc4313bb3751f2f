"""Memory and SQLite do what a store must do."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.generated_contract import GeneratedContract
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory import MemoryStores
from watchword.testing.outbox_contract import OutboxContract
from watchword.testing.races_contract import RacesContract
from watchword.testing.verification_cases import Harness
from watchword.testing.verification_contract import VerificationStoreContract
from watchword_adapters.stores.sqlite import SqliteStores


def memory_harness() -> Harness:
    clock, bus = FakeClock(), RecordingBus()
    stores = MemoryStores(clock, bus)
    return Harness(stores.verification, stores.outbox, clock, bus.published)


@asynccontextmanager
async def sqlite_harness(directory: Path) -> AsyncIterator[Harness]:
    clock, bus = FakeClock(), RecordingBus()
    stores = await SqliteStores.open(
        directory / "watchword.db",
        world="dev",
        clock=clock,
        bus=bus,
        provider=MemoryKeyProvider(),
        create=True,
    )
    yield Harness(stores.verification, stores.outbox, clock, bus.published)
    await stores.close()


class TestMemoryVerification(VerificationStoreContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return memory_harness()


class TestMemoryOutbox(OutboxContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return memory_harness()


class TestSqliteVerification(VerificationStoreContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        async with sqlite_harness(tmp_path) as harness:
            yield harness


class TestMemoryRaces(RacesContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return memory_harness()


class TestSqliteRaces(RacesContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        async with sqlite_harness(tmp_path) as harness:
            yield harness


class TestSqliteOutbox(OutboxContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        async with sqlite_harness(tmp_path) as harness:
            yield harness


class TestSqliteGenerated(GeneratedContract):
    def open(self) -> AbstractAsyncContextManager[Harness]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Harness]:
            with TemporaryDirectory() as name:
                async with sqlite_harness(Path(name)) as harness:
                    yield harness

        return opened()
