"""Everything below the servicer, over real files: to be crashed, failed and looked at."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from tests.support.live import sandbox_config

from watchword.core.ports import SECOND
from watchword.delivery.carrier import Message, Submitted
from watchword.delivery.composer import Composer
from watchword.delivery.dispatcher import Dispatcher, DispatchSettings
from watchword.server import dev
from watchword.server.bootstrap import Parts, Server
from watchword.telemetry.logs import DEBUG, Log
from watchword.tenancy.model import Caller
from watchword.testing.carriers import FakeCarrier
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.verification.service import VerificationService

_PATIENCE = 20.0
_POLL = 0.001
LEASE = 40 * SECOND


class Fault(Protocol):
    """Decides what becomes of a statement: returns to let it run, raises to fail it."""

    fired: bool

    def before(self, sql: str) -> None: ...

    def after(self, sql: str) -> None: ...


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_INJECTED"
    return error


class NthStatement:
    """The disk fails under the n-th statement: nothing of the command may stay."""

    def __init__(self, n: int) -> None:
        self._left = n
        self.fired = False

    def before(self, sql: str) -> None:
        if sql in ("COMMIT", "ROLLBACK"):
            return
        self._left -= 1
        if self._left == 0:
            self.fired = True
            raise _error(sqlite3.SQLITE_IOERR)

    def after(self, sql: str) -> None:
        pass


class FullDisk:
    """There is no room for the commit: nothing of the command may stay."""

    fired = False

    def before(self, sql: str) -> None:
        if sql == "COMMIT" and not self.fired:
            self.fired = True
            raise _error(sqlite3.SQLITE_FULL)

    def after(self, sql: str) -> None:
        pass


class LostCommit:
    """The commit is on the disk, but the disk says that it failed: all of it must stay."""

    fired = False

    def before(self, sql: str) -> None:
        pass

    def after(self, sql: str) -> None:
        if sql == "COMMIT" and not self.fired:
            self.fired = True
            raise _error(sqlite3.SQLITE_IOERR)


class FaultyConnection:
    """A connection whose statements meet a fault."""

    def __init__(self, inner: sqlite3.Connection, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        self._fault.before(sql)
        done = self._inner.execute(sql, *arguments)
        self._fault.after(sql)
        return done


class Carrier(FakeCarrier):
    """Takes messages, or never answers: before or after it took one."""

    hangs = ""

    async def send(self, message: Message) -> Submitted:
        self.waiting += 1
        if self.hangs == "before":
            await asyncio.Event().wait()
        self.taken.append(message)
        if self.hangs == "after":
            await asyncio.Event().wait()
        return Submitted("P")


def make_deployment(directory: Path) -> None:
    """Make keys, store and application once; examples begin with a copy."""
    asyncio.run(_make(directory))


async def _make(directory: Path) -> None:
    config, clock, entropy = sandbox_config(directory), FakeClock(), SeededEntropy(1)
    dev.prepare(config, clock, entropy)
    server = Server(config, Log(lambda _: None, clock), clock=clock, entropy=entropy, create=True)
    parts = await server.open()
    values = await dev.credentials(parts, directory, clock, entropy, config.world)
    dev.write(directory, "nowhere", values)
    await parts.stores.close()


class World:
    """One deployment through its crashes; `lines` is all that was ever logged."""

    parts: Parts
    caller: Caller
    _server: Server

    def __init__(self, deployment: Path, root: Path) -> None:
        """Begin with a copy of `deployment`; nothing is open yet."""
        self.root = root
        self.clock = FakeClock()
        self.carrier = Carrier()
        self.lines: list[bytes] = []
        self.lives = 0
        self._entropy = SeededEntropy(2)
        shutil.copytree(deployment, self.directory)

    @property
    def directory(self) -> Path:
        return self.root / str(self.lives)

    @property
    def service(self) -> VerificationService:
        return self.parts.verification

    async def open(self) -> None:
        """Open what the directory holds, as a start does."""
        log = Log(self.lines.append, self.clock, DEBUG)
        config = sandbox_config(self.directory)
        self._server = Server(config, log, clock=self.clock, entropy=self._entropy)
        self.parts = await self._server.open()
        ((account, application, credential),) = self.rows(
            "SELECT account_id, application_id, credential_id FROM credential"
            " WHERE application_id IS NOT NULL"
        )
        self.caller = Caller(account, application, credential, frozenset())

    async def crash(self, dispatcher: Dispatcher | None = None) -> None:
        """Lose all that is in memory; go on with the files as they are at this moment."""
        before = self.directory
        self.lives += 1
        shutil.copytree(before, self.directory, ignore=shutil.ignore_patterns("*-shm"))
        old = self.parts
        await self.open()
        # The old process is gone; what its remains still do meets the old files alone.
        if dispatcher is not None:
            await dispatcher.stop(0)
        await old.stores.close()
        shutil.rmtree(before)

    async def close(self) -> None:
        await self.parts.stores.close()

    @contextlib.contextmanager
    def failing(self, fault: Fault | None) -> Iterator[None]:
        """Let the writer's statements meet `fault`."""
        stores: Any = self.parts.stores
        engine = stores._engine
        writer = engine._writer
        if fault is not None:
            engine._writer = FaultyConnection(writer, fault)
        try:
            yield
        finally:
            engine._writer = writer

    async def deliver(self, *, hangs: str = "") -> None:
        """Send all that is due; where the carrier `hangs`, crash in the midst of it."""
        self.carrier.hangs, self.carrier.waiting = hangs, 0
        dispatcher = self._dispatcher()
        before = self._attempts()
        running = asyncio.create_task(dispatcher.run())
        try:
            await self._until(self._nothing_due)
            if hangs:
                begun = self._attempts() - before
                await self._until(lambda: self.carrier.waiting == begun)
                await self.crash(dispatcher)
        finally:
            await dispatcher.stop(0 if hangs else None)
            await running
            self.carrier.hangs = ""

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            outbox=self.parts.stores.outbox,
            carriers={"sandbox": self.carrier},
            router=self.parts.verification.router,
            composer=Composer(self.parts.epochs),
            limits=self.parts.verification.limits,
            clock=self.clock,
            entropy=self._entropy,
            bus=self._server.bus,
            meter=self._server.metrics,
            log=self._server.log,
            settings=DispatchSettings(lease=LEASE),
        )

    def _nothing_due(self) -> bool:
        due = "SELECT count(*) FROM send WHERE state = 'QUEUED' AND max(due_time, lease_time) <= ?"
        return self.rows(due, self.clock.now()) == [(0,)]

    def _attempts(self) -> int:
        ((attempts,),) = self.rows("SELECT coalesce(sum(attempts), 0) FROM send")
        return int(attempts)

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Read what is committed, as another process would."""
        with closing(self._look()) as db:
            return db.execute(query, arguments).fetchall()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that is at rest."""
        for path in self.directory.rglob("*"):
            if path.is_file():
                yield path.name, path.read_bytes()

    def _look(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.directory}/watchword.db?mode=ro", uri=True)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not reached():  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(_POLL)
