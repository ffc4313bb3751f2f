"""Made-up verifications of the past: they read like real ones, and only in a sandbox."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support import postgres

from watchword.core.system import SystemClock
from watchword.testing.bus import RecordingBus
from watchword.testing.keys import MemoryKeyProvider
from watchword.verification.model import State
from watchword.verification.store import ListQuery
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.place import Place
from watchword_adapters.stores.sqlite import SqliteStores

COUNT = 25
ACCOUNT, APPLICATION = "AC" + "1" * 32, "AP" + "2" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[type[Any], Any]]:
    if request.param == "sqlite":
        yield SqliteStores, tmp_path / "watchword.db"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    async with postgres.fresh_database(server) as dsn:
        yield PostgresStores, Place(dsn)


async def opened(stores: type[Any], where: Any, world: str, *, create: bool) -> Any:
    return await stores.open(
        where,
        world=world,
        clock=SystemClock(),
        bus=RecordingBus(),
        provider=MemoryKeyProvider(),
        create=create,
    )


async def grown(stores: type[Any], where: Any, tell: Callable[[int], None]) -> None:
    now = SystemClock().now()
    owner = {"account_id": ACCOUNT, "application_id": APPLICATION}
    await stores.grow(where, **owner, count=COUNT, now=now, tell=tell)


async def test_they_are_listed_as_approved_and_swept_in_their_time(
    place: tuple[type[Any], Any],
) -> None:
    stores, where = place
    await (await opened(stores, where, "sandbox", create=True)).close()
    told: list[int] = []
    await grown(stores, where, told.append)
    assert told == [COUNT]
    store = await opened(stores, where, "sandbox", create=False)
    page = await store.verification.list(ListQuery(ACCOUNT, APPLICATION, b"", None, "", 100))
    assert len(page) == COUNT
    assert {each.verification.state for each in page} == {State.APPROVED}
    assert all(len(each.sends) == 1 for each in page)
    phones = {each.verification.phone_index for each in page}
    assert len(phones) == COUNT
    assert await store.verification.sweep(1, 100) >= COUNT
    assert not await store.verification.list(ListQuery(ACCOUNT, APPLICATION, b"", None, "", 100))
    await store.close()


async def test_a_real_store_takes_none(place: tuple[type[Any], Any]) -> None:
    stores, where = place
    await (await opened(stores, where, "production", create=True)).close()
    with pytest.raises(Exception, match="only a sandbox store"):
        await grown(stores, where, print)
