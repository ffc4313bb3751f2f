"""Makes and migrates a store once for each statement of it, and kills that process there.

A child that dies right before its n-th statement leaves what a power cut would. After each
one the work is done again to its end, and the store must be the one that nobody disturbed.
Writes how many statements there are and how many children were killed.
"""

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from watchword.testing.keys import MemoryKeyProvider
from watchword_adapters.stores.sqlite import migration, schema

PROVIDER = MemoryKeyProvider()
STEPS = migration.known_migrations()
_SHAPE = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
_TAKEN = "SELECT version, name FROM schema_version ORDER BY version"


def work(path: Path, fatal: int = 0) -> int:
    """Make and migrate the store; dies before statement `fatal`, else returns their number."""
    count = 0

    def before(_statement: str) -> None:
        nonlocal count
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.set_trace_callback(before)
        if schema.is_new(db):
            schema.initialise(db, "dev", PROVIDER)
        migration.migrate(db, 0, STEPS)
        return count


def state(path: Path) -> tuple[object, ...]:
    """Return all that the store says of itself."""
    with closing(sqlite3.connect(path)) as db:
        meta = list(db.execute("SELECT name, value FROM meta ORDER BY name"))
        sound = db.execute("PRAGMA integrity_check").fetchall()
        return list(db.execute(_SHAPE)), list(db.execute(_TAKEN)), meta, sound


def killed_at(path: Path, fatal: int) -> bool:
    """Run the work in a child that dies before statement `fatal`; tell whether it did."""
    pid = os.fork()
    if pid == 0:
        work(path, fatal)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def main(directory: Path) -> None:
    whole = directory / "whole.db"
    statements = work(whole)
    wanted, killed = state(whole), 0
    for fatal in range(1, statements + 1):
        path = directory / f"{fatal}.db"
        killed += killed_at(path, fatal)
        work(path)
        if state(path) != wanted:
            sys.exit(f"killed before statement {fatal}, it came to something else")
        path.unlink()
    print(statements, killed)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
