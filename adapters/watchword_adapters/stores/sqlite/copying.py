"""Copies of a file that is in use, by SQLite's own backup, and what such a copy holds."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from watchword.core.upkeep import Dump, Progress
from watchword_adapters.stores.sqlite import migration
from watchword_adapters.stores.sqlite.connection import open_reader

_STEP_PAGES = 1_024  # 4 MiB
_PATIENCE_SECONDS = 5.0
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
)


def copy_data(source: Path, target: Path, progress: Progress) -> None:
    """Copy the data, a few pages at a time, while a server writes.

    The snapshot held meanwhile keeps SQLite from beginning anew at each commit. It stops
    no writer; what they write just stays in the log until the copy is done.
    """
    with closing(open_reader(source)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with _target(target) as (copy, file):

            def step(_status: int, remaining: int, total: int) -> None:
                # The disk gets it in small portions: a server's commits wait for no flood.
                os.fdatasync(file)
                progress("copy data", total - remaining, total)

            db.backup(copy, pages=_STEP_PAGES, progress=step)


def copy_keys(source: Path, target: Path, progress: Progress) -> None:
    """Copy the keys at once: they are few, and their file has no log to write to meanwhile."""
    # Not read-only: a server that was killed may have left a transaction to undo.
    with closing(_open(source, "mode=rw")) as db, _target(target) as (copy, _):
        db.backup(copy)
    progress("copy keys", 1, 1)


def inspect(path: Path, progress: Progress) -> Dump:
    """Return what a copy of the data holds; raises `sqlite3.Error` where it is damaged."""
    with closing(_open(path, "immutable=1")) as db:
        if db.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("the file is damaged")
        names = [row[0] for row in db.execute(_TABLES)]
        counts = {}
        for done, name in enumerate(names, 1):
            (counts[name],) = db.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608
            progress("count rows", done, len(names))
        return Dump(migration.version(db), counts)


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=_PATIENCE_SECONDS,
        isolation_level=None,
    )


@contextmanager
def _target(path: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """Open an empty file to copy into: nobody else sees it, so neither locks nor a journal."""
    file = os.open(path, os.O_RDWR)
    try:
        # Without locks it may lie on any file system.
        with closing(_open(path, "mode=rw&nolock=1")) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            yield db, file
        os.fsync(file)
    finally:
        os.close(file)
