"""Dumps of a file that is in use, and stores made of them."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from tests.stores.next_schema import expand

from watchword.testing import verification_cases as cases
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.upkeep_contract import (
    WORLD,
    UpkeepBench,
    UpkeepContract,
    fill,
)
from watchword_adapters.stores.sqlite import SqliteStores, StoreRefused, copying, migration

KNOWN = migration.known_migrations()


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> UpkeepBench:
    @asynccontextmanager
    async def opened(place: Path) -> AsyncIterator[SqliteStores]:
        stores = await SqliteStores.open(
            place,
            world=WORLD,
            clock=clock,
            bus=RecordingBus(),
            provider=MemoryKeyProvider(),
            create=True,
            entropy=SeededEntropy(),
        )
        try:
            yield stores
        finally:
            await stores.close()

    for name in ("first", "second", "artefacts"):
        (tmp_path / name).mkdir()
    return UpkeepBench(
        upkeep=SqliteStores.upkeep,
        place=tmp_path / "first" / "watchword.db",
        other=tmp_path / "second" / "watchword.db",
        open=opened,
        clock=clock,
        refused=StoreRefused,
        directory=tmp_path / "artefacts",
    )


class TestSqlite(UpkeepContract):
    @pytest.fixture
    def bench(self, bench: UpkeepBench) -> UpkeepBench:
        return bench


@pytest.fixture
async def filled(bench: UpkeepBench) -> UpkeepBench:
    async with bench.open(bench.place) as stores:
        await fill(stores, bench.clock)
    return bench


def connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def count(path: Path, table: str) -> int:
    with connect(path) as db:
        found: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def quiet(_work: str, _done: int, _total: int) -> None:
    pass


async def test_a_copy_is_one_state_while_a_writer_goes_on(
    filled: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One page at a time, and a commit of another connection's between any two of them.
    monkeypatch.setattr(copying, "_STEP_PAGES", 1)
    before, steps = count(filled.place, "meta"), []
    filled.data.touch(mode=0o600)
    with connect(filled.place) as writer:

        def write(_work: str, done: int, total: int) -> None:
            steps.append((done, total))
            assert len(steps) < 1_000, "it was begun anew at each commit"
            value = (f"written {len(steps)}", bytes(5_000))
            writer.execute("INSERT INTO meta (name, value) VALUES (?, ?)", value)

        copying.copy_data(filled.place, filled.data, write)
    assert len(steps) > 30
    # It was never begun anew: each step came one page nearer to the same end.
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))
    assert count(filled.place, "meta") == before + len(steps)
    assert count(filled.data, "meta") == before
    with connect(filled.data) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_a_served_store_is_dumped_with_what_is_in_its_log(bench: UpkeepBench) -> None:
    async with bench.open(bench.place) as stores:
        await fill(stores, bench.clock)
        assert bench.place.with_name("watchword.db-wal").stat().st_size
        await bench.dump()
        await stores.verification.start(cases.start(20, cases.Case(phone=20)))
    assert count(bench.data, "verification") == 4
    assert sorted(path.name for path in bench.directory.iterdir()) == ["data", "keys"]


async def test_a_store_whose_server_was_killed_is_dumped(filled: UpkeepBench) -> None:
    # A copy of both files is what such a server leaves: a log that nobody has emptied.
    place = filled.other
    with connect(filled.place) as db:
        db.execute("INSERT INTO meta (name, value) VALUES ('late', x'00')")
        for name in ("watchword.db", "watchword.db-wal", "watchword-keys.db"):
            place.with_name(name).write_bytes(filled.place.with_name(name).read_bytes())
    killed = filled._replace(place=place)
    await killed.dump()
    with connect(filled.data) as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'late'").fetchone() == (b"\0",)


async def test_a_damaged_store_is_not_taken_for_a_backup(filled: UpkeepBench) -> None:
    content = bytearray(filled.place.read_bytes())
    with connect(filled.place) as db:
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'audit_leaf'"
        ).fetchone()
    start = (page - 1) * 4_096
    content[start : start + 4_096] = b"\x0d" + bytes(4_000) + b"\xff" * 95
    filled.place.write_bytes(content)
    with pytest.raises(StoreRefused, match="cannot be read"):
        await filled.dump()


@pytest.mark.parametrize("name", ["watchword.db", "watchword-keys.db"])
async def test_a_store_without_one_of_its_files_is_refused(filled: UpkeepBench, name: str) -> None:
    filled.place.with_name(name).unlink()
    with pytest.raises(StoreRefused, match=f"{name}: is not there"):
        await filled.dump()


async def test_a_file_that_is_no_store_is_refused(bench: UpkeepBench) -> None:
    for name in ("watchword.db", "watchword-keys.db"):
        bench.place.with_name(name).touch()
    with pytest.raises(StoreRefused, match="not initialised"):
        await bench.dump()
    bench.data.write_bytes(b"")
    with pytest.raises(StoreRefused, match="empty"):
        await bench.load()
    bench.data.write_bytes(b"no pages of a database" * 500)
    with pytest.raises(StoreRefused, match="cannot be read"):
        await bench.load()
    assert list(bench.other.parent.iterdir()) == []


async def test_an_older_dump_is_migrated_as_it_is_restored(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migration, "known_migrations", lambda: KNOWN[:1])
        async with bench.open(bench.place) as stores:
            await stores.verification.start(cases.start(1))
        await bench.dump()
    loaded = await bench.load()
    assert loaded.schema == (1, len(KNOWN), tuple(step.name for step in KNOWN[1:]))
    assert loaded.voided == 1
    async with bench.open(bench.other):
        pass


async def test_a_dump_of_a_newer_version_is_refused(filled: UpkeepBench) -> None:
    expand(filled.place, oldest=len(KNOWN) + 1)
    await filled.dump()
    with pytest.raises(StoreRefused, match="upgrade Watchword"):
        await filled.load()
    assert list(filled.other.parent.iterdir()) == []


async def test_a_restored_store_is_its_owners_alone_and_leaves_nothing_beside(
    filled: UpkeepBench,
) -> None:
    await filled.dump()
    # Left by a restore that was killed: no obstacle, and no part of what comes.
    for name in (".watchword.db.restoring", ".watchword.db.restoring-wal"):
        filled.other.with_name(name).write_bytes(b"half of it")
    await filled.load()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in filled.other.parent.iterdir()}
    assert modes == {"watchword.db": 0o600, "watchword-keys.db": 0o600}


@pytest.mark.parametrize("name", ["watchword.db", "watchword.db-wal", "watchword-keys.db"])
async def test_any_file_of_a_store_is_in_the_way(filled: UpkeepBench, name: str) -> None:
    await filled.dump()
    filled.other.with_name(name).write_bytes(b"somebody's")
    with pytest.raises(StoreRefused, match=f"{name}: is there already"):
        await filled.load()
    assert filled.other.with_name(name).read_bytes() == b"somebody's"


async def test_each_verification_that_is_ended_leaves_one_leaf(filled: UpkeepBench) -> None:
    before = count(filled.place, "audit_leaf")
    await filled.dump()
    loaded = await filled.load()
    assert count(filled.other, "audit_leaf") == before + loaded.voided
    with connect(filled.other) as db:
        gaps = db.execute(
            "SELECT object_id FROM audit_leaf GROUP BY object_id"
            " HAVING count(*) <> max(version) OR count(DISTINCT version) <> count(*)"
        ).fetchall()
    assert gaps == []


async def test_a_store_without_a_stamp_is_not_dumped(
    filled: UpkeepBench,
) -> None:
    with connect(filled.place) as db:
        db.execute("DELETE FROM meta WHERE name = 'world'")
    with pytest.raises(StoreRefused, match="belongs to the world ''"):
        await filled.dump()


async def test_migrate_takes_what_is_missing_and_a_dry_run_nothing(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migration, "known_migrations", lambda: KNOWN[:1])
        async with bench.open(bench.place):
            pass
    wanted = (1, len(KNOWN), tuple(step.name for step in KNOWN[1:]))
    for dry_run, after in ((True, 1), (False, len(KNOWN))):
        change = await bench.upkeep.migrate(
            bench.place, world=WORLD, clock=bench.clock, dry_run=dry_run
        )
        assert change == wanted
        assert count(bench.place, "schema_version") == after


async def test_migrate_makes_no_store(bench: UpkeepBench) -> None:
    for touched in (False, True):
        if touched:
            bench.place.touch()
        with pytest.raises(StoreRefused, match="not initialised"):
            await bench.upkeep.migrate(bench.place, world=WORLD, clock=bench.clock, dry_run=False)
    assert bench.place.stat().st_size == 0
