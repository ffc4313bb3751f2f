"""Makes a store of a dump's files: beside their place first, then into it at once."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from watchword.audit.leaf import LeafMaker
from watchword.core.keys import KeyProvider
from watchword.core.ports import Clock, Entropy
from watchword.core.upkeep import Load, Progress
from watchword.verification import commands
from watchword_adapters.stores.sqlite import migration, schema
from watchword_adapters.stores.sqlite.engine import Transaction
from watchword_adapters.stores.sqlite.keystore import SqliteKeyStore
from watchword_adapters.stores.sqlite.migration import StoreRefused
from watchword_adapters.stores.sqlite.place import keys_path
from watchword_adapters.stores.sqlite.rows import SqliteRows

_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_BATCH = 500
_PENDING = "SELECT verification_id FROM verification WHERE state = 'PENDING'"


def occupied(path: Path) -> str:
    """Return the first file that is in a store's place, or ""."""
    for name in (path, keys_path(path)):
        for suffix in _SIDE_FILES:
            if (found := name.with_name(name.name + suffix)).exists():
                return str(found)
    return ""


async def restore(
    path: Path,
    data: Path,
    keys: Path | None,
    *,
    world: str,
    clock: Clock,
    entropy: Entropy,
    provider: KeyProvider,
    progress: Progress,
) -> Load:
    """Make the store at `path`, which is not there; see `StoreUpkeep.load`."""
    with _staged(path) as stage, _staged(keys_path(path)) as keys_stage:
        _copy(data, stage)
        if keys is not None:
            _copy(keys, keys_stage)
        progress("copy back", 1, 1)
        loaded = _revive(stage, world, clock, provider, progress)
        keystore = SqliteKeyStore(keys_stage, provider, entropy, create=keys is None)
        try:
            # What was to be destroyed since the dump must not come back.
            await keystore.destroy_expired(clock.now())
        finally:
            keystore.close()
        # The data last: with them the store is there.
        keys_stage.rename(keys_path(path))
        stage.rename(path)
        _sync(path.parent)
    return loaded


def _revive(
    path: Path, world: str, clock: Clock, provider: KeyProvider, progress: Progress
) -> Load:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        if schema.is_new(db):
            raise StoreRefused("the backup's data are empty")
        schema.verify_world(db, world)
        missing = schema.verify_keys(db, provider)
        change = migration.migrate(db, clock.now(), migration.known_migrations())
        schema.record(db, missing)
        voided = _void(db, clock, LeafMaker(provider), progress)
    return Load(change, voided)


def _void(db: sqlite3.Connection, clock: Clock, leaves: LeafMaker, progress: Progress) -> int:
    pending = [row[0] for row in db.execute(_PENDING)]
    for start in range(0, len(pending), _BATCH):
        batch = pending[start : start + _BATCH]
        with db:
            db.execute("BEGIN IMMEDIATE")
            rows = SqliteRows(Transaction(db, clock.now(), []))
            for verification_id in batch:
                commands.void(rows, leaves, verification_id)
        progress("end pending verifications", start + len(batch), len(pending))
    return len(pending)


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Give a name beside `path`; what stands under it is gone in the end."""
    stage = path.with_name(f".{path.name}.restoring")
    _remove(stage)  # left by a restore that was killed
    try:
        yield stage
    finally:
        _remove(stage)


def _remove(stage: Path) -> None:
    for suffix in _SIDE_FILES:
        stage.with_name(stage.name + suffix).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as found, os.fdopen(descriptor, "wb") as made:
        shutil.copyfileobj(found, made, 1 << 20)
        made.flush()
        os.fsync(made.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
