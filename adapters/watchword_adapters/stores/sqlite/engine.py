"""One writer with group commit over one SQLite file, and readers beside it.

Commands queue up while a commit is under way; when it is durable, all that wait run in
one transaction and share the next commit. Should one fail after it has written, the
batch is undone and run again with a savepoint for each command.

Statements run on the event loop's thread: SQLite lets go of the interpreter at every
step, so a busy second thread would fight the loop for it. Only COMMIT, which waits for
the disk, runs in a thread. While it does, nothing else touches the writer's connection.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from watchword.core.errors import DomainError, Reason, Unavailable
from watchword.core.ports import ChangeBus, Clock, Millis, StoreMeter
from watchword_adapters.stores.sqlite.connection import Connect, open_reader, open_writer

T = TypeVar("T")

_BATCH = 128
# After a commit the next batch waits until for so long no command has come and the loop had
# nothing else to do, but not for ever (seconds): a commit costs as much as three commands.
_LULL = 0.001
_PATIENCE = 0.03
_CAPACITY = 2_000
_OVERLOAD_RETRY: Millis = 500
_DEPENDENCY_RETRY: Millis = 1_000
# How long another writer may hold the lock: 5 ms, doubled up to 100 ms, 2 s in all.
_BUSY_WAITS = (0.005, 0.01, 0.02, 0.04, 0.08) + (0.1,) * 18
# A commit that fails for one of these left nothing behind and may be tried again later.
_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_log = logging.getLogger(__name__)


class Transaction:
    """What a command works with: the open connection and one reading of the clock."""

    __slots__ = ("db", "ids", "now")

    def __init__(self, db: sqlite3.Connection, now: Millis, ids: list[str]) -> None:
        """Work on `db` at `now`; `ids` gathers what the change bus will be told."""
        self.db = db
        self.now = now
        self.ids = ids

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the transaction is durable."""
        self.ids.append(object_id)


class _Raised(NamedTuple):
    """The outcome of a command that was rolled back."""

    error: Exception


class _Torn(Exception):
    """A command failed after it had written: its part of the transaction must go."""


_Job = tuple[Callable[[Transaction], Any], "asyncio.Future[Any]"]


class Engine:
    """Runs commands on one SQLite file; each is whole or not at all, and durable when it returns.

    Raises `Unavailable`: OVERLOADED where too many commands wait, DEPENDENCY_UNAVAILABLE
    where the file cannot be written; then nothing was done. After a commit that failed on
    the disk itself, what the file holds is unknown: the engine is broken for good, and
    only a restart, which recovers from the log, may go on.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        bus: ChangeBus,
        *,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connect: Connect = sqlite3.connect,
        capacity: int = _CAPACITY,
        meter: StoreMeter | None = None,
    ) -> None:
        """Open an existing file at `path`. Raises `sqlite3.Error` where that fails."""
        self._meter = meter
        self._writer = open_writer(path, connect)
        self._reader = open_reader(path, connect)
        self._lister = open_reader(path, connect)
        self._clock = clock
        self._bus = bus
        self._wait = wait
        self._capacity = capacity
        self._queue: deque[_Job] = deque()
        self._running = False
        self._closed = False
        self._broken = False
        self._failing = False
        self._drained: asyncio.Future[None] | None = None
        self._retry: asyncio.Task[None] | None = None
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-commit")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")

    async def write(self, command: Callable[[Transaction], T | DomainError]) -> T:
        """Run `command` in the next batch and return its outcome once that is durable.

        A command that returns a `DomainError` is kept and the error raised; one that
        raises leaves nothing. It runs even where its caller has gone meanwhile. It may run
        twice, the first time undone, so it must have no effect but on its transaction.
        """
        if self._closed or self._broken:
            raise _unavailable()
        if len(self._queue) >= self._capacity:
            raise Unavailable(
                "too many commands are waiting",
                reason=Reason.OVERLOADED,
                retry_after=_OVERLOAD_RETRY,
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((command, future))
        if not self._running:
            self._running = True
            loop.call_soon(self._begin)
        return await future

    def now(self) -> Millis:
        """Return the store's time."""
        return self._clock.now()

    def look(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a short `query` at once on one snapshot; raises `Unavailable`."""
        if self._closed:
            raise _unavailable()
        return _snapshot(self._reader, query)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a longer `query` in a thread, on one snapshot; raises `Unavailable`."""
        if self._closed:
            raise _unavailable()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, _snapshot, self._lister, query)

    async def check(self) -> None:
        """Return where the store can serve; raises `Unavailable`.

        After a failure a real write is tried, so that readiness comes back by itself.
        """
        if self._closed or self._broken:
            raise _unavailable()
        if self._failing:
            await self.write(_probe)
        self.look(_read_meta)

    async def close(self) -> None:
        """Refuse new commands, finish those that wait, and let go of the file."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._running:
            self._drained = loop.create_future()
            await self._drained
        await loop.run_in_executor(self._readers, self._lister.close)
        self._reader.close()
        await loop.run_in_executor(self._committer, self._writer.close)
        self._readers.shutdown(wait=False)
        self._committer.shutdown(wait=False)

    def _begin(self) -> None:
        queue = self._queue
        self._start([queue.popleft() for _ in range(min(len(queue), _BATCH))])

    def _start(self, batch: list[_Job], *, careful: bool = False) -> None:
        error = self._lock()
        if error is None:
            self._run(batch, careful=careful)
        elif _code(error) == sqlite3.SQLITE_BUSY:
            later = self._start_later(batch, careful=careful)
            self._retry = asyncio.get_running_loop().create_task(later)
        else:
            self._failed(batch, error)

    async def _start_later(self, batch: list[_Job], *, careful: bool) -> None:
        """Wait for another process's writer, but not for ever."""
        error: Exception | None = None
        for seconds in _BUSY_WAITS:
            await self._wait(seconds)
            error = self._lock()
            if error is None:
                self._run(batch, careful=careful)
                return
            if _code(error) != sqlite3.SQLITE_BUSY:
                break
        self._failed(batch, error)

    def _lock(self) -> Exception | None:
        """Take the write lock; returns why that failed."""
        if self._broken:
            return _unavailable()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return error
        return None

    def _run(self, batch: list[_Job], *, careful: bool = False) -> None:
        """Run the batch in the open transaction, then commit it in the thread."""
        db = self._writer
        before = db.total_changes
        ids: list[str] = []
        apply = self._apply_in_savepoint if careful else self._apply
        try:
            outcomes = [apply(db, command, ids) for command, _ in batch]
        except _Torn:
            self._run_again(batch)
            return
        except BaseException as error:
            self._failed(batch, error)
            if not isinstance(error, sqlite3.Error):
                raise
            return
        if db.total_changes == before:
            self._commit_nothing(batch, outcomes)
            return
        commit = asyncio.get_running_loop().run_in_executor(self._committer, _commit, db)
        commit.add_done_callback(partial(self._committed, batch, outcomes, ids, perf_counter()))

    def _apply(
        self, db: sqlite3.Connection, command: Callable[[Transaction], Any], ids: list[str]
    ) -> object:
        """Run one command bare; raises `_Torn` where it wrote before it raised.

        Commands refuse before they write, so a savepoint each, which makes SQLite copy
        every page that it changes, would hardly ever be rolled back to.
        """
        before = db.total_changes
        try:
            return command(Transaction(db, self._clock.now(), ids))
        except Exception as error:
            if _loses_batch(error):
                raise
            if db.total_changes != before:
                raise _Torn from error
            return _Raised(error)

    def _apply_in_savepoint(
        self, db: sqlite3.Connection, command: Callable[[Transaction], Any], ids: list[str]
    ) -> object:
        """Run one command so that it can be undone alone; raises `sqlite3.Error`."""
        mark = len(ids)
        db.execute("SAVEPOINT command")
        try:
            outcome: object = command(Transaction(db, self._clock.now(), ids))
        except Exception as error:
            if _loses_batch(error):
                raise
            # Fails, and so fails the batch, where SQLite has rolled back by itself.
            db.execute("ROLLBACK TO command")
            db.execute("RELEASE command")
            del ids[mark:]
            return _Raised(error)
        db.execute("RELEASE command")
        return outcome

    def _run_again(self, batch: list[_Job]) -> None:
        """Undo a batch that one command tore, and run it with a savepoint for each."""
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._failed(batch, error)
            return
        self._start(batch, careful=True)

    def _commit_nothing(self, batch: list[_Job], outcomes: list[object]) -> None:
        """End a batch that wrote nothing; no disk is waited for."""
        try:
            _commit(self._writer)
        except sqlite3.Error as error:
            self._failed(batch, error)
            return
        self._resolve(batch, outcomes)
        self._next()

    def _committed(
        self,
        batch: list[_Job],
        outcomes: list[object],
        ids: list[str],
        began: float,
        commit: "asyncio.Future[None]",
    ) -> None:
        if self._meter is not None:
            self._meter.committed(perf_counter() - began, len(batch))
            self._meter.store_queue(len(self._queue))
        error = commit.exception()
        if error is not None:
            self._broken = _code(error) not in _PASSING
            self._failed(batch, error)
            if self._broken:
                _log.error("the store serves no more: see to its disk, then restart")
            return
        self._failing = False
        self._resolve(batch, outcomes)
        for object_id in dict.fromkeys(ids):
            self._bus.publish(object_id)
        self._next()

    def _resolve(self, batch: list[_Job], outcomes: list[object]) -> None:
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, _Raised):
                future.set_exception(outcome.error)
            elif isinstance(outcome, DomainError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _failed(self, batch: list[_Job], error: BaseException | None) -> None:
        """Undo the batch and tell each of its callers that nothing was done."""
        self._failing = True
        # The name of SQLite's result code only: its texts may hold paths and SQL.
        _log.error("store write failed", extra={"error": _name(error)})
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._broken = True
        for _, future in batch:
            if not future.done():
                future.set_exception(_unavailable())
        self._next()

    def _next(self) -> None:
        """Begin the next batch once no more commands come, or end the run.

        A commit costs much and one more command in it little: what comes while the last
        one's callers are answered shares it. Alone, a command has waited for nobody.
        """
        if self._queue:
            self._gather(perf_counter() + _PATIENCE)
            return
        self._running = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _gather(self, end: float) -> None:
        """Begin after a lull, at `end` at the latest, or at once where the batch is full."""
        now, waiting = perf_counter(), len(self._queue)

        def after() -> None:
            # A late timer says that the loop is busy, perhaps with the next commands.
            busy = perf_counter() > now + 2 * _LULL
            if busy or len(self._queue) > waiting:
                self._gather(end)
            else:
                self._begin()

        if waiting >= _BATCH or now >= end:
            self._begin()
        else:
            asyncio.get_running_loop().call_later(_LULL, after)


def _commit(db: sqlite3.Connection) -> None:
    db.execute("COMMIT")


def _snapshot(db: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    try:
        db.execute("BEGIN")
        try:
            return query(db)
        finally:
            db.execute("COMMIT")
    except sqlite3.Error as error:
        _log.error("store read failed: %s", _name(error))
        raise _unavailable() from None


def _probe(tx: Transaction) -> None:
    # Sixteen pages: a nearly full disk has room for one when it has none for a command.
    tx.db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', zeroblob(65536))")


def _read_meta(db: sqlite3.Connection) -> None:
    db.execute("SELECT value FROM meta WHERE name = 'world'").fetchone()


def _loses_batch(error: Exception) -> bool:
    """Tell whether an error speaks of the file (full, torn, locked) and not of the command."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _code(error: BaseException) -> int:
    # Extended codes keep the primary one in their low byte.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _name(error: BaseException | None) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))


def _unavailable() -> Unavailable:
    return Unavailable("the store cannot serve now", retry_after=_DEPENDENCY_RETRY)
