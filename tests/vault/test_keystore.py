"""The key store's contract on both implementations, and SQLite's own promises."""

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchword.core.errors import Unavailable
from watchword.core.keys import KeyUse
from watchword.testing.entropy import FailingEntropy, SeededEntropy
from watchword.testing.keys import MemoryKeyProvider, MemoryKeyStore
from watchword.testing.keystore_contract import KeyStoreContract
from watchword.vault.envelope import SealBroken
from watchword.vault.keystore import KeyStore
from watchword_adapters.stores.sqlite.keystore import (
    FILE_NAME,
    KeyStoreFileError,
    SqliteKeyStore,
)


class TestMemoryKeyStore(KeyStoreContract):
    @pytest.fixture
    def keystore(self) -> KeyStore:
        return MemoryKeyStore()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


@pytest.fixture
def empty_file(path: Path) -> Path:
    path.touch(0o600)
    return path


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _files(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir()]


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


@pytest.fixture
def sqlite(path: Path, provider: MemoryKeyProvider) -> Iterator[SqliteKeyStore]:
    store = SqliteKeyStore(path, provider, SeededEntropy(), create=True)
    yield store
    store.close()


class TestSqliteKeyStore(KeyStoreContract):
    @pytest.fixture
    def keystore(self, sqlite: SqliteKeyStore) -> KeyStore:
        return sqlite


def _reopen(path: Path, provider: MemoryKeyProvider, *, create: bool = False) -> SqliteKeyStore:
    return SqliteKeyStore(path, provider, SeededEntropy(99), create=create)


async def test_keys_survive_without_a_clean_close(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore
) -> None:
    key = await sqlite.get_or_create("a", None)
    for create in (False, True):
        again = _reopen(path, provider, create=create)
        assert await again.get("a") == key
        assert await again.get_or_create("a", None) == key
        again.close()


async def test_racing_processes_get_one_key(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore
) -> None:
    other = _reopen(path, provider)
    keys = await asyncio.gather(
        *(store.get_or_create("race", None) for _ in range(10) for store in (sqlite, other))
    )
    other.close()
    assert len(set(keys)) == 1


async def test_c131_no_key_is_in_the_file_in_the_clear(path: Path, sqlite: SqliteKeyStore) -> None:
    key = await sqlite.get_or_create("a", None)
    assert key not in _bytes(path)


async def test_c141_a_destroyed_key_leaves_no_trace_in_the_files(
    path: Path, sqlite: SqliteKeyStore
) -> None:
    await sqlite.get_or_create("a", None)
    with sqlite3.connect(path) as reader:
        (wrapped,) = reader.execute("SELECT wrapped FROM keys").fetchone()
    reader.close()
    assert wrapped in _bytes(path)
    await sqlite.destroy("a")
    assert _files(path) == [FILE_NAME]
    assert wrapped not in _bytes(path)


async def test_key_versions_are_there_from_the_first_row(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore
) -> None:
    first = await sqlite.get_or_create("first", None)
    provider.rotate(KeyUse.WRAP)
    second = await sqlite.get_or_create("second", None)
    with sqlite3.connect(path) as reader:
        rows = reader.execute("SELECT name, key_version FROM keys ORDER BY name").fetchall()
    reader.close()
    assert rows == [("first", 1), ("second", 2)]
    assert (await sqlite.get("first"), await sqlite.get("second")) == (first, second)


async def test_c137_the_wrong_wrapping_key_opens_nothing_and_replaces_nothing(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore
) -> None:
    key = await sqlite.get_or_create("a", None)
    wrong = _reopen(path, MemoryKeyProvider(seed=9))
    with pytest.raises(SealBroken):
        await wrong.get("a")
    with pytest.raises(SealBroken):
        await wrong.get_or_create("a", None)
    wrong.close()
    assert await sqlite.get("a") == key


async def test_c138_a_lost_wrapping_key_makes_no_new_one(
    provider: MemoryKeyProvider, sqlite: SqliteKeyStore
) -> None:
    await sqlite.get_or_create("a", None)
    provider.rotate(KeyUse.WRAP)
    provider.retire(KeyUse.WRAP, 1)
    with pytest.raises(Unavailable):
        await sqlite.get_or_create("a", None)


def test_c138_a_missing_file_is_an_error_and_is_not_made(
    path: Path, provider: MemoryKeyProvider
) -> None:
    with pytest.raises(KeyStoreFileError, match="restore"):
        _reopen(path, provider)
    assert not path.exists()


async def test_a_key_swapped_with_anothers_row_is_refused(
    path: Path, sqlite: SqliteKeyStore
) -> None:
    for name in ("a", "b"):
        await sqlite.get_or_create(name, None)
    with sqlite3.connect(path) as writer:
        writer.execute(
            "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE name = 'b') WHERE name = 'a'"
        )
    writer.close()
    with pytest.raises(SealBroken):
        await sqlite.get("a")


def test_the_file_is_its_owners_alone(path: Path, sqlite: SqliteKeyStore) -> None:
    assert isinstance(sqlite, SqliteKeyStore)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_open_to_others_is_refused(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore, mode: int
) -> None:
    sqlite.close()
    path.chmod(mode)
    with pytest.raises(KeyStoreFileError, match="chmod 600"):
        _reopen(path, provider)


def test_what_is_no_key_store_is_refused(path: Path, provider: MemoryKeyProvider) -> None:
    path.touch(0o600)
    path.write_bytes(b"this is no database" * 100)
    for create in (False, True):
        with pytest.raises(KeyStoreFileError, match="no readable key store"):
            _reopen(path, provider, create=create)


@pytest.mark.parametrize("version", [0, 2])
def test_c144_an_unknown_format_is_refused(
    path: Path, provider: MemoryKeyProvider, sqlite: SqliteKeyStore, version: int
) -> None:
    sqlite.close()
    with sqlite3.connect(path) as writer:
        writer.execute(f"PRAGMA user_version = {version}")
    writer.close()
    for create in (False, True):
        with pytest.raises(KeyStoreFileError, match="format"):
            _reopen(path, provider, create=create)


async def test_an_interrupted_creation_is_taken_up(
    empty_file: Path, provider: MemoryKeyProvider
) -> None:
    store = _reopen(empty_file, provider, create=True)
    assert len(await store.get_or_create("a", None)) == 32
    store.close()


async def test_c142_no_key_is_made_without_entropy(path: Path, provider: MemoryKeyProvider) -> None:
    store = SqliteKeyStore(path, provider, FailingEntropy(), create=True)
    with pytest.raises(Unavailable):
        await store.get_or_create("a", None)
    assert await store.get("a") is None
    store.close()


async def test_a_database_that_fails_is_unavailable_and_says_nothing(
    path: Path, sqlite: SqliteKeyStore
) -> None:
    with sqlite3.connect(path) as writer:
        writer.execute("DROP TABLE keys")
    writer.close()
    for call in (sqlite.get("a"), sqlite.get_or_create("a", None), sqlite.destroy("a")):
        with pytest.raises(Unavailable) as caught:
            await call
        assert str(caught.value) == "the key store is unavailable"
        assert caught.value.__cause__ is None


def test_the_durable_settings_hold(sqlite: SqliteKeyStore) -> None:
    def pragma(name: str) -> object:
        return sqlite._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("synchronous") == 3
    assert pragma("secure_delete") == 1
    assert pragma("journal_mode") == "delete"
