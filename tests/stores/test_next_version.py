"""This version's stores do all that they must on the schema of the version after it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.stores.next_schema import expand

from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.outbox_contract import OutboxContract
from watchword.testing.verification_cases import Harness
from watchword.testing.verification_contract import VerificationStoreContract
from watchword_adapters.stores.sqlite import SqliteStores


async def opened(path: Path, clock: FakeClock, bus: RecordingBus, *, create: bool) -> SqliteStores:
    return await SqliteStores.open(
        path, world="dev", clock=clock, bus=bus, provider=MemoryKeyProvider(), create=create
    )


class OnTheNextSchema:
    """Gives the suites a store that a newer version has migrated."""

    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[Harness]:
        path, clock, bus = tmp_path / "watchword.db", FakeClock(), RecordingBus()
        await (await opened(path, clock, bus, create=True)).close()
        expand(path)
        stores = await opened(path, clock, bus, create=False)
        yield Harness(stores.verification, stores.outbox, clock, bus.published)
        await stores.close()


class TestC162Verification(OnTheNextSchema, VerificationStoreContract):
    pass


class TestC162Outbox(OnTheNextSchema, OutboxContract):
    pass
