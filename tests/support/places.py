"""Stores as a parameter: where one keeps its rows, how it is opened, and what is committed.

A test that takes a `Place` runs on every store. To add one, write a class that keeps to
the protocol and put it into `PLACES`.
"""

import asyncio
import atexit
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from tests.support.faults import Fault, failing_memory, failing_sqlite

from watchword.audit.leaf import Leaf
from watchword.core.ports import ChangeBus, Clock
from watchword.delivery.outbox import Send
from watchword.server.plugins import Stores
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory import MemoryStores
from watchword.verification.model import Verification
from watchword_adapters.stores.sqlite import SqliteStores
from watchword_adapters.stores.sqlite.columns import SEND, VERIFICATION, send_of, verification_of

PROVIDER = MemoryKeyProvider()
"""The root keys of every place."""

WORLD = "sandbox"
_LEAF = ", ".join(Leaf._fields)


class Committed(NamedTuple):
    """What another process would find; `leaves` in the order in which they were written."""

    verifications: Mapping[str, Verification]
    sends: Mapping[str, Send]
    leaves: tuple[Leaf, ...]


class Place(Protocol):
    """A store's durable state, which outlives whoever has it open."""

    async def open(self, clock: Clock, bus: ChangeBus) -> Stores:
        """Return the store, made first where there is nothing yet; `clock` is its time."""
        ...

    async def crash(self) -> None:
        """Lose what was open and not committed; `open` then goes on with what is left."""
        ...

    def changed(self) -> bool:
        """Tell whether anything may have been committed since `committed` was called last."""
        ...

    def committed(self) -> Committed:
        """Return what is committed now."""
        ...

    def at_rest(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that is kept, by name: nothing personal may be in it."""
        ...

    def failing(self, fault: Fault) -> AbstractContextManager[None]:
        """Return a context in which what is open meets `fault`."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class MemoryPlace:
    """The memory store: its tables are what is durable."""

    def __init__(self, directory: Path) -> None:
        """Need no directory."""
        del directory
        self.stores: MemoryStores | None = None
        self._seen = Committed({}, {}, ())

    async def open(self, clock: Clock, bus: ChangeBus) -> Stores:
        old = self.stores
        self.stores = MemoryStores(clock, bus, world=WORLD, provider=PROVIDER)
        if old is not None:
            # A copy: what the remains of a dead process still do is lost with it.
            self.stores.engine.tables = old.engine.tables.copy()
            self.stores.keystore = old.keystore
            self.stores.account = self.stores.tenancy = old.account
        return cast("Stores", self.stores)

    async def crash(self) -> None:
        """Lose nothing: a command is in the tables or it never was."""

    def changed(self) -> bool:
        if self.stores is None:
            return False
        tables, seen = self.stores.engine.tables, self._seen
        return (
            tables.sends != seen.sends
            or tables.verifications != seen.verifications
            or len(tables.leaves) != len(seen.leaves)
        )

    def committed(self) -> Committed:
        if self.stores is not None:
            tables = self.stores.engine.tables
            self._seen = Committed(
                dict(tables.verifications), dict(tables.sends), tuple(tables.leaves.values())
            )
        return self._seen

    def at_rest(self) -> Iterator[tuple[str, bytes]]:
        if self.stores is not None:
            yield "tables", repr(self.stores.engine.tables).encode()

    def failing(self, fault: Fault) -> AbstractContextManager[None]:
        assert self.stores is not None
        return failing_memory(self.stores.engine, fault)

    async def close(self) -> None:
        """Have nothing to let go of."""


class SqlitePlace:
    """The SQLite store in files of its own."""

    def __init__(self, directory: Path) -> None:
        """Work below `directory`, which need not exist."""
        self.root = directory
        self._lives = 0
        self._open: list[SqliteStores] = []
        self._reader: sqlite3.Connection | None = None
        self._version = -1
        self._seen = Committed({}, {}, ())

    @property
    def directory(self) -> Path:
        """Where the files of this life are."""
        return self.root / str(self._lives)

    async def open(self, clock: Clock, bus: ChangeBus) -> Stores:
        stores = await self.opened(clock, bus)
        self.look()
        return stores

    async def opened(self, clock: Clock, bus: ChangeBus) -> Stores:
        """Open the store alone."""
        if not self.directory.exists():
            shutil.copytree(_template(), self.directory)
        stores = await _open_sqlite(self.directory, clock, bus, self._lives)
        self._open.append(stores)
        return cast("Stores", stores)

    async def crash(self) -> None:
        """Go on with a copy of the files as they are now; the remains keep the old ones."""
        if self._reader is not None:
            # What those remains still commit to the old files is lost, and no longer looked at.
            self._reader.close()
            self._reader = None
        before = self.directory
        self._lives += 1
        shutil.copytree(before, self.directory, ignore=shutil.ignore_patterns("*-shm"))

    def changed(self) -> bool:
        return self._reader is not None and self._data_version() != self._version

    def committed(self) -> Committed:
        assert self._reader is not None
        version = self._data_version()
        if version == self._version:
            return self._seen
        with closing(self._reader.cursor()) as cursor:
            cursor.execute("BEGIN")
            rows = cursor.execute(f"SELECT {VERIFICATION} FROM verification").fetchall()
            sends = cursor.execute(f"SELECT {SEND} FROM send").fetchall()
            leaves = cursor.execute(f"SELECT {_LEAF} FROM audit_leaf ORDER BY rowid").fetchall()
            cursor.execute("COMMIT")
        self._version = version
        self._seen = Committed(
            {row.verification_id: row for row in map(verification_of, rows)},
            {send.send_id: send for send in map(send_of, sends)},
            tuple(leaf for leaf in map(Leaf._make, leaves) if leaf.kind in _KINDS),
        )
        return self._seen

    def at_rest(self) -> Iterator[tuple[str, bytes]]:
        for path in self.directory.rglob("*"):
            if path.is_file():
                yield path.name, path.read_bytes()

    def failing(self, fault: Fault) -> AbstractContextManager[None]:
        return failing_sqlite(self._open[-1]._engine, fault)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        for stores in reversed(self._open):
            await stores.close()
        self._open.clear()

    def look(self) -> None:
        """Open what `committed` reads by."""
        if self._reader is not None:
            self._reader.close()
        self._reader = sqlite3.connect(
            f"file:{self.directory}/watchword.db?mode=ro", uri=True, isolation_level=None
        )
        self._version = -1

    def _data_version(self) -> int:
        assert self._reader is not None
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])


async def _open_sqlite(
    directory: Path, clock: Clock, bus: ChangeBus, lives: int, *, create: bool = False
) -> SqliteStores:
    return await SqliteStores.open(
        directory / "watchword.db",
        world=WORLD,
        clock=clock,
        bus=bus,
        provider=PROVIDER,
        create=create,
        entropy=SeededEntropy(lives),
    )


_made: list[Path] = []


def _template() -> Path:
    """Return a directory with an empty store: a copy of it takes less time than a new one.

    Made in a thread with a loop of its own: whose turn it is here must not depend on it.
    """
    if not _made:
        root = Path(tempfile.mkdtemp(prefix="watchword-place-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        (root / "0").mkdir()
        maker = threading.Thread(target=lambda: asyncio.run(_make(root / "0")))
        maker.start()
        maker.join()
        _made.append(root / "0")
    return _made[0]


async def _make(directory: Path) -> None:
    stores = await _open_sqlite(directory, FakeClock(), RecordingBus(), 0, create=True)
    await stores.close()


# The tenancy keeps leaves of its own beside these.
_KINDS = frozenset({"verification", "send", "rebind"})

MakePlace = Callable[[Path], Place]

PLACES: dict[str, MakePlace] = {"memory": MemoryPlace, "sqlite": SqlitePlace}
"""Every store that the tests know, by name."""
