"""Migrations: each step whole or not at all, once, and servers of the version before serve on."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
from tests.stores.next_schema import expand, next_step

from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.sqlite import SqliteStores, StoreRefused, migration, schema

OpenStores = Callable[..., AbstractAsyncContextManager[SqliteStores]]

KNOWN = migration.known_migrations()
_KILLED = Path(__file__).with_name("killed_migration.py")


def step(number: int, sql: str, oldest: int = 1) -> migration.Migration:
    return migration.Migration(number, f"{number:04}_test.sql", sql, oldest)


def connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, timeout=5, isolation_level=None))


@pytest.fixture
def empty(path: Path) -> Path:
    """A store that has its stamp and has had no step yet."""
    with connect(path) as db:
        schema.initialise(db, "dev", MemoryKeyProvider())
    return path


def tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def taken(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    return list(db.execute("SELECT version, name, apply_time FROM schema_version"))


def refusal(db: sqlite3.Connection, steps: migration.Steps = KNOWN) -> str:
    with pytest.raises(StoreRefused) as refused:
        migration.check_served(db, steps)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_failed_step_leaves_nothing_and_is_taken_again(empty: Path) -> None:
    good = step(1, "CREATE TABLE good (n INTEGER);")
    bad = step(2, "CREATE TABLE bad (n INTEGER); SELECT nonsense;")
    with connect(empty) as db:
        with pytest.raises(sqlite3.OperationalError):
            migration.migrate(db, 0, (good, bad))
        assert "good" in tables(db)
        assert "bad" not in tables(db)
        mended = bad._replace(sql="CREATE TABLE bad (n INTEGER);")
        change = migration.migrate(db, 5, (good, mended))
        assert change == (1, 2, ("0002_test.sql",))
        assert migration.migrate(db, 6, (good, mended)) == (2, 2, ())
        assert taken(db) == [(1, "0001_test.sql", 0), (2, "0002_test.sql", 5)]


def test_what_would_be_done_is_told_and_not_done(empty: Path) -> None:
    with connect(empty) as db:
        change = migration.pending(db, KNOWN)
        assert change == (0, len(KNOWN), tuple(each.name for each in KNOWN))
        assert taken(db) == []
        assert migration.migrate(db, 0, KNOWN) == change
        assert [row[0] for row in taken(db)] == [each.version for each in KNOWN]


def test_two_that_migrate_at_once_take_each_step_once(empty: Path) -> None:
    steps = tuple(step(n, f"CREATE TABLE t{n} (n INTEGER);") for n in range(1, 20))
    together = threading.Barrier(2)
    names: list[str] = []

    def run() -> None:
        with connect(empty) as db:
            together.wait()
            names.extend(migration.migrate(db, 0, steps).steps)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == [each.name for each in steps]
    with connect(empty) as db:
        assert len(taken(db)) == len(steps)


def test_a_step_that_another_process_took_meanwhile_is_not_taken_again(empty: Path) -> None:
    one = step(1, "CREATE TABLE once (n INTEGER);")
    with connect(empty) as db, connect(empty) as other:
        migration.migrate(other, 7, (one,))
        assert not migration._take(db, one, 9)
        assert taken(db) == [(1, "0001_test.sql", 7)]


def test_c162_a_migration_killed_at_any_statement_goes_on_where_it_was(tmp_path: Path) -> None:
    # A program of its own: it forks a child for every statement, which dies right before it.
    done = subprocess.run(
        [sys.executable, _KILLED, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    statements, killed = map(int, done.stdout.split())
    assert killed == statements > sum(each.sql.count(";\n") for each in KNOWN) - 10


@pytest.mark.parametrize("oldest", [1, len(KNOWN)])
def test_c162_a_newer_schema_that_serves_this_version_is_served(empty: Path, oldest: int) -> None:
    newer = expand(empty, oldest=oldest)
    with connect(empty) as db:
        assert newer == len(KNOWN) + 1
        migration.check_served(db, KNOWN)
        assert migration.pending(db, KNOWN) == (newer, newer, ())


def test_a_newer_schema_that_leaves_this_version_behind_is_refused(empty: Path) -> None:
    newer = expand(empty, oldest=len(KNOWN) + 1)
    with connect(empty) as db:
        text = f"has version {newer}; this version knows {len(KNOWN)}: upgrade Watchword"
        assert text in refusal(db)
        with pytest.raises(StoreRefused, match="upgrade Watchword"):
            migration.migrate(db, 0, KNOWN)


def test_what_was_told_of_another_version_does_not_count(empty: Path) -> None:
    expand(empty, oldest=1)
    with connect(empty) as db:
        db.execute("INSERT INTO schema_version (version, name, apply_time) VALUES (99, 'x', 0)")
        assert "version 99" in refusal(db)


def test_an_older_schema_is_for_migrate(empty: Path) -> None:
    with connect(empty) as db:
        migration.migrate(db, 0, KNOWN[:-1])
        assert "run `watchword migrate`" in refusal(db)
        migration.migrate(db, 0, KNOWN)
        migration.check_served(db, KNOWN)


async def test_serving_refuses_an_older_schema_and_dev_mode_mends_it(
    open_stores: OpenStores, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migration, "known_migrations", lambda: KNOWN[:1])
        async with open_stores():
            pass
    with pytest.raises(StoreRefused, match="run `watchword migrate`"):
        async with open_stores(create=False):
            pass
    with connect(path) as db:
        assert len(taken(db)) == 1
    async with open_stores(create=True):
        pass
    with connect(path) as db:
        assert len(taken(db)) == len(KNOWN)


async def test_c162_a_server_goes_on_while_the_next_version_migrates(
    open_stores: OpenStores, path: Path
) -> None:
    async with open_stores() as stores:
        await stores.verification.start(cases.start(1))
        starting = [
            asyncio.create_task(stores.verification.start(cases.start(n, cases.Case(phone=n))))
            for n in range(2, 40)
        ]
        newer = await asyncio.to_thread(expand, path)
        await asyncio.gather(*starting)
        assert (await stores.verification.check(cases.check(1))).approved
    async with open_stores(create=False) as stores:
        got = await stores.verification.get(
            cases.verification_id(39), cases.ACCOUNT, cases.APPLICATION
        )
        assert got.verification.checks_remaining
    with connect(path) as db:
        assert newer == migration.version(db)
        assert {row[0] for row in db.execute("SELECT later FROM verification")} == {"new"}


def test_every_step_says_which_servers_it_serves() -> None:
    for each in KNOWN[1:]:
        # Servers of the version before must go on; what they need goes a release later.
        assert 1 <= each.oldest < each.version, each.name


def test_a_step_that_does_not_say_it_is_refused() -> None:
    with pytest.raises(StoreRefused, match="does not say"):
        migration._step("0003_silent.sql", "CREATE TABLE t (n INTEGER);")


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_file_is_cut_into_its_statements(known: migration.Migration) -> None:
    found = list(migration.statements(known.sql))
    assert "".join("".join(found).split()) == "".join(known.sql.split())
    assert all(sqlite3.complete_statement(each) for each in found)
    assert len(found) == sum(line.endswith(";") for line in known.sql.splitlines())


def test_a_trigger_and_a_comment_are_not_cut() -> None:
    sql = (
        "-- one; two\nCREATE TABLE t (n TEXT DEFAULT ';');\n"
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;\n"
    )
    assert len(list(migration.statements(sql))) == 2


async def test_steps_make_no_temporary_table(empty: Path) -> None:
    # What is personal must not lie in a file that nothing erases.
    with connect(empty) as db:
        migration.migrate(db, FakeClock().now(), KNOWN)
        assert list(db.execute("SELECT name FROM sqlite_temp_schema")) == []
    assert not [each.name for each in KNOWN if " TEMP" in each.sql.upper()]


def test_the_step_of_these_tests_changes_every_table(empty: Path) -> None:
    with connect(empty) as db:
        migration.migrate(db, 0, KNOWN)
        names = {name for name in tables(db) if not name.startswith("sqlite_")}
        sql = next_step(db, oldest=1).sql
        assert len(names) > 10
        assert all(f"ALTER TABLE {name} ADD" in sql for name in names)
