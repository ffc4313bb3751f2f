"""Group commit: what shares a commit, what is undone, and what a broken disk does."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from watchword.core.errors import DomainError, FailedPrecondition, Reason, Unavailable
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword_adapters.stores.sqlite.engine import Engine, Transaction


class FaultyConnection(sqlite3.Connection):
    """A connection that fails where its test says so."""

    fault: Callable[[str], Exception | None] = staticmethod(lambda _: None)
    log: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.log = []
        super().__init__(*args, **kwargs)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.log.append(sql)
        error = self.fault(sql)
        if error is not None:
            raise error
        return super().execute(sql, parameters)


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("a text that names /var/lib/watchword.db")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    return sqlite3.connect(*args, factory=FaultyConnection, **kwargs)


class World:
    """An engine over a file with one table, and hands on what surrounds it."""

    def __init__(self, path: Path, **options: Any) -> None:
        with sqlite3.connect(path) as db:
            db.executescript(
                "PRAGMA journal_mode = WAL;"
                "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);"
                "INSERT OR IGNORE INTO meta VALUES ('world', x'00');"
                "CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE);"
            )
        db.close()
        self.path = path
        self.clock = FakeClock()
        self.bus = RecordingBus()
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.engine = Engine(
            path, self.clock, self.bus, wait=self._wait, connect=connect, **options
        )
        writer = self.engine._writer
        assert isinstance(writer, FaultyConnection)
        self.writer = writer

    async def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.on_wait()
        await asyncio.sleep(0)

    def rows(self) -> list[int]:
        db = sqlite3.connect(self.path)
        try:
            return [row[0] for row in db.execute("SELECT n FROM t ORDER BY n")]
        finally:
            db.close()

    async def gather(self, *commands: Callable[[Transaction], Any]) -> list[Any]:
        writes = (self.engine.write(command) for command in commands)
        return await asyncio.gather(*writes, return_exceptions=True)


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    world = World(path)
    yield world
    await world.engine.close()


def insert(n: int) -> Callable[[Transaction], int]:
    def command(tx: Transaction) -> int:
        tx.db.execute("INSERT INTO t VALUES (?)", (n,))
        tx.changed(f"row-{n}")
        return n

    return command


def refuse(tx: Transaction) -> None:
    raise FailedPrecondition("no")


def write_then_refuse(tx: Transaction) -> None:
    insert(99)(tx)
    raise FailedPrecondition("no")


def write_and_return_error(tx: Transaction) -> DomainError:
    insert(50)(tx)
    return FailedPrecondition("kept")


async def test_many_commands_share_one_commit(world: World) -> None:
    assert await world.gather(*map(insert, range(100))) == list(range(100))
    assert world.writer.log.count("COMMIT") == 1
    assert world.rows() == list(range(100))


async def test_commands_that_come_during_a_commit_are_the_next_batch(world: World) -> None:
    first = asyncio.create_task(world.engine.write(insert(1)))
    while "COMMIT" not in world.writer.log:  # noqa: ASYNC110 - the log has no event
        await asyncio.sleep(0)
    await world.gather(*map(insert, range(2, 40)))
    await first
    assert world.writer.log.count("COMMIT") <= 3
    assert world.rows() == list(range(1, 40))


async def test_a_batch_is_bounded(world: World) -> None:
    await world.gather(*map(insert, range(300)))
    assert world.writer.log.count("COMMIT") == 3


async def test_what_changed_is_published_once_after_the_commit(world: World) -> None:
    seen: list[int] = []
    world.bus.publish = lambda object_id: seen.append(len(world.rows()))  # type: ignore[method-assign]

    def twice(tx: Transaction) -> None:
        insert(1)(tx)
        tx.changed("row-1")

    await world.engine.write(twice)
    assert seen == [1]


async def test_a_command_that_refuses_costs_no_savepoint(world: World) -> None:
    outcomes = await world.gather(insert(1), refuse, insert(2))
    assert [type(o) for o in outcomes] == [int, FailedPrecondition, int]
    assert "SAVEPOINT command" not in world.writer.log
    assert world.rows() == [1, 2]


async def test_a_command_that_fails_after_writing_is_undone_alone(world: World) -> None:
    outcomes = await world.gather(insert(1), write_then_refuse, insert(2))
    assert [type(o) for o in outcomes] == [int, FailedPrecondition, int]
    assert world.rows() == [1, 2]
    assert world.bus.published == ["row-1", "row-2"]


async def test_a_constraint_fails_its_command_alone(world: World) -> None:
    outcomes = await world.gather(insert(1), insert(1), insert(2))
    assert [type(o) for o in outcomes] == [int, sqlite3.IntegrityError, int]
    assert world.rows() == [1, 2]


async def test_a_returned_error_is_kept_and_raised(world: World) -> None:
    with pytest.raises(FailedPrecondition, match="kept"):
        await world.engine.write(write_and_return_error)
    assert world.rows() == [50]
    assert world.bus.published == ["row-50"]


async def test_a_command_whose_caller_has_gone_still_counts(world: World) -> None:
    task = asyncio.create_task(world.engine.write(insert(1)))
    await asyncio.sleep(0)
    task.cancel()
    await world.engine.write(insert(2))
    assert task.cancelled()
    assert world.rows() == [1, 2]


async def test_each_command_reads_the_clock_once(world: World) -> None:
    times = await world.gather(*[lambda tx: tx.now] * 2)
    world.clock.advance(5)
    assert await world.engine.write(lambda tx: tx.now) == times[0] + 5
    assert times[0] == times[1]


async def test_a_batch_that_writes_nothing_waits_for_no_disk(world: World) -> None:
    committer, world.engine._committer = world.engine._committer, ThreadPoolExecutor(1)
    world.engine._committer.shutdown()
    assert await world.engine.write(lambda _: 7) == 7
    world.engine._committer = committer


async def test_c165_too_many_waiting_commands_are_refused_at_once(path: Path) -> None:
    world = World(path, capacity=5)
    outcomes = await world.gather(*map(insert, range(8)))
    refused = [o for o in outcomes if isinstance(o, Unavailable)]
    assert [o.reason for o in refused] == [Reason.OVERLOADED] * 3
    assert all(o.retry_after for o in refused)
    assert world.rows() == list(range(5))
    await world.engine.close()


async def test_c155_another_writer_is_waited_for(world: World) -> None:
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        if len(world.waits) == 3:
            other.execute("COMMIT")

    world.on_wait = let_go
    assert await world.gather(insert(1), insert(2)) == [1, 2]
    assert len(world.waits) == 3
    other.close()


async def test_c155_another_writer_is_not_waited_for_for_ever(world: World) -> None:
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes = await world.gather(insert(1), insert(2))
    assert [o.reason for o in outcomes] == [Reason.DEPENDENCY_UNAVAILABLE] * 2
    assert 1.5 < sum(world.waits) < 2.5
    other.execute("COMMIT")
    other.close()
    assert await world.engine.write(insert(3)) == 3
    assert world.rows() == [3]


async def test_a_full_disk_fails_the_batch_and_passes(world: World) -> None:
    pages = world.writer.execute("PRAGMA page_count").fetchone()[0]
    world.writer.execute(f"PRAGMA max_page_count = {pages}")

    def big(tx: Transaction) -> None:
        tx.db.execute("INSERT INTO meta VALUES ('big', zeroblob(100000))")

    outcomes = await world.gather(insert(1), big, insert(2))
    assert [type(o) for o in outcomes] == [Unavailable] * 3
    assert (world.rows(), world.bus.published) == ([], [])
    world.writer.execute("PRAGMA max_page_count = 1000000")
    await world.engine.check()
    assert await world.gather(insert(1), big, insert(2)) == [1, None, 2]


@pytest.mark.parametrize("name", ["SQLITE_IOERR_READ", "SQLITE_NOMEM", "SQLITE_INTERRUPT"])
async def test_c147_an_error_at_any_statement_undoes_the_batch(world: World, name: str) -> None:
    await world.engine.write(insert(0))
    world.writer.log.clear()
    await world.gather(*map(insert, range(1, 4)))
    statements = len(world.writer.log)
    for n in range(statements - 1):
        world.writer.log.clear()
        world.writer.fault = lambda _, n=n: (  # type: ignore[misc]
            sqlite_error(name) if len(world.writer.log) == n + 1 else None
        )
        outcomes = await world.gather(*map(insert, range(10 * n + 10, 10 * n + 13)))
        assert [type(o) for o in outcomes] == [Unavailable] * 3
        assert world.rows() == [0, 1, 2, 3]
    world.writer.fault = lambda _: None
    assert await world.engine.write(insert(4)) == 4


async def test_c148_after_a_failed_sync_nothing_is_written_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.engine.write(insert(1))
    world.writer.fault = lambda sql: sqlite_error("SQLITE_IOERR_FSYNC") if sql == "COMMIT" else None
    first = await world.gather(insert(2), insert(3))
    assert [type(o) for o in first] == [Unavailable] * 2
    world.writer.fault = lambda _: None
    with pytest.raises(Unavailable):
        await world.engine.write(insert(4))
    with pytest.raises(Unavailable):
        await world.engine.check()
    assert caplog.records[0].__dict__["error"] == "SQLITE_IOERR_FSYNC"
    assert "/var/lib" not in caplog.text


async def test_a_commit_that_finds_the_disk_full_may_be_tried_again(world: World) -> None:
    world.writer.fault = lambda sql: sqlite_error("SQLITE_FULL") if sql == "COMMIT" else None
    with pytest.raises(Unavailable):
        await world.engine.write(insert(1))
    world.writer.fault = lambda _: None
    await world.engine.check()
    assert await world.engine.write(insert(1)) == 1


async def test_check_tries_a_write_after_a_failure(world: World) -> None:
    world.writer.fault = lambda sql: sqlite_error("SQLITE_FULL") if sql == "COMMIT" else None
    with pytest.raises(Unavailable):
        await world.engine.write(insert(1))
    with pytest.raises(Unavailable):
        await world.engine.check()


async def test_close_finishes_what_waits(world: World) -> None:
    writes = [asyncio.create_task(world.engine.write(insert(n))) for n in range(300)]
    await asyncio.sleep(0)
    await world.engine.close()
    assert await asyncio.gather(*writes) == list(range(300))
    with pytest.raises(Unavailable):
        await world.engine.write(insert(300))
    with pytest.raises(Unavailable):
        await world.engine.read(lambda _: None)
    with pytest.raises(Unavailable):
        world.engine.look(lambda _: None)


async def test_readers_see_only_what_is_committed(world: World) -> None:
    seen: list[int] = []

    def count(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM t").fetchone()[0])

    def command(tx: Transaction) -> None:
        insert(1)(tx)
        seen.append(world.engine.look(count))

    await world.engine.write(command)
    assert seen == [0]
    assert (world.engine.look(count), await world.engine.read(count)) == (1, 1)


async def test_a_reader_cannot_write(world: World) -> None:
    with pytest.raises(Unavailable):
        world.engine.look(lambda db: db.execute("INSERT INTO t VALUES (1)"))
    assert world.rows() == []


async def test_the_writer_is_durable(world: World) -> None:
    def pragma(name: str) -> Any:
        return world.writer.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2
    assert pragma("foreign_keys") == 1
    assert pragma("secure_delete") == 2
