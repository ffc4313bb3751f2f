"""Which files are served, and what a refusal says."""

# ruff: noqa: ASYNC240 - tests wait for their own files

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from watchword.core.keys import KeyUse
from watchword.testing import verification_cases as cases
from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.sqlite import SqliteStores, StoreRefused
from watchword_adapters.stores.sqlite.place import check_place, hold

OpenStores = Callable[..., AbstractAsyncContextManager[SqliteStores]]


async def refusal(opening: AbstractAsyncContextManager[SqliteStores]) -> str:
    with pytest.raises(StoreRefused) as refused:
        async with opening:
            pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    db = sqlite3.connect(path)
    try:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
        return {name: list(db.execute(f"SELECT * FROM {name}")) for name in sorted(names)}
    finally:
        db.close()


async def test_a_store_is_made_once_and_opened_again(open_stores: OpenStores) -> None:
    async with open_stores() as stores:
        await stores.check()
        assert stores.world == "dev"
        await stores.verification.start(cases.start(1))
    async with open_stores(create=False) as stores:
        got = await stores.verification.get(
            cases.verification_id(1), cases.ACCOUNT, cases.APPLICATION
        )
        assert got.verification.verification_id == cases.verification_id(1)


async def test_the_files_are_their_owners_alone(open_stores: OpenStores, path: Path) -> None:
    old = os.umask(0)
    try:
        async with open_stores() as stores:
            await stores.verification.start(cases.start(1))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert {"watchword.db", "watchword.db-wal", "watchword-keys.db"} <= set(modes)
    assert set(modes.values()) == {0o600}


async def test_a_store_that_is_not_there_is_not_made_by_chance(
    open_stores: OpenStores, path: Path
) -> None:
    assert "not initialised" in await refusal(open_stores(create=False))
    assert not path.exists()
    path.touch()
    assert "not initialised" in await refusal(open_stores(create=False))


@pytest.mark.parametrize("create", [True, False])
async def test_another_worlds_store_is_refused(open_stores: OpenStores, create: bool) -> None:
    async with open_stores(world="sandbox"):
        pass
    text = await refusal(open_stores(world="production", create=create))
    assert "'sandbox'" in text
    assert "'production'" in text


@pytest.mark.parametrize("create", [True, False])
async def test_a_wrong_key_is_refused(open_stores: OpenStores, create: bool) -> None:
    async with open_stores():
        pass
    text = await refusal(open_stores(provider=MemoryKeyProvider(seed=1), create=create))
    assert "key" in text


async def test_a_lost_key_is_refused_and_a_new_one_recorded(open_stores: OpenStores) -> None:
    provider = MemoryKeyProvider()
    async with open_stores(provider=provider):
        pass
    provider.rotate(KeyUse.AUDIT)
    async with open_stores(provider=provider):
        pass
    provider.retire(KeyUse.AUDIT, 2)
    assert "version 2, is missing" in await refusal(open_stores(provider=provider))


async def test_the_key_file_is_never_made_anew(open_stores: OpenStores, path: Path) -> None:
    async with open_stores():
        pass
    path.with_name("watchword-keys.db").unlink()
    assert "restore" in await refusal(open_stores())


async def test_a_newer_schema_is_refused(open_stores: OpenStores, path: Path) -> None:
    async with open_stores():
        pass
    db = sqlite3.connect(path)
    db.execute("INSERT INTO schema_version VALUES (9999, '9999_later.sql', 0)")
    db.commit()
    db.close()
    assert "version 9999" in await refusal(open_stores())


async def test_what_is_no_store_is_refused(open_stores: OpenStores, path: Path) -> None:
    path.write_bytes(b"these are not the pages of a database" * 200)
    assert "cannot be opened" in await refusal(open_stores())
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE other (n INTEGER)")
    db.close()
    assert "not one of Watchword's" in await refusal(open_stores())


async def test_a_refusal_changes_nothing(open_stores: OpenStores, path: Path) -> None:
    async with open_stores():
        pass
    before = tables(path)
    await refusal(open_stores(world="production"))
    await refusal(open_stores(provider=MemoryKeyProvider(seed=1)))
    assert tables(path) == before


async def test_every_table_is_strict(open_stores: OpenStores, path: Path) -> None:
    async with open_stores():
        db = sqlite3.connect(path)
        loose = [
            row[1]
            for row in db.execute("PRAGMA table_list")
            if row[0] == "main" and row[2] == "table" and not row[5] and row[1] != "sqlite_schema"
        ]
        db.close()
    assert loose == []


async def test_no_read_of_the_hot_path_scans_a_table(open_stores: OpenStores, path: Path) -> None:
    statements: list[str] = []
    async with open_stores() as stores:
        stores.verification._engine._writer.set_trace_callback(statements.append)
        stores.verification._engine._reader.set_trace_callback(statements.append)
        request = cases.request(1, "start")
        await stores.verification.start(cases.start(1, request=request))
        await stores.outbox.claim(10, cases.LEASE, cases.LIMITS)
        await stores.verification.check(cases.check(1, request=cases.request(1, "check")))
        await stores.verification.sweep(1, 10)
        await stores.outbox.next_due_time()
        await stores.verification.get(cases.verification_id(1), cases.ACCOUNT, cases.APPLICATION)
        index = cases.phone_index()
        await stores.verification.pending_ids(cases.APPLICATION, index, "login", None)
    db = sqlite3.connect(path)
    reads = [s for s in statements if s.startswith(("SELECT", "UPDATE", "DELETE"))]
    plans = {s: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {s}")] for s in reads}
    db.close()
    assert len(plans) > 10
    for statement, plan in plans.items():
        scans = [line for line in plan if line.startswith("SCAN") and "INDEX" not in line]
        # A row of constants is read whole, and then joined to what is there.
        of_tables = [s for s in scans if s != "SCAN CONSTANT ROW" and "(subquery-" not in s]
        assert of_tables == [], (statement, plan)


@pytest.mark.parametrize("name", ["watchword.db", "."])
def test_c156_what_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    # An access check of its own, since root may write everywhere.
    path, locked = tmp_path / "watchword.db", tmp_path / name
    path.touch()

    def access(asked: Path, mode: int) -> bool:
        return not (asked == locked and mode & os.W_OK)

    with pytest.raises(StoreRefused, match="not writable"):
        check_place(path, create=False, access=access)
    check_place(path, create=False, access=lambda _path, _mode: True)


def test_c156_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(StoreRefused, match="nfs4"):
        check_place(tmp_path / "watchword.db", create=True, mounts=mounts)
    mounts.write_text(f"server:/x / nfs4 rw 0 0\n/dev/sda {tmp_path} ext4 rw 0 0\n")
    check_place(tmp_path / "watchword.db", create=True, mounts=mounts)


async def test_c156_a_second_server_on_one_file_is_refused(
    open_stores: OpenStores, path: Path
) -> None:
    async with open_stores() as stores:
        assert "another server serves it" in await refusal(open_stores())
        await stores.verification.start(cases.start(1))
    async with open_stores():
        pass


def test_c156_a_second_process_on_one_file_is_refused(path: Path) -> None:
    code = (
        "import pathlib, sys; from watchword_adapters.stores.sqlite.place import hold\n"
        "hold(pathlib.Path(sys.argv[1]))"
    )
    held = hold(path)
    tries = [sys.executable, "-c", code, str(path)]
    refused = subprocess.run(tries, capture_output=True, text=True, check=False)
    assert "another server serves it" in refused.stderr
    os.close(held)
    assert subprocess.run(tries, check=False).returncode == 0


async def test_a_refused_server_keeps_nobody_out(open_stores: OpenStores) -> None:
    async with open_stores():
        pass
    await refusal(open_stores(world="production"))
    async with open_stores():
        pass


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="no such directory"):
        check_place(tmp_path / "none" / "watchword.db", create=True)
