"""All ports of the embedded store over one pair of files."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from watchword.audit.leaf import LeafMaker
from watchword.core.keys import KeyProvider
from watchword.core.ports import ChangeBus, Clock, Entropy, Millis, StoreMeter
from watchword.core.system import SystemEntropy
from watchword_adapters.stores.sqlite import migration, schema
from watchword_adapters.stores.sqlite.account import SqliteAccountStore
from watchword_adapters.stores.sqlite.engine import Engine
from watchword_adapters.stores.sqlite.grow import Owner, Tell, grow
from watchword_adapters.stores.sqlite.keystore import KeyStoreFileError, SqliteKeyStore
from watchword_adapters.stores.sqlite.migration import StoreRefused
from watchword_adapters.stores.sqlite.outbox import SqliteOutbox
from watchword_adapters.stores.sqlite.place import check_place, hold, keys_path
from watchword_adapters.stores.sqlite.upkeep import SqliteUpkeep
from watchword_adapters.stores.sqlite.verification import SqliteVerificationStore

_OLDEST_SQLITE = (3, 37, 0)
_PATIENCE_SECONDS = 5.0


class SqliteStores:
    """The stores of one deployment; `open` makes it, `close` ends it.

    `tenancy` reads what `account` writes; `upkeep` needs no open store.
    """

    upkeep = SqliteUpkeep()

    def __init__(
        self,
        engine: Engine,
        keystore: SqliteKeyStore,
        provider: KeyProvider,
        world: str,
        clock: Clock,
    ) -> None:
        """Put the ports over an engine whose file has been verified."""
        leaves = LeafMaker(provider)
        self.world = world
        self.keystore = keystore
        self.verification = SqliteVerificationStore(engine, leaves)
        self.outbox = SqliteOutbox(engine, leaves)
        self.account = SqliteAccountStore(engine, leaves, clock)
        self.tenancy = self.account
        # What is let go of after the engine.
        self._opened = contextlib.ExitStack()
        self._engine = engine

    @staticmethod
    def place(settings: Mapping[str, object]) -> Path:
        """Return the path that the configuration's section names."""
        return Path(str(settings["path"]))

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        world: str,
        clock: Clock,
        bus: ChangeBus,
        provider: KeyProvider,
        create: bool = False,
        entropy: Entropy | None = None,
        meter: StoreMeter | None = None,
    ) -> Self:
        """Open the store at `path`.

        Where `create` is true it is made if nothing is there, and its schema brought up to
        date; both are refused otherwise, for people to decide. `world` must be the store's
        stamp. Raises `StoreRefused` with one line that says why the store may not be
        served: nothing has been changed then.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreRefused(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
        path = Path(path)
        check_place(path, create=create)
        try:
            with contextlib.ExitStack() as opened:
                opened.callback(os.close, hold(path))
                keystore = _prepared(path, world, clock, provider, entropy, create=create)
                opened.callback(keystore.close)
                engine = Engine(path, clock, bus, meter=meter)
                stores = cls(engine, keystore, provider, world, clock)
                stores._opened = opened.pop_all()
        except KeyStoreFileError as error:
            raise StoreRefused(str(error)) from None
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise StoreRefused(f"{path}: the file cannot be opened ({name})") from None
        return stores

    @staticmethod
    async def grow(
        place: Path, *, account_id: str, application_id: str, count: int, now: Millis, tell: Tell
    ) -> None:
        """Add approved verifications of the past to a closed sandbox store; see `grow`."""
        owner = Owner(account_id, application_id)
        await asyncio.to_thread(grow, Path(place), owner, count, now, tell)

    async def check(self) -> None:
        """Return where the store can serve; raises `Unavailable`."""
        await self._engine.check()

    async def close(self) -> None:
        """Finish the commands that wait, then let go of both files."""
        await self._engine.close()
        self._opened.close()


def _prepared(
    path: Path,
    world: str,
    clock: Clock,
    provider: KeyProvider,
    entropy: Entropy | None,
    *,
    create: bool,
) -> SqliteKeyStore:
    """Verify or make both files, keys first; returns the open key store."""
    # Created here, so that no other user of the machine may read it; the log follows it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)
    try:
        steps = migration.known_migrations()
        new = schema.is_new(db)
        if new and not create:
            raise StoreRefused(f"{path}: not initialised; run `watchword init` first")
        if not new:
            schema.verify_world(db, world)
            missing = schema.verify_keys(db, provider)
            (migration.pending if create else migration.check_served)(db, steps)
            schema.record(db, missing)
        keystore = SqliteKeyStore(
            keys_path(path),
            provider,
            entropy or SystemEntropy(),
            create=new,
        )
        try:
            if new:
                schema.initialise(db, world, provider)
            if create:
                migration.migrate(db, clock.now(), steps)
        except BaseException:
            keystore.close()
            raise
        return keystore
    finally:
        db.close()
