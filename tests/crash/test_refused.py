"""Keys that are missing or spoiled, a schema of another version: a server refuses in one line."""

import asyncio
import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.world import World

from watchword.cli.main import main


def without_a_key(world: World) -> None:
    (world.root / "keys" / "wrap.v1.key").unlink()


def without_keys(world: World) -> None:
    shutil.rmtree(world.root / "keys")


def with_a_torn_key(world: World) -> None:
    path = world.root / "keys" / "audit.v1.key"
    path.write_bytes(path.read_bytes()[:-20])


def with_a_key_for_all_to_read(world: World) -> None:
    (world.root / "keys" / "index.v1.key").chmod(0o644)


def without_the_key_store(world: World) -> None:
    (world.root / "watchword-keys.db").unlink()


def with_a_spoiled_key_store(world: World) -> None:
    (world.root / "watchword-keys.db").write_bytes(b"no database at all" * 64)


def with_a_key_store_for_all_to_read(world: World) -> None:
    (world.root / "watchword-keys.db").chmod(0o640)


def with_another_s_keys(world: World) -> None:
    other = asyncio.run(World.make(world.root.with_name("other")))
    shutil.rmtree(world.root / "keys")
    shutil.copytree(other.root / "keys", world.root / "keys")


def without_a_store(world: World) -> None:
    world.store.unlink()


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A server takes over what libraries log; the next test wants it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def with_an_older_schema(world: World) -> None:
    with closing(sqlite3.connect(world.store, isolation_level=None)) as db:
        db.execute("DELETE FROM schema_version WHERE version > 1")


def with_a_newer_schema(world: World) -> None:
    with closing(sqlite3.connect(world.store, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_version VALUES (9999, '9999_later.sql', 0)")


CASES = {
    without_a_key: "there is no wrap key: restore",
    without_keys: "does not exist",
    with_a_torn_key: "restore it from its backup",
    with_a_key_for_all_to_read: "chmod 700, files 600",
    without_the_key_store: "restore it from its backup",
    with_a_spoiled_key_store: "restore it from its backup",
    with_a_key_store_for_all_to_read: "chmod 600",
    with_another_s_keys: "key",
    without_a_store: "watchword init",
    with_an_older_schema: "run `watchword migrate`",
    with_a_newer_schema: "version 9999; this version knows",
}


@pytest.mark.parametrize(("spoil", "says"), CASES.items(), ids=[f.__name__ for f in CASES])
def test_c137_c138_a_server_without_its_keys_refuses_in_one_line(
    spoil: Callable[[World], None],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = asyncio.run(World.make(tmp_path / "world"))
    spoil(world)
    before = files(world)
    argv = ["watchword", "serve", "--config", str(world.config)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr()
    assert left.value.code == 1
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("watchword: ")
    assert says in line
    # Nothing was made anew over what is there, or in place of what is gone.
    assert files(world) == before


def files(world: World) -> dict[str, bytes]:
    kept = (
        p for p in world.root.rglob("*") if p.is_file() and not p.name.endswith(("-shm", "-wal"))
    )
    return {str(path): path.read_bytes() for path in kept}
