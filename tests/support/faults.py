"""Faults of a disk, and how a store is made to meet them."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from watchword.core.errors import Unavailable
from watchword.testing.memory_rows import MemoryEngine, MemoryRows


class Failed(Exception):
    """A statement failed; `passing` where the store may go on after it."""

    def __init__(self, *, passing: bool) -> None:
        super().__init__("injected")
        self.passing = passing


class Fault(Protocol):
    """Decides what becomes of a statement: returns to let it run, raises `Failed` to fail it."""

    fired: bool

    def before(self, statement: str) -> None: ...

    def after(self, statement: str) -> None: ...


class NthStatement:
    """The disk fails under the n-th statement: nothing of the command may stay."""

    def __init__(self, n: int) -> None:
        self._left = n
        self.fired = False

    def before(self, statement: str) -> None:
        if statement in ("COMMIT", "ROLLBACK"):
            return
        self._left -= 1
        if self._left == 0:
            self.fired = True
            raise Failed(passing=False)

    def after(self, statement: str) -> None:
        pass


class FullDisk:
    """There is no room for the commit: nothing of the command may stay."""

    fired = False

    def before(self, statement: str) -> None:
        if statement == "COMMIT" and not self.fired:
            self.fired = True
            raise Failed(passing=True)

    def after(self, statement: str) -> None:
        pass


class LostCommit:
    """The commit is on the disk, but the disk says that it failed: all of it must stay."""

    fired = False

    def before(self, statement: str) -> None:
        pass

    def after(self, statement: str) -> None:
        if statement == "COMMIT" and not self.fired:
            self.fired = True
            raise Failed(passing=False)


class FaultyConnection:
    """A SQLite connection whose statements meet a fault."""

    def __init__(self, inner: sqlite3.Connection, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        try:
            self._fault.before(sql)
            done = self._inner.execute(sql, *arguments)
            self._fault.after(sql)
        except Failed as failed:
            error = sqlite3.OperationalError("injected")
            code = sqlite3.SQLITE_FULL if failed.passing else sqlite3.SQLITE_IOERR
            error.sqlite_errorcode = code
            error.sqlite_errorname = "SQLITE_INJECTED"
            raise error from None
        return done


@contextlib.contextmanager
def failing_sqlite(engine: Any, fault: Fault) -> Iterator[None]:
    """Let the statements of the engine's writer meet `fault`."""
    writer = engine._writer
    engine._writer = FaultyConnection(writer, fault)
    try:
        yield
    finally:
        engine._writer = writer


class FaultyRows:
    """Rows of which each method is a statement."""

    def __init__(self, inner: MemoryRows, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if callable(found):
            self._fault.before(name)
        return found


@contextlib.contextmanager
def failing_memory(engine: MemoryEngine, fault: Fault) -> Iterator[None]:
    """Let the commands of the memory store meet `fault`, as if it had a disk."""
    write = engine.write

    async def faulty(command: Callable[[Any], Any]) -> Any:
        def run(rows: MemoryRows) -> Any:
            outcome = command(FaultyRows(rows, fault))
            fault.before("COMMIT")
            return outcome

        try:
            outcome = await write(run)
            fault.after("COMMIT")
        except Failed:
            raise Unavailable("the store is unavailable") from None
        return outcome

    vars(engine)["write"] = faulty
    try:
        yield
    finally:
        del vars(engine)["write"]
