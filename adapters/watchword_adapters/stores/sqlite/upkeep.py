"""What is done with a pair of files as a whole; see `StoreUpkeep`."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from watchword.core.keys import KeyProvider
from watchword.core.ports import Clock, Entropy
from watchword.core.upkeep import Dump, Load, Progress, SchemaChange
from watchword_adapters.stores.sqlite import copying, migration, restoring, schema
from watchword_adapters.stores.sqlite.connection import open_reader
from watchword_adapters.stores.sqlite.keystore import FILE_NAME, KeyStoreFileError
from watchword_adapters.stores.sqlite.migration import StoreRefused
from watchword_adapters.stores.sqlite.place import check_place, keys_path

_PATIENCE_SECONDS = 5.0


class SqliteUpkeep:
    """Implements `StoreUpkeep`; a place is the path of the data's file."""

    data_name = "watchword.db"
    keys_name = FILE_NAME

    async def migrate(
        self, place: Path, *, world: str, clock: Clock, dry_run: bool
    ) -> SchemaChange:
        """Bring the schema up to date, or only say what that would do."""
        steps = migration.known_migrations()
        check_place(place, create=False)
        with _refusals(place), closing(_open(place)) as db:
            _check(db, world)
            if dry_run:
                return migration.pending(db, steps)
            return migration.migrate(db, clock.now(), steps)

    async def dump(
        self, place: Path, data: Path, keys: Path, *, world: str, progress: Progress
    ) -> Dump:
        """Copy the data, then the keys, which so have all that the data need."""
        _check_there(place)
        with _refusals(place):
            with closing(open_reader(place)) as db:
                _check(db, world)
            copying.copy_data(place, data, progress)
        with _refusals(keys_path(place)):
            copying.copy_keys(keys_path(place), keys, progress)
        with _refusals(data):
            return copying.inspect(data, progress)

    async def occupied(self, place: Path) -> str:
        """Return the first file that is in the way, or ""."""
        return restoring.occupied(place)

    async def load(
        self,
        place: Path,
        data: Path,
        keys: Path | None,
        *,
        world: str,
        clock: Clock,
        entropy: Entropy,
        provider: KeyProvider,
        progress: Progress,
    ) -> Load:
        """Make the store at `place`."""
        check_place(place, create=True)
        found = restoring.occupied(place)
        if found:
            raise StoreRefused(f"{found}: is there already; a restore overwrites nothing")
        with _refusals(data):
            return await restoring.restore(
                place,
                data,
                keys,
                world=world,
                clock=clock,
                entropy=entropy,
                provider=provider,
                progress=progress,
            )


def _check_there(path: Path) -> None:
    for file in (path, keys_path(path)):
        if not file.exists():
            raise StoreRefused(f"{file}: is not there; there is nothing to back up")


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)


def _check(db: sqlite3.Connection, world: str) -> None:
    if schema.is_new(db):
        raise StoreRefused("the store is not initialised; run `watchword init` first")
    schema.verify_world(db, world)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyStoreFileError as error:
        raise StoreRefused(str(error)) from None
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise StoreRefused(f"{path}: cannot be read or written ({name})") from None
