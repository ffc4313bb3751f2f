"""Which database is served, and what is said of one that is not."""

from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest
from tests.stores.postgresql.conftest import opened

from watchword.core.errors import NotFound
from watchword.core.keys import KeyUse
from watchword.core.ports import SECOND
from watchword.core.system import SystemClock
from watchword.testing import verification_cases as cases
from watchword.testing.clock import START, FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.postgresql import PostgresStores, StoreRefused, schema


async def refusal(opening: AbstractAsyncContextManager[PostgresStores]) -> str:
    with pytest.raises(StoreRefused) as refused:
        async with opening:
            raise AssertionError("it was opened")
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def execute(dsn: str, *statements: str) -> None:
    db = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await db.execute(statement)
    finally:
        await db.close()


async def test_a_store_is_made_once_and_opened_again(postgres_dsn: str) -> None:
    assert "not initialised" in await refusal(opened(postgres_dsn))
    async with opened(postgres_dsn, create=True) as stores:
        await stores.check()
        assert stores.world == "dev"
        await stores.verification.start(cases.start(1))
    for create in (False, True):
        async with opened(postgres_dsn, create=create) as stores:
            got = await stores.verification.get(
                cases.verification_id(1), cases.ACCOUNT, cases.APPLICATION
            )
            assert got.verification.verification_id == cases.verification_id(1)


@pytest.mark.parametrize("create", [True, False])
async def test_another_worlds_store_is_refused(postgres_dsn: str, create: bool) -> None:
    async with opened(postgres_dsn, world="sandbox", create=True):
        pass
    text = await refusal(opened(postgres_dsn, world="production", create=create))
    assert "'sandbox'" in text
    assert "'production'" in text


async def test_a_wrong_key_is_refused(dsn: str) -> None:
    assert "key" in await refusal(opened(dsn, provider=MemoryKeyProvider(seed=1)))


async def test_a_lost_key_is_refused_and_a_new_one_recorded(dsn: str) -> None:
    provider = MemoryKeyProvider()
    provider.rotate(KeyUse.AUDIT)
    async with opened(dsn, provider=provider):
        pass
    provider.retire(KeyUse.AUDIT, 2)
    assert "version 2, is missing" in await refusal(opened(dsn, provider=provider))


async def test_lost_keys_are_never_made_anew(dsn: str) -> None:
    await execute(dsn, "DROP SCHEMA watchword_keys CASCADE")
    assert "restore" in await refusal(opened(dsn, create=True))


async def test_a_newer_schema_is_refused(dsn: str) -> None:
    await execute(dsn, "INSERT INTO watchword.schema_version VALUES (9999, 'later', 0)")
    assert "version 9999" in await refusal(opened(dsn))


async def test_what_is_no_store_is_refused(postgres_dsn: str) -> None:
    await execute(postgres_dsn, "CREATE SCHEMA watchword", "CREATE TABLE watchword.t (n integer)")
    assert "not Watchword's" in await refusal(opened(postgres_dsn, create=True))


async def test_a_server_that_is_not_there_is_refused() -> None:
    assert "cannot be reached" in await refusal(opened("postgresql://u:secret@127.0.0.1:1/none"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("synchronous_commit", "off"), ("default_transaction_isolation", "serializable")],
)
async def test_a_setting_that_breaks_a_promise_is_refused(
    dsn: str, setting: str, value: str
) -> None:
    name = dsn.rpartition("/")[2].partition("?")[0]
    await execute(dsn, f"ALTER DATABASE {name} SET {setting} = '{value}'")
    assert setting in await refusal(opened(dsn))


async def test_a_migration_that_fails_is_taken_up_again(postgres_dsn: str) -> None:
    steps = schema.known_migrations()
    broken = schema.Migration(2, "0002_broken.sql", "CREATE TABLE watchword.half (n integer); oops")
    db = await asyncpg.connect(postgres_dsn)
    await schema.initialise(db, "dev", MemoryKeyProvider())
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await schema.migrate(db, (steps[0], broken))
    assert await db.fetchval("SELECT max(version) FROM watchword.schema_version") == 1
    assert await db.fetchval("SELECT to_regclass('watchword.half')") is None
    await schema.migrate(db)
    applied = await db.fetch("SELECT version FROM watchword.schema_version ORDER BY version")
    assert [row["version"] for row in applied] == [step.version for step in steps]
    await db.close()


async def test_only_a_dev_store_lets_its_time_be_set(postgres_dsn: str) -> None:
    async with opened(postgres_dsn, world="sandbox", create=True) as stores:
        started = await stores.verification.start(cases.start(1))
        assert abs(started.snapshot.now - SystemClock().now()) < 60 * SECOND
    with pytest.raises(asyncpg.CheckViolationError):
        await execute(postgres_dsn, "UPDATE watchword.stamp SET clock_offset = 1")
    with pytest.raises(asyncpg.CheckViolationError):
        await execute(postgres_dsn, "UPDATE watchword.stamp SET clock_frozen = 1")


async def test_the_time_of_a_dev_store_runs_on_when_nothing_leads_it(dsn: str) -> None:
    async with opened(dsn, clock=FakeClock()) as stores:
        assert (await stores.verification.start(cases.start(1))).snapshot.now == START
    async with opened(dsn, clock=SystemClock()) as stores:
        with pytest.raises(NotFound):
            await stores.verification.check(cases.check(2))
        started = await stores.verification.start(cases.start(2, cases.CASE._replace(phone=2)))
        assert abs(started.snapshot.now - SystemClock().now()) < 60 * SECOND
