"""PostgreSQL does what a store must do."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from tests.stores.postgresql.conftest import empty, migrate, opened
from tests.support import postgres

from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.generated_contract import GeneratedContract
from watchword.testing.outbox_contract import OutboxContract
from watchword.testing.races_contract import RacesContract
from watchword.testing.verification_cases import Harness
from watchword.testing.verification_contract import VerificationStoreContract


@asynccontextmanager
async def harness_on(dsn: str) -> AsyncIterator[Harness]:
    clock, bus = FakeClock(), RecordingBus()
    async with opened(dsn, clock=clock, bus=bus) as stores:
        bus.published.clear()
        yield Harness(stores.verification, stores.outbox, clock, bus.published)


@pytest.fixture
async def harness(dsn: str) -> AsyncIterator[Harness]:
    async with harness_on(dsn) as made:
        yield made


class TestVerification(VerificationStoreContract):
    @pytest.fixture
    async def harness(self, dsn: str) -> AsyncIterator[Harness]:
        async with harness_on(dsn) as made:
            yield made


class TestOutbox(OutboxContract):
    @pytest.fixture
    async def harness(self, dsn: str) -> AsyncIterator[Harness]:
        async with harness_on(dsn) as made:
            yield made


class TestRaces(RacesContract):
    @pytest.fixture
    async def harness(self, dsn: str) -> AsyncIterator[Harness]:
        async with harness_on(dsn) as made:
            yield made


class TestGenerated(GeneratedContract):
    @pytest.fixture(autouse=True)
    def database(self, postgres_server: postgres.Server) -> Iterator[None]:
        """One for all examples: to empty it is much quicker than to make another."""
        name = asyncio.run(postgres_server.create(migrate))
        self._dsn = postgres_server.dsn(name)
        yield
        asyncio.run(postgres_server.drop(name))

    def open(self) -> AbstractAsyncContextManager[Harness]:
        @asynccontextmanager
        async def emptied() -> AsyncIterator[Harness]:
            await empty(self._dsn)
            async with harness_on(self._dsn) as made:
                yield made

        return emptied()
