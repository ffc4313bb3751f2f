"""The key store's contract on PostgreSQL, and its own promises."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from watchword.core.errors import Unavailable
from watchword.core.keys import KeyUse
from watchword.testing.entropy import FailingEntropy, SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.keystore_contract import KeyStoreContract
from watchword.vault.envelope import SealBroken
from watchword.vault.keystore import KeyStore
from watchword_adapters.stores.postgresql.calls import Pool
from watchword_adapters.stores.postgresql.keystore import (
    KeyStoreRefused,
    PostgresKeyStore,
    prepare,
)

KEYS = "watchword_keys.keys"


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


@pytest.fixture
async def store(pool: Pool, provider: MemoryKeyProvider) -> PostgresKeyStore:
    await prepared(pool, create=True)
    return PostgresKeyStore(pool, provider, SeededEntropy())


async def prepared(pool: Pool, *, create: bool) -> None:
    async with pool.acquire() as db:
        await prepare(db, create=create)


class TestPostgresKeyStore(KeyStoreContract):
    @pytest.fixture
    def keystore(self, store: PostgresKeyStore) -> KeyStore:
        return store


async def in_file(pool: Pool, value: bytes) -> bool:
    await pool.execute("CHECKPOINT")
    file = await pool.fetchval(f"SELECT pg_read_binary_file(pg_relation_filepath('{KEYS}'))")
    return value in file


async def wrapped(pool: Pool, name: str) -> bytes:
    found: bytes = await pool.fetchval(f"SELECT wrapped FROM {KEYS} WHERE name = $1", name)
    return found


async def test_racing_replicas_get_one_key(
    pool: Pool, provider: MemoryKeyProvider, store: PostgresKeyStore
) -> None:
    other = PostgresKeyStore(pool, provider, SeededEntropy(99))
    await prepared(pool, create=False)
    keys = await asyncio.gather(
        *(each.get_or_create("race", None) for _ in range(10) for each in (store, other))
    )
    assert len(set(keys)) == 1


async def test_c131_no_key_is_stored_in_the_clear(pool: Pool, store: PostgresKeyStore) -> None:
    key = await store.get_or_create("a", None)
    assert await in_file(pool, await wrapped(pool, "a"))
    assert not await in_file(pool, key)


async def test_c141_a_destroyed_key_is_out_of_the_file(pool: Pool, store: PostgresKeyStore) -> None:
    kept = await store.get_or_create("kept", None)
    await store.get_or_create("one", None)
    await store.get_or_create("day", 1)
    gone = [await wrapped(pool, name) for name in ("one", "day")]
    await store.destroy("one")
    assert await store.destroy_expired(1) == 1
    assert [await in_file(pool, value) for value in gone] == [False, False]
    assert await store.get("kept") == kept


async def test_c141_what_a_dump_held_goes_with_the_next_call(
    pool: Pool, store: PostgresKeyStore
) -> None:
    await store.get_or_create("one", None)
    gone = await wrapped(pool, "one")
    async with pool.acquire() as dump, dump.transaction():
        await dump.fetch(f"SELECT * FROM {KEYS}")
        await store.destroy("one")
        assert await store.get_or_create("other", None) == await store.get("other")
        assert await in_file(pool, gone)
    assert await store.destroy_expired(1) == 0
    assert not await in_file(pool, gone)


async def test_key_versions_are_there_from_the_first_row(
    pool: Pool, provider: MemoryKeyProvider, store: PostgresKeyStore
) -> None:
    first = await store.get_or_create("first", None)
    provider.rotate(KeyUse.WRAP)
    second = await store.get_or_create("second", None)
    rows = await pool.fetch(f"SELECT name, key_version FROM {KEYS} ORDER BY name")
    assert [tuple(row) for row in rows] == [("first", 1), ("second", 2)]
    assert (await store.get("first"), await store.get("second")) == (first, second)


async def test_c137_the_wrong_wrapping_key_opens_nothing_and_replaces_nothing(
    pool: Pool, store: PostgresKeyStore
) -> None:
    key = await store.get_or_create("a", None)
    wrong = PostgresKeyStore(pool, MemoryKeyProvider(seed=9), SeededEntropy())
    for call in (wrong.get("a"), wrong.get_or_create("a", None)):
        with pytest.raises(SealBroken):
            await call
    assert await store.get("a") == key


async def test_c138_a_lost_wrapping_key_makes_no_new_one(
    provider: MemoryKeyProvider, store: PostgresKeyStore
) -> None:
    await store.get_or_create("a", None)
    provider.rotate(KeyUse.WRAP)
    provider.retire(KeyUse.WRAP, 1)
    with pytest.raises(Unavailable):
        await store.get_or_create("a", None)


async def test_c138_a_missing_schema_is_an_error_and_is_not_made(
    pool: Pool, provider: MemoryKeyProvider
) -> None:
    store = PostgresKeyStore(pool, provider, SeededEntropy())
    with pytest.raises(KeyStoreRefused, match="restore"):
        await prepared(pool, create=False)
    with pytest.raises(Unavailable):
        await store.get_or_create("a", None)


async def test_a_key_swapped_with_anothers_row_is_refused(
    pool: Pool, store: PostgresKeyStore
) -> None:
    for name in ("a", "b"):
        await store.get_or_create(name, None)
    await pool.execute(
        f"UPDATE {KEYS} SET wrapped = (SELECT wrapped FROM {KEYS} WHERE name = 'b')"
        " WHERE name = 'a'"
    )
    with pytest.raises(SealBroken):
        await store.get("a")


async def test_c144_an_unknown_format_is_refused(pool: Pool, store: PostgresKeyStore) -> None:
    await pool.execute("UPDATE watchword_keys.format SET version = 2")
    for create in (False, True):
        with pytest.raises(KeyStoreRefused, match="format"):
            await prepared(pool, create=create)


async def test_c142_no_key_is_made_without_entropy(
    pool: Pool, provider: MemoryKeyProvider, store: PostgresKeyStore
) -> None:
    stuck = PostgresKeyStore(pool, provider, FailingEntropy())
    with pytest.raises(Unavailable):
        await stuck.get_or_create("a", None)
    assert await store.get("a") is None


async def test_a_database_that_fails_is_unavailable_and_says_nothing(
    pool: Pool, store: PostgresKeyStore
) -> None:
    await pool.execute("DROP SCHEMA watchword_keys CASCADE")
    calls = (store.get("a"), store.get_or_create("a", None), store.destroy("a"))
    for call in (*calls, store.destroy_expired(1)):
        with pytest.raises(Unavailable) as caught:
            await call
        assert str(caught.value) == "the key store is unavailable"
