"""The key store in a SQLite file of its own, so that data and keys are backed up apart."""

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from watchword.core.errors import Unavailable
from watchword.core.keys import KEY_BYTES, KeyProvider
from watchword.core.ports import Entropy, Millis
from watchword.vault.envelope import aad, unwrap, wrap, wrapped_version

FILE_NAME = "watchword-keys.db"

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE keys (
    name        TEXT    NOT NULL PRIMARY KEY,
    key_version INTEGER NOT NULL,
    wrapped     BLOB    NOT NULL,
    expire_time INTEGER
) STRICT, WITHOUT ROWID
"""
_BUSY_SECONDS = 5.0

T = TypeVar("T")


class KeyStoreFileError(Exception):
    """The key file cannot be used; one line that says why and what to do."""


class SqliteKeyStore:
    """A `KeyStore` in `watchword-keys.db`: 0600, wrapped keys, nothing left of deleted ones.

    Calls are rare (once a day and account) and run in a thread, one at a time.
    """

    def __init__(
        self, path: Path, provider: KeyProvider, entropy: Entropy, *, create: bool = False
    ) -> None:
        """Open the file at `path`; make it first where `create` is true.

        A missing file is otherwise an error: its keys would be lost, not new. Raises
        `KeyStoreFileError`.
        """
        self._provider = provider
        self._entropy = entropy
        self._lock = threading.Lock()
        self._connection = _open(Path(path), create=create)

    async def get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        """Return the key of that name, made now and durable where there is none."""
        return await self._run(lambda: self._get_or_create(name, expire_time))

    async def get(self, name: str) -> bytes | None:
        """Return the key of that name, or None where it never was or is destroyed."""
        return await self._run(lambda: self._get(name))

    async def destroy(self, name: str) -> None:
        """Destroy the key of that name; no error where there is none."""
        await self._run(lambda: self._delete("DELETE FROM keys WHERE name = ?", name))

    async def destroy_expired(self, now: Millis) -> int:
        """Destroy every key whose `expire_time` is `now` or before; return how many."""
        return await self._run(lambda: self._delete("DELETE FROM keys WHERE expire_time <= ?", now))

    def close(self) -> None:
        """Close the file; no call may follow."""
        with self._lock:
            self._connection.close()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._guarded, call)

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            with self._lock:
                return call()
        except sqlite3.Error:
            raise Unavailable("the key store is unavailable") from None

    def _get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        with self._writing():
            key = self._get(name)
            if key is None:
                key = self._entropy.token(KEY_BYTES)
                wrapped = wrap(self._provider, key, _place(name), self._entropy)
                self._connection.execute(
                    "INSERT INTO keys (name, key_version, wrapped, expire_time)"
                    " VALUES (?, ?, ?, ?)",
                    (name, wrapped_version(wrapped), wrapped, expire_time),
                )
        return key

    def _get(self, name: str) -> bytes | None:
        row: tuple[bytes] | None = self._connection.execute(
            "SELECT wrapped FROM keys WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else unwrap(self._provider, row[0], _place(name))

    def _delete(self, statement: str, value: str | int) -> int:
        with self._writing():
            return self._connection.execute(statement, (value,)).rowcount

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _place(name: str) -> bytes:
    return aad("keys", name, "wrapped", "")


def _open(path: Path, *, create: bool) -> sqlite3.Connection:
    try:
        if create and not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyStoreFileError(f"{path}: others than its owner may use it: chmod 600 it")
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except OSError as error:
        raise KeyStoreFileError(
            f"{path}: the key store cannot be opened ({error.strerror}): restore it from its backup"
        ) from None
    try:
        _prepare(connection, path, create=create)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    try:
        # A rollback journal is gone after each commit, where a WAL would keep wrapped keys
        # that were deleted; EXTRA is FULL and a sync of the directory after that.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if create and version == 0 and tables == 0:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            version = _SCHEMA_VERSION
        connection.execute("COMMIT")
    except sqlite3.Error:
        raise KeyStoreFileError(
            f"{path}: this is no readable key store: restore it from its backup"
        ) from None
    if version != _SCHEMA_VERSION:
        raise KeyStoreFileError(
            f"{path}: its format is not one that this version knows: use the version that made it"
        )
