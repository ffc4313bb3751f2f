"""Code keys: made to issue, read to check, gone with their epoch."""

import asyncio

import pytest

from watchword.core.errors import Unavailable
from watchword.core.ports import DAY, MINUTE, Millis
from watchword.testing.keys import MemoryKeyStore
from watchword.vault import epochs
from watchword.vault.epochs import EpochKeys, epoch_expire_time


class CountingKeyStore(MemoryKeyStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        self.calls.append(f"create {name}")
        await asyncio.sleep(0)
        return await super().get_or_create(name, expire_time)

    async def get(self, name: str) -> bytes | None:
        self.calls.append(f"get {name}")
        await asyncio.sleep(0)
        return await super().get(name)


@pytest.fixture
def store() -> CountingKeyStore:
    return CountingKeyStore()


@pytest.fixture
def keys(store: CountingKeyStore) -> EpochKeys:
    return EpochKeys(store)


async def test_a_created_key_is_found_and_kept_in_memory(
    keys: EpochKeys, store: CountingKeyStore
) -> None:
    assert keys.peek("AC1", 7) is None
    key = await keys.create("AC1", 7)
    assert keys.peek("AC1", 7) == key
    assert await keys.get("AC1", 7) == await keys.create("AC1", 7) == key
    assert store.calls == ["create code/AC1/7"]


async def test_each_account_and_epoch_has_its_own_key(keys: EpochKeys) -> None:
    made = [await keys.create(account, epoch) for account in ("AC1", "AC2") for epoch in (7, 8)]
    assert len(set(made)) == 4


async def test_a_check_never_makes_a_key(keys: EpochKeys, store: CountingKeyStore) -> None:
    assert await keys.get("AC1", 7) is None
    assert await store.get("code/AC1/7") is None
    assert keys.peek("AC1", 7) is None


async def test_another_process_reads_the_same_key(store: CountingKeyStore) -> None:
    key = await EpochKeys(store).create("AC1", 7)
    assert await EpochKeys(store).get("AC1", 7) == key


async def test_many_waiting_calls_ask_the_key_store_once(
    keys: EpochKeys, store: CountingKeyStore
) -> None:
    made = await asyncio.gather(*(keys.create("AC1", 7) for _ in range(50)))
    assert len(set(made)) == 1
    assert store.calls == ["create code/AC1/7"]


async def test_c136_a_key_outlives_its_epochs_last_code_and_then_is_gone(
    keys: EpochKeys,
) -> None:
    await keys.create("AC1", 7)
    later = await keys.create("AC1", 8)
    last_code = 8 * DAY - 1 + 10 * MINUTE
    assert last_code < epoch_expire_time(7) == 8 * DAY + 15 * MINUTE
    assert await keys.destroy_expired(last_code) == 0
    assert keys.peek("AC1", 7) is not None
    assert await keys.destroy_expired(epoch_expire_time(7)) == 1
    assert keys.peek("AC1", 7) is None
    assert await keys.get("AC1", 7) is None
    assert keys.peek("AC1", 8) == later


async def test_a_key_read_while_it_is_destroyed_does_not_stay(store: CountingKeyStore) -> None:
    await EpochKeys(store).create("AC1", 7)
    keys = EpochKeys(store)
    await asyncio.gather(keys.get("AC1", 7), keys.destroy_expired(epoch_expire_time(7)))
    assert keys.peek("AC1", 7) is None


async def test_the_cache_is_bounded(keys: EpochKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "_MOST_CACHED", 3)
    made = [await keys.create(f"AC{i}", 7) for i in range(5)]
    assert keys.peek("AC0", 7) is None
    assert keys.peek("AC4", 7) == made[4]
    assert await keys.get("AC0", 7) == made[0]


async def test_an_unavailable_key_store_leaves_what_is_in_memory(
    keys: EpochKeys, store: CountingKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await keys.create("AC1", 7)

    async def down(*_: object) -> bytes:
        raise Unavailable("the key store is unavailable")

    monkeypatch.setattr(store, "get", down)
    monkeypatch.setattr(store, "get_or_create", down)
    assert await keys.get("AC1", 7) == key
    with pytest.raises(Unavailable):
        await keys.create("AC2", 7)
    with pytest.raises(Unavailable):
        await keys.get("AC2", 7)
